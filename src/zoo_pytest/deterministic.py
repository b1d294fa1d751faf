"""One place for what makes a test give the same result everywhere: `-p zoo_pytest.deterministic`.

A conftest loads it with `pytest_plugins = ["zoo_pytest.deterministic"]`. What it does:

- before torch is imported: one thread (OMP, MKL), and the settings that libraries read at import;
- before collection: torch is imported once, with one thread and deterministic algorithms;
- a test is seeded (random, numpy, torch) from its NAME: crc32 of its id, XOR ZOO_TEST_SEED
  (default 0). Order, selection, `-n` and other tests change nothing that it draws;
- a fixture that is shared (class, module, package, session) is seeded by its own name, and the
  generators are put back after it: it does not matter which test asked first;
- a test module is seeded by its name while it is imported;
- hypothesis is derandomised, and torch's generator is one of those that it resets;
- a test that leaves a global changed (`leaks.py`) fails with a sentence, and it is put back.

PYTHONHASHSEED is read when Python starts, and nobody can set it later: children of this process
get 0, the header says what this one has, and under CI=1 a run without it is refused.

ZOO_TEST_SEED is for whoever looks for flakes: another number is another draw of every test.
OMP_NUM_THREADS (default 1) stays what it is where it is set, and torch gets as many threads.
"""

import importlib.util
import os
import random
import sys
import zlib
from collections.abc import Generator
from typing import Any

import pytest

from zoo_pytest import leaks

# set where nothing is set yet; workers and children inherit them
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # cuBLAS is deterministic with this alone
    "TORCHINDUCTOR_DETERMINISTIC": "1",
    "PYTHONHASHSEED": "0",  # of children; too late for this process
}
SEED, THREADS, HASH_SEED = "ZOO_TEST_SEED", "OMP_NUM_THREADS", "PYTHONHASHSEED"
FULL = 2**32 - 1
PROFILE = "deterministic"


def number(name: str, least: int, default: int) -> int:
    """Read a whole number from the environment; raise UsageError for anything else."""
    said = os.environ.get(name, str(default))
    try:
        value = int(said)
    except ValueError:
        value = least - 1
    if value < least:
        raise pytest.UsageError(f"{name} is {said!r}; give a whole number, at least {least}")
    return value


def settle_environment() -> str | None:
    """Set what libraries read when they are imported; give the hash seed that Python started with.

    None is one drawn by chance: then sets, and what is made from them, come in another order in
    every run.
    """
    said = os.environ.get(HASH_SEED, "random")
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return None if said in ("", "random") else said


HASHED = settle_environment()


def seed_of(name: str) -> int:
    """Give the seed of a name: its crc32, XOR ZOO_TEST_SEED; 32 bits."""
    return (zlib.crc32(name.encode()) ^ number(SEED, 0, 0)) & FULL


def loaded(name: str) -> Any:
    """Give a module that is imported to its end, or None."""
    module = sys.modules.get(name)
    return None if getattr(getattr(module, "__spec__", None), "_initializing", False) else module


def seed_everything(seed: int) -> None:
    """Seed Python's generator and, where they are loaded, numpy's and torch's."""
    random.seed(seed)
    if (numpy := loaded("numpy")) is not None:
        numpy.random.seed(seed)
    if (torch := loaded("torch")) is not None:
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # manual_seed writes a traceback down for every backend that is not there: 0.5 ms
            torch.default_generator.manual_seed(seed)


def generators() -> dict[str, Any]:
    """Give the state of every global generator that is loaded."""
    found: dict[str, Any] = {"python": random.getstate()}
    if (numpy := loaded("numpy")) is not None:
        found["numpy"] = numpy.random.get_state()
    if (torch := loaded("torch")) is not None:
        found["torch"] = torch.get_rng_state()
        if torch.cuda.is_initialized():
            found["cuda"] = torch.cuda.get_rng_state_all()
    return found


def put_generators_back(old: dict[str, Any]) -> None:
    """Set every global generator to what `generators` gave; one loaded since stays as it is."""
    random.setstate(old["python"])
    if "numpy" in old:
        sys.modules["numpy"].random.set_state(old["numpy"])
    if "torch" in old:
        sys.modules["torch"].set_rng_state(old["torch"])
    if "cuda" in old:
        sys.modules["torch"].cuda.set_rng_state_all(old["cuda"])


def settle_torch() -> None:
    """Import torch, if it is installed, with as many threads as asked and deterministic algorithms.

    Threads are set before any parallel region: a forked child would wait for them for ever.
    """
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    torch.set_num_threads(number(THREADS, 1, 1))
    # use_deterministic_algorithms would import the compiler: 1.6 s of every process
    torch.set_deterministic_debug_mode("error")


class TorchRandom:
    """Torch's generator, as hypothesis wants one that it resets before every example."""

    def seed(self, seed: int) -> None:
        """Seed it."""
        sys.modules["torch"].default_generator.manual_seed(seed)

    def getstate(self) -> Any:
        """Give its state."""
        return sys.modules["torch"].get_rng_state()

    def setstate(self, state: Any) -> None:
        """Set its state."""
        sys.modules["torch"].set_rng_state(state)


TORCH_RANDOM = TorchRandom()  # hypothesis holds it weakly


def settle_hypothesis(config: Any) -> None:
    """Take the same examples in every run, unless a profile was asked for."""
    if importlib.util.find_spec("hypothesis") is None:
        return
    import hypothesis

    hypothesis.settings.register_profile(PROFILE, derandomize=True, deadline=None, database=None)
    if not config.getoption("--hypothesis-profile", None):
        hypothesis.settings.load_profile(PROFILE)
    if loaded("torch") is not None:
        hypothesis.register_random(TORCH_RANDOM)


def runs_tests(config: Any) -> bool:
    """Say whether tests run in this process: not in the one that hands them out to workers."""
    return not config.pluginmanager.hasplugin("dsession")


def in_ci() -> bool:
    """Say whether this is a run whose result is kept."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def header(config: Any, hash_seed: str | None) -> str:
    """Say in a line what a run of these tests hangs on."""
    # workers are children: they start with the 0 that is set here
    fixed = hash_seed or (None if runs_tests(config) else "0")
    hashed = f"hash seed {fixed}" if fixed else f"hash seed drawn by chance ({HASH_SEED}=0 fixes)"
    threads = number(THREADS, 1, 1)
    return f"deterministic: seed {number(SEED, 0, 0)}, {threads} thread(s) a process, {hashed}"


def settle(config: Any, hash_seed: str | None) -> None:
    """Refuse what cannot be repeated in CI; set up the libraries that tests draw with."""
    number(SEED, 0, 0)  # a slip is a usage error now, not a failure of every test
    if not runs_tests(config):
        return
    if hash_seed is None and in_ci():
        raise pytest.UsageError(
            f"{HASH_SEED} is not set, so the order of sets changes from run to run, and it cannot "
            f"be set once Python runs: start with `{HASH_SEED}=0 python -m pytest ...`"
        )
    settle_torch()
    settle_hypothesis(config)


def fixture_name(fixturedef: Any, request: Any) -> str:
    """Name a fixture that is shared: whose it is, what it is called, and its parameter's number."""
    number_ = getattr(request, "param_index", 0)
    return f"{request.node.nodeid}::{fixturedef.argname}[{number_}] of {fixturedef.scope}"


class Plugin:
    """The hooks, and the guard of one session."""

    def __init__(self) -> None:
        self.guard = leaks.Guard()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, Any]:
        """Seed a test module while it is imported; a global that it leaves changed is an error."""
        if not isinstance(collector, pytest.Module):
            return (yield)
        seed_everything(seed_of(collector.nodeid))
        before = leaks.reading()
        report = yield
        return judged(report, collector.nodeid, before)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Seed a test by its name, before its first fixture."""
        self.guard.begin()
        seed_everything(seed_of(item.nodeid))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: Any) -> Generator[None, Any, Any]:
        """Fail a test that leaves a global changed, after all of its fixtures have ended."""
        try:
            return (yield)
        finally:
            told = self.guard.end(item.nodeid)
            if told:
                pytest.fail("\n".join(told), pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        """Seed a fixture that is shared by its own name, whoever asks for it first."""
        if fixturedef.scope == "function":
            return (yield)
        before, state = leaks.reading(), generators()
        seed_everything(seed_of(fixture_name(fixturedef, request)))
        try:
            return (yield)
        finally:
            put_generators_back(state)
            self.guard.fixture_made(fixturedef, fixturedef.argname, before)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Expect again what stood before a fixture that has ended."""
        self.guard.fixture_ended(fixturedef)


def judged(report: Any, who: str, before: dict[str, Any]) -> Any:
    """Make a module's report a failure where its import left a global changed; put that back.

    The environment is left alone: libraries set variables of their own when they are imported.
    """
    found = [
        left
        for left in leaks.differences(before, leaks.reading())
        if not left.name.startswith(leaks.VARIABLE)
    ]
    for left in found:
        leaks.put_back(left)
    if found and report.passed:
        report.outcome = "failed"
        report.longrepr = "\n".join(leaks.sentence(f"importing {who}", left) for left in found)
        report.result = []
    return report


def pytest_configure(config: Any) -> None:
    """Register the hooks, with a guard of this session's own."""
    config.pluginmanager.register(Plugin(), "zoo-deterministic")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: Any) -> None:
    """Set up torch and hypothesis before any test module is imported."""
    settle(session.config, HASHED)


def pytest_report_header(config: Any) -> str:
    """Say what a run of these tests hangs on."""
    return header(config, HASHED)

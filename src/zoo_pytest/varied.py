"""Vary what a test should not depend on, and write down what came of it: `zoo flake`'s plugin.

    ZOO_VARIED='{"seed": 17, "rounds": 20}' python -m pytest -p zoo_pytest.varied tests/test_x.py

ZOO_VARIED is a JSON object; without it the plugin does nothing.  Its fields:

    seed    random, numpy, torch and hypothesis are seeded before each test by the crc32 of its id
            XOR this number, and ZOO_TEST_SEED is set to it; left out, nothing is seeded
    step    added to the seed each round (default 0)
    rounds  how many times the whole selection runs in this process, each item afresh (default 1)
    fork    each round in a forked child, so that none sees what another left (not under xdist)
    order   given, reversed, files-7 (files shuffled, and tests within them) or mixed-7 (all)
    tests   the ids to run, in this order: a list, or the path of a JSON file that holds one
    clock   "2025-12-31T23:59:58": when the run begins; the clock ticks on (needs time-machine)
    load    how many processes compute beside the tests, to keep them waiting
    seconds no test begins later than this
    out     a folder: a line of JSON for each outcome, one file for each process

Threads, the hash seed and the time zone must stand in the environment before Python starts:
OMP_NUM_THREADS, PYTHONHASHSEED, TZ.  Plugins that repeat, reorder or reseed tests are left out:
they would hide what is asked for.
"""

import copy
import importlib
import json
import os
import random
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

FIELDS = "seed step rounds fork order tests clock load seconds out".split()
# plugins that repeat tests until they pass, shuffle or seed them, by entry point and by module
HIDING = (
    "rerunfailures pytest_rerunfailures flaky flaky.flaky_pytest_plugin pytest-retry pytest_retry "
    "randomly pytest_randomly random_order random_order.plugin"
).split()
# their options and settings may stand in a project's own files: read, and not followed
VALUES = (
    "--reruns --reruns-delay --reruns-delay-backoff-factor --only-rerun --rerun-except "
    "--rerun-exclude-path --reruns-mode --force-reruns --max-suite-reruns --max-runs --min-passes "
    "--retries --retry-delay --cumulative-timing --randomly-seed --random-order-bucket "
    "--random-order-seed"
).split()
FLAGS = (
    "--fail-on-flaky --rerun-show-tracebacks --force-flaky --no-flaky-report "
    "--no-success-flaky-report --randomly-dont-reorganize --randomly-dont-reset-seed --random-order"
).split()
SETTINGS = (
    "reruns reruns_delay reruns_delay_backoff_factor only_rerun rerun_except retries retry_delay"
).split()
BURN = """
import os
parent = os.getppid()
while os.getppid() == parent:  # ends with whoever started it
    for _ in range(1_000_000):
        pass
"""


def wanted() -> dict[str, Any]:
    """Read ZOO_VARIED; raise pytest.UsageError for what it cannot mean."""
    text = os.environ.get("ZOO_VARIED", "")
    if not text:
        return {}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise pytest.UsageError(f"ZOO_VARIED is no JSON ({error}): {text[:60]}") from None
    if not isinstance(given, dict) or set(given) - set(FIELDS):
        raise pytest.UsageError(f"ZOO_VARIED={text[:60]}; expected an object of {FIELDS}")
    if isinstance(given.get("tests"), str):
        given["tests"] = json.loads(Path(given["tests"]).read_text(encoding="utf-8"))
    return given


def pytest_addoption(parser: Any, pluginmanager: Any) -> None:
    """Leave out the plugins that hide a flake, and take their options without following them."""
    if not wanted():
        return
    for name in HIDING:
        pluginmanager.set_blocked(name)
    group = parser.getgroup("zoo varied", "options of plugins that are left out")
    for flag in VALUES:
        group.addoption(flag, action="append", default=[], help="not followed")
    for flag in FLAGS:
        group.addoption(flag, action="store_true", help="not followed")
    for name in SETTINGS:
        parser.addini(name, "not followed", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any) -> None:
    """Set the clock and the first seed before any test's module is imported."""
    given = wanted()
    if given.get("clock"):
        set_clock(given["clock"])
    if "seed" in given:
        sow(given["seed"])


def pytest_configure(config: Any) -> None:
    """Register the plugin proper and the marker of the plugins that are left out."""
    given = wanted()
    if given:
        config.addinivalue_line("markers", "flaky: not followed in this run")
        varied = Varied(config, given)
        config.pluginmanager.register(varied, "zoo_varied")
        config.pluginmanager.register(TooLate(varied), "zoo_varied_too_late")


def set_clock(text: str) -> None:
    """Let the wall clock of this process begin at a local time."""
    try:
        machine = importlib.import_module("time_machine")
    except ImportError:
        raise pytest.UsageError(f"clock {text} needs: pip install time-machine") from None
    begin = time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    machine.travel(begin, tick=True).start()


def sow(seed: int) -> None:
    """Seed every generator that is loaded; others start by their own default when they come."""
    random.seed(seed)
    loaded = sys.modules
    if "numpy" in loaded:
        loaded["numpy"].random.seed(seed % 2**32)
    torch = loaded.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        if torch.accelerator.is_available():
            torch.manual_seed(seed)
        else:  # manual_seed looks for every backend that is not there: 0.5 ms
            torch.default_generator.manual_seed(seed)
    if "hypothesis.core" in loaded:
        vars(loaded["hypothesis.core"])["global_force_seed"] = seed


def arranged(items: list[Any], order: str, number: int) -> list[Any]:
    """Give items in an order; `number` makes each round's shuffle another one."""
    if order == "reversed":
        return items[::-1]
    kind, _, salt = order.partition("-")
    shuffled = random.Random(f"{salt}/{number}")
    if kind == "mixed":
        return shuffled.sample(items, len(items))
    if kind == "files":
        files: dict[str, list[Any]] = {}
        for item in items:
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
        groups = shuffled.sample(list(files.values()), len(files))
        return [item for group in groups for item in shuffled.sample(group, len(group))]
    return list(items)


def afresh(item: Any, number: int) -> Any:
    """Give an item for one more round: the same id, nothing left over from the round before."""
    if number:
        item = copy.copy(item)
        item.user_properties = list(item.user_properties)
        item._report_sections = []
        if isinstance(item.parent, pytest.Class):  # a fresh instance of its class
            for name in ("_instance", "_obj"):
                item.__dict__.pop(name, None)
        if hasattr(item, "dtest"):  # a doctest's names are cleared after it has run
            item.dtest = copy.copy(item.dtest)
            item.dtest.globs = dict(item.dtest.globs)
        if hasattr(item, "_initrequest"):
            item._initrequest()
    item.zoo_round = number
    return item


class Varied:
    """One pytest process under ZOO_VARIED: arranges, seeds, repeats and records."""

    def __init__(self, config: Any, given: dict[str, Any]) -> None:
        self.given = given
        self.worker = getattr(config, "workerinput", {}).get("workerid", "")
        self.controls = bool(getattr(config.option, "numprocesses", 0)) and not self.worker
        self.grouped = getattr(config.option, "dist", "no") not in ("no", "load", "worksteal")
        if self.worker:  # set by pytest_configure_node below
            self.grouped = config.workerinput.get("zoo_grouped", False)
        self.end = time.monotonic() + given.get("seconds", float("inf"))
        self.late = False
        self.reports: list[Any] = []
        self.burners: list[subprocess.Popen[bytes]] = []
        self.file: TextIO | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist whether tests are dealt by file or group."""
        node.workerinput["zoo_grouped"] = self.grouped

    def pytest_sessionstart(self, session: Any) -> None:
        """Start what computes beside the tests; say where ids begin."""
        if not self.worker:
            command = [sys.executable, "-S", "-c", BURN]
            for _ in range(self.given.get("load", 0)):
                self.burners.append(subprocess.Popen(command, stdin=subprocess.DEVNULL))
            self.write(root=str(session.config.rootpath), args=list(session.config.args))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """End what computes beside the tests."""
        for burner in self.burners:
            burner.kill()
            burner.wait()
        if self.file is not None:
            self.file.close()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Choose, arrange and repeat."""
        chosen = self.chosen(config, items)
        # dealt by file or group, xdist knows tests by id: no id may come twice
        rounds = 1 if self.grouped else self.given.get("rounds", 1)
        order = self.given.get("order", "given")
        turns = [arranged(chosen, order, turn) for turn in range(rounds)]
        items[:] = [afresh(item, turn) for turn, row in enumerate(turns) for item in row]

    def pytest_collection_finish(self, session: Any) -> None:
        """Record what is to run: after a crash the rest would not be heard of."""
        names = dict.fromkeys(item.nodeid for item in session.items)
        if names:
            self.write(collected=list(names))

    def chosen(self, config: Any, items: list[Any]) -> list[Any]:
        """Give the items that `tests` names, in its order; all when it is left out."""
        if "tests" not in self.given:
            return list(items)
        by_id = {item.nodeid: item for item in items}
        chosen = [by_id[name] for name in self.given["tests"] if name in by_id]
        kept = set(self.given["tests"])
        rest = [item for item in items if item.nodeid not in kept]
        if rest:
            config.hook.pytest_deselected(items=rest)
        return chosen

    def pytest_collectreport(self, report: Any) -> None:
        """Record what cannot be collected."""
        if report.failed and not self.worker:
            self.write(uncollected=report.nodeid, why=first_line(str(report.longrepr)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Seed one test, run it, and record its outcome."""
        self.late = self.late or time.monotonic() > self.end
        if self.late:
            return (yield)
        turn = getattr(item, "zoo_round", 0)
        seed = self.sown(item.nodeid, turn)
        self.write(begin=item.nodeid, round=turn, seed=seed)
        self.reports.clear()
        spent = time.process_time()
        result = yield
        spent = time.process_time() - spent
        outcome, why = judged(self.reports)
        forget_subtests(item)
        self.write(end=outcome, cpu=round(spent, 4), why=why)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool | None:
        """Run each round in a forked child when that is asked for."""
        alone = not self.controls and not self.worker and not session.testsfailed
        if not (self.given.get("fork") and alone and session.items):
            return None
        rounds: dict[int, list[Any]] = {}
        for item in session.items:
            rounds.setdefault(item.zoo_round, []).append(item)
        for items in rounds.values():
            self.forked(items)
        return True

    def forked(self, items: list[Any]) -> None:
        """Run items in a forked child, and wait for it."""
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fork beside threads; the caller asked for it
            child = os.fork()
        if child:
            os.waitpid(child, 0)  # how it ended stands in its file, or its file ends too soon
            return
        try:
            self.file = None  # a file of its own; every line of the other one is written
            for item, later in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=later)
        finally:
            sys.stdout.flush()
            os._exit(0)

    def sown(self, name: str, turn: int) -> int | None:
        """Seed for one test in one round; give the number that was used."""
        if "seed" not in self.given:
            return None
        seed: int = self.given["seed"] + turn * self.given.get("step", 0)
        os.environ["ZOO_TEST_SEED"] = str(seed)
        sow(zlib.crc32(name.encode()) ^ seed)
        return seed

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the reports of the test that runs: phases and subtests."""
        if not self.controls:
            self.reports.append(report)

    def write(self, **line: Any) -> None:
        """Append one line to this process's file, at once: a crash must not lose it."""
        if "out" not in self.given:
            return
        if self.file is None:
            name = f"{self.worker or 'main'}-{os.getpid()}.jsonl"
            self.file = Path(self.given["out"], name).open("a", encoding="utf-8")  # noqa: SIM115, closed at the end
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()


def forget_subtests(item: Any) -> None:
    """Drop pytest's count of failed subtests, kept by id: it would fail every later round."""
    try:
        from _pytest.subtests import failed_subtests_key  # pytest 9; no public way
    except ImportError:
        return
    if failed_subtests_key in item.config.stash:
        item.config.stash[failed_subtests_key].clear()


class TooLate:
    """Skip without a word what would begin after the time is up."""

    def __init__(self, varied: Varied) -> None:
        self.varied = varied

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> bool | None:
        """Say that it ran when time is up; otherwise let pytest run it."""
        return True if self.varied.late else None


def judged(reports: list[Any]) -> tuple[str, str]:
    """Give passed, failed or skipped for one test's reports, and the reason in one line."""
    failed = [report for report in reports if report.failed]
    if failed:
        return "failed", reason(failed[0])
    skipped = [r for r in reports if r.skipped and not hasattr(r, "wasxfail")]
    if skipped:
        why = skipped[0].longrepr
        return "skipped", first_line(str(why[2]) if isinstance(why, tuple) else str(why))
    return ("passed", "") if reports else ("skipped", "nothing was reported")


def reason(report: Any) -> str:
    """Give the first line of what went wrong, and where when it was not in the test itself."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = first_line(crash.message if crash is not None else str(report.longrepr))
    return text if report.when == "call" else f"{report.when}: {text}"


def first_line(text: str) -> str:
    """Give the first line that says something, cut at 300 letters."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:300]

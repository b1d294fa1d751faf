"""A pytest plugin: collect once, then run the mutants, each in a forked child.

mutmut calls pytest anew in each child: it collects again, in any order, and knows an exit code.
Here the session is forked when it has collected: the child runs the tests that reach the mutant,
those first that have killed its neighbours, and says which one failed and how. The switches and
the records of who calls whom are mutmut's own (`mutmut.mutation.trampoline`, mutmut's state).

The job is a JSON file named by ZOO_MUTATION_JOB: `mutants` (mutmut's names), `jobs` (children at a
time), `results` (the JSON lines to write), `scratch`, `source` (the folder zoo must come from),
`fresh` (fork before the collection, for functions that are called at import).
"""

import gc
import json
import os
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest
from mutmut.configuration import config as mutmut_config
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from tools.mutation import children

KEEP = 4  # tests that killed neighbours and therefore go first


def pytest_configure(config: pytest.Config) -> None:
    """Record whom the collection calls, as mutmut records whom a test calls."""
    mutmut_config()  # reads pyproject.toml here, before a test changes the folder
    set_mutant_under_test("stats")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what failed, with the error's class and first line."""
    if report.failed:
        FAILED.append((report.nodeid, report.when, first_line(report)))


FAILED: list[tuple[str, str, str]] = []


def first_line(report: pytest.TestReport) -> str:
    """Give the last line of a native traceback: the error and what it says."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    return text.strip().splitlines()[0][:200] if text.strip() else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> bool | None:
    """In a job that is `fresh`, collect under each mutant: its function is called at import."""
    job = json.loads(Path(os.environ["ZOO_MUTATION_JOB"]).read_text())
    if not job.get("fresh"):
        return None
    set_mutant_under_test("")
    gc.collect()
    gc.freeze()
    waiting, running = list(job["mutants"]), []
    with open(job["results"], "a") as out:
        while waiting or running:
            while waiting and len(running) < job["jobs"]:
                running.append(fork_fresh(session, job, waiting.pop(0)))
            record = children.ended(children.next_ended(running))
            if record["verdict"] == "timeout":
                record["verdict"] = "endless"
            out.write(json.dumps(record | {"fresh": True}, ensure_ascii=False) + "\n")
            out.flush()
    session.items, session.testscollected = [], 0
    return True


def fork_fresh(session: pytest.Session, job: dict, mutant: str) -> children.Child:
    """Start a child that collects and runs the whole selection under `mutant`."""

    def body(say, own: Path) -> None:
        set_mutant_under_test(mutant)
        settle(session, own)
        children.hold(FRESH_SECONDS)
        say("test", 0)
        try:
            session.perform_collect()
        except BaseException as error:
            say("failed", "collection", "collect", f"{type(error).__name__}: {error}"[:200])
            return
        if session.testsfailed:
            say("failed", "collection", "collect", f"{session.testsfailed} files")
            return
        require_source(Path(job["source"]))
        run_all(session.items, [FRESH_SECONDS] * len(session.items), say, lambda i, before: None)

    scratch = Path(job["scratch"])
    return children.start(mutant, ["whole room"], body, wall=10 * FRESH_SECONDS, scratch=scratch)


FRESH_SECONDS = 120.0


def settle(session: pytest.Session, own: Path) -> None:
    """Give a child its own folder for whatever its tests write."""
    own.mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(own)
    session.config._tmp_path_factory._given_basetemp = own / "pytest"
    session.testsfailed = 0
    FAILED.clear()


def run_all(items, limits, say, after) -> None:
    """Run tests until one fails, and say how it went."""
    for i, (item, then) in enumerate(zip(items, [*items[1:], None], strict=False)):
        children.hold(limits[i])
        say("test", i)
        before = time.process_time()
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=then)
        except BaseException as error:  # pytest itself, or a test that ends the process
            say("broke", f"{type(error).__name__}: {error}"[:200])
            return
        if FAILED:
            say("failed", *FAILED[0])
            return
        after(i, before)
    say("passed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run the job instead of the tests."""
    at_import = set(state()._stats)
    state()._stats.clear()
    set_mutant_under_test("")
    job = json.loads(Path(os.environ["ZOO_MUTATION_JOB"]).read_text())
    if job.get("fresh"):
        return True
    require_source(Path(job["source"]))
    if session.testsfailed:
        raise session.Failed(f"{session.testsfailed} files could not be collected")
    gc.collect()
    gc.freeze()
    run = Run(session, job)
    run.measure()
    with open(job["results"], "a") as out:
        for record in run.verdicts(at_import):
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            out.flush()
    return True


def require_source(source: Path) -> None:
    """Refuse to run where zoo comes from elsewhere than the copy: nothing would be mutated."""
    import zoo

    if not Path(zoo.__file__).resolve().is_relative_to(source.resolve()):
        raise pytest.UsageError(f"zoo comes from {zoo.__file__}, not from the copy in {source}")


class Run:
    """The session's items, who reaches what, and the children."""

    def __init__(self, session: pytest.Session, job: dict) -> None:
        self.session = session
        self.job = job
        self.items = {item.nodeid: item for item in session.items}
        self.place = {nodeid: i for i, nodeid in enumerate(self.items)}
        self.scratch = Path(job["scratch"])
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.reach: dict[str, list[str]] = defaultdict(list)
        self.seconds: dict[str, float] = {}
        self.killers: dict[str, list[str]] = defaultdict(list)

    # once, without a mutant: what each test takes and which functions it reaches

    def measure(self) -> None:
        """Run each test once, in a child of its own; each must pass, or nothing can be said.

        In one process the first test that builds a module's fixture or fills a cache would be the
        only one known to reach what these call.
        """
        waiting, running, failed = list(self.items), [], []
        while waiting or running:
            while waiting and len(running) < self.job["jobs"]:
                running.append(self.fork("stats", [waiting.pop(0)], longer=20.0))
            child = children.next_ended(running)
            record = children.ended(child)
            if record["verdict"] != "survived":
                failed.append(record)
            for words in map(json.loads, child.heard.decode().splitlines()):
                if words[0] == "took":
                    self.seconds[child.tests[0]] = words[2]
                    for function in words[3]:
                        self.reach[function].append(child.tests[0])
        if failed:
            names = [(r.get("by") or r.get("at"), r.get("error", r["verdict"])) for r in failed]
            raise pytest.UsageError(f"these fail alone and without a mutant: {names}")

    # the mutants

    def verdicts(self, at_import: set[str]):
        """Yield the record of each mutant, as they end; the late ones again, alone, at the end."""
        waiting, running, again = [], [], []
        for name in self.job["mutants"]:
            function = name.partition("__mutmut_")[0]
            if self.reach[function]:
                waiting.append(name)
            else:
                yield {"mutant": name, "verdict": "no tests", "imported": function in at_import}
        waiting.sort(key=lambda name: (self.cost(name), name))
        while waiting or running:
            while waiting and len(running) < self.job["jobs"]:
                name = waiting.pop(0)
                running.append(self.fork(name, self.order(name), longer=1.0))
            record = children.ended(children.next_ended(running))
            if record["verdict"] in ("killed", "survived"):
                function = record["mutant"].partition("__mutmut_")[0]
                yield self.learnt(record) | {"imported": function in at_import}
            else:
                again.append(record)
        for record in again:
            yield self.once_more(record)

    def once_more(self, first: dict) -> dict:
        """Run a mutant alone and longer, the test at which it stopped last.

        Another test may kill it; when none does and it stops again, it is `endless` or a `crash`.
        """
        name, stopped = first["mutant"], first.get("at")
        tests = [t for t in self.order(name) if t != stopped] + [stopped] * bool(stopped)
        child = self.fork(name, tests, longer=children.LONGER)
        children.next_ended([child])
        record = children.ended(child) | {"first": first["verdict"]}
        if record["verdict"] == "timeout":
            record["verdict"] = "endless"
        return self.learnt(record)

    def learnt(self, record: dict) -> dict:
        """Remember a killer for the neighbours."""
        function = record["mutant"].partition("__mutmut_")[0]
        if record["verdict"] == "killed":
            known = self.killers[function]
            self.killers[function] = [record["by"], *(t for t in known if t != record["by"])][:KEEP]
        return record

    def cost(self, name: str) -> float:
        """Give the seconds of a survivor."""
        return sum(self.seconds[test] for test in self.reach[name.partition("__mutmut_")[0]])

    def order(self, name: str) -> list[str]:
        """Put the killers of neighbours first, then file by file, the cheapest file first."""
        function = name.partition("__mutmut_")[0]
        files: dict[str, list[str]] = defaultdict(list)
        first = [test for test in self.killers[function] if test in self.items]
        for test in self.reach[function]:
            if test not in first:
                files[test.split("::")[0]].append(test)
        dear = {file: sum(map(self.seconds.get, tests)) for file, tests in files.items()}
        rest = sorted(files, key=lambda file: (dear[file], file))
        return first + [t for file in rest for t in sorted(files[file], key=self.place.get)]

    # one child

    def fork(self, mutant: str, tests: list[str], *, longer: float) -> children.Child:
        """Start a child that runs `tests` under `mutant`."""
        limits = [children.limit_of(self.seconds.get(test, 1.0), longer) for test in tests]
        usual = sum(self.seconds.get(test, 1.0) for test in tests)
        return children.start(
            mutant,
            tests,
            lambda say, own: self.in_child(mutant, tests, limits, say, own),
            wall=longer * (60 + 20 * usual),
            scratch=self.scratch,
        )

    def in_child(self, mutant, tests, limits, say, own: Path) -> None:
        """Run the tests until one fails, and say how it went."""
        set_mutant_under_test(mutant)
        settle(self.session, own)

        def after(i: int, before: float) -> None:
            if mutant == "stats":
                say("took", i, time.process_time() - before, sorted(state()._stats))

        run_all([self.items[test] for test in tests], limits, say, after)

"""Run tests in a pytest process of their own, and read what its plugin wrote down."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zoo.pyramid.flake.setting import Trial, environment, varied

GRACE = 20.0  # seconds that a test which runs when time is up may still take
# as zoo_pytest.varied blocks them
HIDING = (
    "rerunfailures pytest_rerunfailures flaky flaky.flaky_pytest_plugin pytest-retry pytest_retry "
    "randomly pytest_randomly random_order random_order.plugin"
).split()
FAILED = ("failed", "crashed")


class Outcome(NamedTuple):
    """What came of one test, once: passed, failed, skipped, crashed, or cut short by us."""

    test: str
    round: int
    seed: int
    outcome: str
    cpu: float = 0.0  # seconds
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One pytest run: each process's outcomes in the order in which they came."""

    trial: Trial
    processes: tuple[tuple[Outcome, ...], ...] = ()
    collected: tuple[str, ...] = ()
    code: int = 0
    trouble: str = ""  # what went wrong that is no test's failure
    seconds: float = 0.0

    def outcomes(self) -> list[Outcome]:
        """Give all outcomes."""
        return [outcome for process in self.processes for outcome in process]


# what runs a trial; the seconds are what it may take
Runner = Callable[[Trial, float], Run]


@dataclass
class Children:
    """Run trials as child processes: pytest's own arguments, and where test ids begin."""

    arguments: tuple[str, ...]
    xdist: bool
    root: Path = field(default_factory=Path.cwd)
    targets: tuple[str, ...] = ()  # those of the arguments that say where tests are
    record: Callable[[Run], None] = lambda run: None

    def __post_init__(self) -> None:
        self.arguments = visible(self.arguments)

    def __call__(self, trial: Trial, seconds: float) -> Run:
        """Run one trial; a process that hangs is ended when time is up."""
        folder = Path(tempfile.mkdtemp(prefix="zoo-flake-"))
        begin = time.monotonic()
        try:
            code, said = self.call(trial, folder, seconds)
            run = self.read(trial, folder, code, said, time.monotonic() - begin)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self.record(run)
        return run

    def call(self, trial: Trial, folder: Path, seconds: float) -> tuple[int, str]:
        """Start pytest, wait, and give its exit code and the end of what it said."""
        out = folder / "out"
        out.mkdir()
        wish = varied(trial) | {"out": str(out), "seconds": max(1.0, seconds)}
        if trial.tests:
            (folder / "tests.json").write_text(json.dumps(trial.tests), encoding="utf-8")
            wish["tests"] = str(folder / "tests.json")
        env = os.environ | environment(trial.setting) | {"ZOO_VARIED": json.dumps(wish)}
        env["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")  # no failures of before
        command = [sys.executable, "-m", "pytest", *self.words(trial, folder)]
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = wait(process, seconds + GRACE)
        text = (folder / "said").read_text(encoding="utf-8", errors="replace")
        return code, text[-3000:]

    def words(self, trial: Trial, folder: Path) -> list[str]:
        """Give pytest's arguments: the caller's, and then what a hunt needs."""
        made = ["-p", "zoo_pytest.varied", *self.selection(trial.tests)]
        made += ["--maxfail=0", "-q", "--tb=short", "-o", f"cache_dir={folder / 'cache'}"]
        if self.xdist:
            made.append(f"-n{trial.setting.workers}")
        if installed("pytest_cov", self.arguments, "pytest_cov"):
            made.append("--no-cov")
        return made

    def selection(self, tests: tuple[str, ...]) -> list[str]:
        """Give the caller's arguments; for named tests, the files of these alone."""
        if not tests or not self.targets:
            return list(self.arguments)
        files = dict.fromkeys(self.path(test.partition("::")[0]) for test in tests)
        # without a settings file pytest would take the files' own folder as root, and rename tests
        return [*self.options(), f"--rootdir={self.root}", *files]

    def options(self) -> list[str]:
        """Give the caller's arguments without those that say where tests are."""
        return [word for word in self.arguments if word not in self.targets]

    def path(self, name: str) -> str:
        """Give a path, or the id of a test, that pytest wrote, as seen from here."""
        file, colons, rest = name.partition("::")
        return os.path.relpath(self.root / file) + colons + rest

    def settle(self, root: Path, targets: tuple[str, ...]) -> None:
        """Keep what the first run says of itself: a narrower one would say less."""
        if not self.targets:
            self.root, self.targets = root, targets

    def read(self, trial: Trial, folder: Path, code: int, said: str, seconds: float) -> Run:
        """Read the files of a run's processes."""
        processes, trouble, collected = [], [], dict[str, None]()
        for file in sorted((folder / "out").glob("*.jsonl")):
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                if "root" in line:
                    self.settle(Path(line["root"]), tuple(line["args"]))
                elif "collected" in line:
                    collected |= dict.fromkeys(line["collected"])
                elif "uncollected" in line:
                    trouble.append(f"cannot collect {line['uncollected']}: {line['why']}")
            processes.append(outcomes(lines, code))
        kept = tuple(tuple(process) for process in processes if process)
        silent = code == 1 and not kept  # pytest's own start went wrong
        if (silent or code not in (0, 1, -signal.SIGKILL)) and not trouble:
            trouble.append(f"pytest's exit code was {code}: {last_words(said)}")
        if not any(outcome.outcome == "crashed" for process in kept for outcome in process):
            # a worker that died before it ran a test leaves no line; xdist tells of it
            trouble += [line.strip() for line in said.splitlines() if "worker 'gw" in line][:3]
        return Run(
            trial=trial,
            processes=kept,
            collected=tuple(collected),
            code=code,
            trouble="; ".join(trouble),
            seconds=seconds,
        )


def installed(module: str, arguments: tuple[str, ...], plugin: str) -> bool:
    """Say whether a plugin of pytest is there and not switched off."""
    words = " ".join(arguments)
    off = f"no:{plugin}" in words
    if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        off = off or not (f"-p {plugin}" in words or f"-p{plugin}" in words)
    return importlib.util.find_spec(module) is not None and not off


def visible(arguments: Sequence[str]) -> tuple[str, ...]:
    """Give arguments without `-p NAME` for plugins that hide a flake: named so, they would load."""
    made: list[str] = []
    for word in arguments:
        if made and made[-1] == "-p" and word in HIDING:
            made.pop()
        elif not (word.startswith("-p") and word[2:] in HIDING):
            made.append(word)
    return tuple(made)


def wait(process: subprocess.Popen[Any], seconds: float) -> int:
    """Wait for a process; end it and all that it started when it takes too long."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL
    finally:  # on Ctrl-C too
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def outcomes(lines: Iterable[dict[str, Any]], code: int) -> list[Outcome]:
    """Pair what began with how it ended; what has no end crashed, or was ended by us."""
    made: list[Outcome] = []
    open_: dict[str, Any] | None = None
    for line in lines:
        if "begin" in line:
            open_ = line
        elif "end" in line and open_ is not None:
            made.append(
                Outcome(
                    open_["begin"],
                    open_["round"],
                    open_["seed"] or 0,
                    line["end"],
                    line["cpu"],
                    line["why"],
                )
            )
            open_ = None
    if open_ is not None:
        ours = code == -signal.SIGKILL
        why = "still ran when time was up" if ours else f"the process ended in it (exit {code})"
        row = (open_["begin"], open_["round"], open_["seed"] or 0)
        made.append(Outcome(*row, "cut" if ours else "crashed", 0.0, why))
    return made


def last_words(said: str) -> str:
    """Give the last lines that pytest said, in one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " / ".join(lines[-4:])[-600:]


def before(process: tuple[Outcome, ...], place: int) -> tuple[str, ...]:
    """Name the other tests that ran before an outcome in its process, each once, the last last."""
    names = [outcome.test for outcome in process[:place] if outcome.test != process[place].test]
    return tuple(reversed(dict.fromkeys(reversed(names))))

"""The shortest command that shows a failure again, tried out before it is told."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zoo.pyramid.flake.cause import Finding
from zoo.pyramid.flake.child import Children, wait
from zoo.pyramid.flake.lab import Arm
from zoo.pyramid.flake.setting import FACTORS, Trial, environment, varied

PLUGIN = "zoo_pytest.varied"
SURE = 0.99  # that a command with rounds shows a random failure


@dataclass(frozen=True)
class Command:
    """Environment variables and pytest's arguments."""

    env: tuple[tuple[str, str], ...]
    words: tuple[str, ...]

    def __str__(self) -> str:
        before = [f"{name}={shlex.quote(value)}" for name, value in self.env]
        return " ".join([*before, "python -m pytest", *map(shlex.quote, self.words)])


def candidates(finding: Finding, test: str, suite: Children, rate: float) -> Iterator[Command]:
    """Yield commands for a finding, the shortest first."""
    arm, factors = finding.arm, [cause.factor for cause in finding.causes]
    if factors == ["again"]:
        yield made(Trial(rounds=2), (test,), suite, ())
    elif factors == ["random"]:
        rounds = rounds_for(rate)
        yield made(Trial(rounds=rounds, step=1), (test,), suite, ("seed",))
    elif arm is not None:
        tests = arm.tests
        yield made(Trial(setting=arm.setting), tests, suite, factors)
        held = [*factors, "threads", "hash"]
        yield made(Trial(setting=arm.setting), tests, suite, held, every=True)
        yield made(Trial(setting=arm.setting), tests, suite, FACTORS, every=True)
        yield made(Trial(setting=arm.setting), tests, suite, FACTORS, every=True, named=True)


def rounds_for(rate: float) -> int:
    """Give the rounds in which a failure of this rate shows itself almost surely."""
    if rate >= 1:
        return 1
    return min(10_000, max(2, math.ceil(math.log(1 - SURE) / math.log1p(-max(rate, 1e-4)))))


def made(
    trial: Trial,
    tests: Sequence[str],
    suite: Children,
    only: Sequence[str],
    *,
    every: bool = False,
    named: bool = False,
) -> Command:
    """Build a command: `only` these factors are set, `tests` run (none: the caller's arguments).

    `every` sets each library's variable of the threads; `named` lets the plugin order the tests,
    for when pytest does not keep the order of its arguments.
    """
    env = environment(trial.setting, only)
    if not every:
        for name in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ZOO_TEST_THREADS"):
            env.pop(name, None)
    wish = varied(trial, only)
    if named and tests:
        wish["tests"] = list(tests)
    words: list[str] = []
    if wish:
        env["ZOO_VARIED"] = json.dumps(wish)
        words += ["-p", PLUGIN]
    if "workers" in only and (trial.setting.workers or every) and suite.xdist:
        words += ["-n", str(trial.setting.workers)]
    options = suite.options() if tests else suite.arguments
    words += [*options, *map(suite.path, tests)]
    return Command(tuple(sorted(env.items())), tuple(words))


def shows(command: Command, test: str, suite: Children, seconds: float) -> bool:
    """Say whether a command, run as it is told, lets the test fail."""
    environ = os.environ | dict(command.env)
    if "ZOO_VARIED" not in dict(command.env):
        environ.pop("ZOO_VARIED", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *command.words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        said, _ = process.communicate(timeout=max(5.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    finally:
        wait(process, 0.0)
    if process.returncode < 0 or "crashed while running" in said:
        return True  # no summary: the process itself ended
    name = re.escape(test.rpartition("/")[2])
    return re.search(rf"^(FAILED|ERROR|SUBFAILED\S*) (\S*/)?{name}( - |$)", said, re.M) is not None


def reproducer(
    finding: Finding,
    test: str,
    suite: Children,
    *,
    rate: float,
    left: Callable[[], float],
    tries: int,
) -> tuple[str, bool]:
    """Give the shortest command that was seen to work, and whether one was."""
    first = ""
    for command in candidates(finding, test, suite, rate):
        first = first or str(command)
        for _ in range(tries):
            if left() <= 0:
                return first, False
            if shows(command, test, suite, left()):
                return str(command), True
    return first, False


def tries(arm: Arm | None, causes: Sequence[str]) -> int:
    """Give how often a command is tried: what waits or meets does not fail each time."""
    crowd = arm is not None and (arm.setting.workers > 1 or arm.setting.load > 0)
    return 5 if crowd or "random" in causes else 2

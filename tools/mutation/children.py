"""Forked children that run tests under one mutant, and what is known of each when it has ended.

A child reports through a pipe, a line each: `test` i (it starts the i-th of its tests), `failed`
with which test and how, `passed`. What the last line is, with how the child ended, is the verdict:
a kill is a line that says so; silence is a timeout, a crash, or suspicious, and never a kill.
"""

import json
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

GIGABYTE = 2**30
MEMORY = 3 * GIGABYTE  # what a mutant may take beyond what the parent holds
LEAST = float(os.environ.get("ZOO_MUTATION_LEAST", "3"))  # CPU seconds that any test may take
TIMES = 10.0  # and this many times its usual CPU seconds
LONGER = 4.0  # a second, lonely run gets this many times as much
ENDED_BY_LIMIT = (signal.SIGXCPU, signal.SIGALRM)


@dataclass(kw_only=True)
class Child:
    """One running child: what it runs, where its words come from, when it is too late."""

    mutant: str
    tests: list[str]
    pid: int
    pipe: int
    started: float
    until: float
    scratch: Path
    heard: bytes = b""
    late: bool = False
    spent: float = 0.0
    said: list[list] = field(default_factory=list)

    def listen(self) -> bool:
        """Take what has come; say whether the pipe is still open."""
        part = os.read(self.pipe, 65536)
        self.heard += part
        return bool(part)


def limit_of(seconds: float, longer: float) -> float:
    """Give the CPU seconds that one test may take which usually takes `seconds`."""
    return longer * (LEAST + TIMES * seconds)


def hold(seconds: float) -> None:
    """Let this process have `seconds` of CPU more than it has used, then be ended."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def hold_memory() -> None:
    """Refuse more than MEMORY beyond what is mapped now: an error in a test, no dead machine."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc") else 0
    if pages:
        most = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def start(
    mutant: str,
    tests: list[str],
    body: Callable[[Callable[..., None], Path], None],
    *,
    wall: float,
    scratch: Path,
) -> Child:
    """Fork; in the child call `body(say, its own folder)` and end, whatever it does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.close(read)
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(nothing, number)
            own = scratch / str(os.getpid())

            def say(*words: object) -> None:
                os.write(write, (json.dumps(words) + "\n").encode())

            hold_memory()
            body(say, own)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    now = time.monotonic()
    return Child(
        mutant=mutant,
        tests=tests,
        pid=pid,
        pipe=read,
        started=now,
        until=now + wall,
        scratch=scratch / str(pid),
    )


def next_ended(children: list[Child]) -> Child:
    """Wait until one of the children has closed its pipe or is late; take it from the list."""
    while True:
        wait = max(0.0, min(child.until for child in children) - time.monotonic())
        ready, _, _ = select.select([child.pipe for child in children], [], [], wait)
        for child in children:
            child.late = time.monotonic() > child.until
            if child.late or (child.pipe in ready and not child.listen()):
                children.remove(child)
                return child


def ended(child: Child) -> dict:
    """End the child and all that it started; give its verdict as a record."""
    if child.late:
        kill(child)
    _, status, used = os.wait4(child.pid, 0)
    kill(child)
    os.close(child.pipe)
    shutil.rmtree(child.scratch, ignore_errors=True)
    child.spent = used.ru_utime + used.ru_stime
    lines = [line for line in child.heard.split(b"\n") if line.endswith(b"]")]
    return judged(child, os.waitstatus_to_exitcode(status), [json.loads(line) for line in lines])


def kill(child: Child) -> None:
    """End what is left of the child's group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def judged(child: Child, code: int, said: list[list]) -> dict:
    """Give the record of one child from how it ended and what it said."""
    record = {
        "mutant": child.mutant,
        "verdict": verdict(code, late=child.late, last=said[-1][0] if said else ""),
        "seconds": round(child.spent, 3),
        "ran": sum(line[0] == "test" for line in said),
        "of": len(child.tests),
    }
    if record["verdict"] == "killed":
        record |= {"by": said[-1][1], "when": said[-1][2], "error": said[-1][3]}
    elif record["verdict"] != "survived":
        at = [line[1] for line in said if line[0] == "test"]
        record |= {"at": child.tests[at[-1]] if at else "", "code": code}
    return record


def verdict(code: int, *, late: bool, last: str) -> str:
    """Name the verdict of a child.

    killed      a test failed, and the child lived to say which
    survived    all its tests passed
    timeout     it was ended because it was over its time
    crash       it was ended by another signal, or pytest itself broke (it says `broke`)
    suspicious  it ended without a word
    """
    if last == "failed":
        return "killed"
    if late or -code in ENDED_BY_LIMIT:
        return "timeout"
    if last == "passed" and code == 0:
        return "survived"
    if code < 0 or last == "broke":
        return "crash"
    return "suspicious"

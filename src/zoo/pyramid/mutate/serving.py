"""The processes that a command runs in: a server that forks, or one of its own each time."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from zoo.pyramid.mutate.clean import Clean
from zoo.pyramid.mutate.command import Command, Room
from zoo.pyramid.mutate.mutant import MutateError


class Server:
    """The process that forks; `ask` gives how one child ended."""

    def __init__(
        self, room: Room, command: Command, cwd: Path, clean: Clean, never: set[str]
    ) -> None:
        self.process = started(room, command, cwd, clean.modules, never)
        if self.wrong():  # something installed imports the mutated package: load nothing then
            end(self.process)
            self.process = started(room, command, cwd, [], never)
            wrong = self.wrong()
            if wrong:
                end(self.process)
                raise MutateError(f"pytest itself imports {wrong[0]}: use --no-fork")

    def wrong(self) -> list[str]:
        """Give what was loaded and must not be, once the server has started."""
        found: list[str] = self.answer()["wrong"]
        return found

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Have one child run; give how it ended."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Read one line of what the server says; raise MutateError when it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise MutateError("the process that runs the tests has ended: use --no-fork")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        end(self.process)


def started(
    room: Room, command: Command, cwd: Path, modules: list[str], never: set[str]
) -> "subprocess.Popen[str]":
    """Start a server and tell it what to load."""
    process = subprocess.Popen(
        [str(command.python), str(room.path / "zoo_mutate_server.py")],
        cwd=cwd,
        env=room.environment(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is for who asks
    )
    path = [str(cwd)] if command.here else [str(Path(command.words[0]).parent)]
    told = {"modules": modules, "cwd": str(cwd), "path": path, "never": sorted(never)}
    assert process.stdin is not None
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    return process


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process of ours and its group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def run_alone(
    words: list[str], job: dict[str, Any], environment: dict[str, str], cwd: Path
) -> dict[str, Any]:
    """Run a process of its own; give how it ended, as a server does."""
    began = time.monotonic()
    with open(job["log"], "wb") as out:
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment | job["environment"],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        late = False
        try:
            code = process.wait(job["wall"])
        except subprocess.TimeoutExpired:
            late, code = True, -signal.SIGKILL
        finally:
            end(process)
    return {
        "code": code if code >= 0 else None,
        "signal": -code if code < 0 else 0,
        "cpu": 0.0,
        "wall": time.monotonic() - began,
        "late": late,
    }

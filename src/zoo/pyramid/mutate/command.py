"""The command that is run for each mutant: what it is, and where it runs."""

import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zoo.pyramid.mutate.mutant import MutateError

HERE = Path(__file__).parent
PLUGIN = "zoo_mutated_plugin"
SHELL = {"&&", "||", "|", ";", "&", ">", "<", ">>", "2>&1"}
QUIET = {  # one thread and one order of sets in every run, or two runs differ by themselves
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, taken apart: `python` and `args` are there when it runs pytest."""

    text: str
    words: tuple[str, ...]
    extra: dict[str, str] = field(default_factory=dict)  # VAR=value before it
    python: str | None = None
    args: tuple[str, ...] = ()
    here: bool = False  # `python -m`: the current folder is on sys.path


def read_command(given: str | Sequence[str]) -> Command:
    """Take a command apart; raise MutateError for one that cannot be started."""
    text = given if isinstance(given, str) else shlex.join(given)
    try:
        words = shlex.split(given) if isinstance(given, str) else list(given)
    except ValueError as error:
        raise MutateError(f"--command {text!r}: {error}") from None
    extra = {}
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0], re.DOTALL):
        name, _, value = words.pop(0).partition("=")
        extra[name] = value
    if not words:
        raise MutateError("--command is empty; give what runs the tests, such as 'pytest tests'")
    odd = sorted(SHELL & set(words))
    if odd:
        raise MutateError(
            f"--command {text!r} holds {odd[0]!r}, which only a shell understands: "
            "give one command, or wrap it as sh -c '...'"
        )
    program = find(words[0])
    words[0] = program
    name = Path(program).name
    if re.fullmatch(r"pytest|py\.test", name):
        python = interpreter(program)
        return Command(
            text=text, words=tuple(words), extra=extra, python=python, args=tuple(words[1:])
        )
    if re.fullmatch(r"python[0-9.]*", name) and words[1:3] == ["-m", "pytest"]:
        return Command(
            text=text,
            words=tuple(words),
            extra=extra,
            python=program,
            args=tuple(words[3:]),
            here=True,
        )
    return Command(text=text, words=tuple(words), extra=extra)


def find(program: str) -> str:
    """Give where a program stands: beside the Python that runs now, or on PATH.

    Beside it comes first: a virtual environment that was not activated is meant all the same.
    """
    beside = Path(sys.executable).parent / program
    found = str(beside) if "/" not in program and beside.is_file() else shutil.which(program)
    if found is None:
        raise MutateError(
            f"--command: there is no {program!r} on PATH or beside {sys.executable}; "
            "install it there, or name it with its folder"
        )
    return os.path.abspath(found)


def interpreter(script: str) -> str | None:
    """Give the Python that a script such as .venv/bin/pytest names in its first line."""
    try:
        with open(script, "rb") as file:
            first = file.readline(500).decode("utf-8", "replace")
    except OSError:
        return None
    found = re.match(r"#!\s*(\S*python[0-9.]*)\s*$", first)
    return found[1] if found and os.access(found[1], os.X_OK) else None


class Room:
    """A temporary folder with the hook, the plugin and the server; gone with `close`."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="zoo-mutate-"))
        plugin = HERE.parents[2] / "zoo_pytest" / "mutated.py"
        for source, name in (
            (HERE / "hook.py", "sitecustomize.py"),
            (HERE / "server.py", "zoo_mutate_server.py"),
            (plugin, f"{PLUGIN}.py"),
        ):
            shutil.copyfile(source, self.path / name)

    def environment(self, command: Command) -> dict[str, str]:
        """Give the environment of every run."""
        made = {**QUIET, **os.environ, **command.extra}
        inherited = made.get("PYTHONPATH")
        made["PYTHONPATH"] = os.pathsep.join([str(self.path), *([inherited] if inherited else [])])
        return made

    def folder(self, name: str) -> Path:
        """Make a folder in it."""
        made = self.path / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)

"""What a test may not leave changed behind it, how it is read, and how it is put back.

A reading is a dict of plain values and costs some 15 microseconds, so that every test can afford
two. Torch and numpy are read only where they are loaded. Generators are not read: every test is
seeded by its own name (`deterministic.py`), so the state that another one leaves means nothing.
sys.path and the recursion limit are not read either: torch's compiler sets both at its first use.
"""

import gc
import locale
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VARIABLE = "environment variable "  # and its name: how a difference of the environment is called
# what pytest itself, coverage, and libraries while they are imported, set
THEIRS = ("PYTEST_", "COV_", "KMP_", "TORCH", "_TORCH", "TRITON_", "HYPOTHESIS_")
GONE = "a folder that is gone"


@dataclass(frozen=True)
class Setting:
    """One global of a process: how it is read, how it is put back, and how a test should do it."""

    get: Callable[[], Any]
    put: Callable[[Any], Any]
    cure: str


@dataclass(frozen=True)
class Left:
    """A global that is not what it was; None is a variable that is not set."""

    name: str
    was: Any
    now: Any


def folder() -> str:
    """Give the working folder, which a test may have removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return GONE


def enter(path: str) -> None:
    """Go back to a working folder."""
    if path != GONE:
        os.chdir(path)


def signals() -> tuple[Any, ...]:
    """Give who hears Ctrl-C and a request to end."""
    return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)


def hear(handlers: tuple[Any, ...]) -> None:
    """Set who hears Ctrl-C and a request to end."""
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), handlers, strict=True):
        if handler is not None:  # None is one that was not installed by Python
            signal.signal(number, handler)


def logged() -> tuple[int, int]:
    """Give what is logged at the root, and what is not logged anywhere."""
    return logging.root.level, logging.root.manager.disable


def log(levels: tuple[int, int]) -> None:
    """Set what is logged at the root, and what is not logged anywhere."""
    logging.root.setLevel(levels[0])
    logging.disable(levels[1])


def collect(on: bool) -> None:
    """Switch the garbage collector on or off."""
    if on:
        gc.enable()
    else:
        gc.disable()


PYTHON = {
    "the working folder": Setting(folder, enter, "go there with monkeypatch.chdir"),
    "the locale": Setting(
        lambda: locale.setlocale(locale.LC_ALL),
        lambda old: locale.setlocale(locale.LC_ALL, old),
        "locale.setlocale(locale.LC_ALL, {was!r})",
    ),
    "the handlers of SIGINT and SIGTERM": Setting(signals, hear, "signal.signal(number, old)"),
    "the level of logging": Setting(logged, log, "set it with caplog.at_level"),
    "the garbage collector": Setting(gc.isenabled, collect, "gc.enable()"),
}


def of_torch(torch: Any) -> dict[str, Setting]:
    """Give torch's settings."""
    backends = torch.backends
    return {
        "the default dtype": Setting(
            torch.get_default_dtype, torch.set_default_dtype, "torch.set_default_dtype({was})"
        ),
        "the default device": Setting(
            lambda: torch.empty(0).device,  # get_default_device takes ten times as long
            lambda old: torch.set_default_device(None if old.type == "cpu" else old),
            "make tensors in `with torch.device(...):`",
        ),
        "grad mode": Setting(
            torch.is_grad_enabled, torch.set_grad_enabled, "write `with torch.no_grad():`"
        ),
        "the number of threads": Setting(
            torch.get_num_threads, torch.set_num_threads, "torch.set_num_threads({was})"
        ),
        "deterministic algorithms": Setting(  # use_deterministic_algorithms imports the compiler
            torch.get_deterministic_debug_mode,
            torch.set_deterministic_debug_mode,
            "torch.set_deterministic_debug_mode({was})",
        ),
        "anomaly mode": Setting(
            torch.is_anomaly_enabled,
            torch.autograd.set_detect_anomaly,
            "write `with torch.autograd.detect_anomaly():`",
        ),
        "autocast on the CPU": Setting(
            lambda: torch.is_autocast_enabled("cpu"),
            lambda old: torch.set_autocast_enabled("cpu", old),
            "write `with torch.autocast(...):`",
        ),
        "the precision of float32 products": Setting(
            torch.get_float32_matmul_precision,
            torch.set_float32_matmul_precision,
            "torch.set_float32_matmul_precision({was!r})",
        ),
        "cudnn.benchmark": Setting(
            lambda: backends.cudnn.benchmark,
            lambda old: setattr(backends.cudnn, "benchmark", old),
            "torch.backends.cudnn.benchmark = {was}",
        ),
        "attention's fast path": Setting(
            backends.mha.get_fastpath_enabled,
            backends.mha.set_fastpath_enabled,
            "torch.backends.mha.set_fastpath_enabled({was})",
        ),
    }


def of_numpy(numpy: Any) -> dict[str, Setting]:
    """Give numpy's settings."""
    return {
        "numpy's error handling": Setting(
            numpy.geterr, lambda old: numpy.seterr(**old), "write `with numpy.errstate(...):`"
        )
    }


KNOWN: dict[str, dict[str, Setting]] = {}


def settings() -> dict[str, Setting]:
    """Give the table of what can be read now: Python's, and that of each library that is loaded."""
    found = PYTHON
    for name, of in (("torch", of_torch), ("numpy", of_numpy)):
        module = sys.modules.get(name)
        # a library that is still being imported is not there yet
        if module is not None and not getattr(module.__spec__, "_initializing", False):
            if name not in KNOWN:
                KNOWN[name] = of(module)
            found = found | KNOWN[name]
    return found


def reading() -> dict[str, Any]:
    """Read everything; the environment is one value, a dict."""
    found = {name: setting.get() for name, setting in settings().items()}
    # its own dict of bytes, where there is one, is copied a hundred times faster
    found["environment"] = getattr(os.environ, "_data", os.environ).copy()
    found["modules"] = len(sys.modules)
    return found


def text(value: Any) -> Any:
    """Give a variable's name or value as text."""
    return os.fsdecode(value) if isinstance(value, bytes) else value


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Left]:
    """Yield what is not as it was; what could be read only once is no difference.

    Nor is a new variable when modules were imported meanwhile: libraries set some at their first
    import, and which test is the first to need one is a matter of order.
    """
    imported = before.get("modules") != after.get("modules")
    for name, was in before.items():
        if name == "environment":
            yield from variables(was, after[name], imported)
        elif name != "modules" and name in after and after[name] != was:
            yield Left(name, was, after[name])


def variables(was: Mapping[Any, Any], now: Mapping[Any, Any], imported: bool) -> Iterator[Left]:
    """Yield the variables of the environment that are not as they were."""
    for key in sorted({*was, *now}, key=text) if was != now else ():
        theirs = text(key).startswith(THEIRS) or (imported and key not in was)
        if was.get(key) != now.get(key) and not theirs:
            yield Left(VARIABLE + text(key), text(was.get(key)), text(now.get(key)))


def put_back(left: Left) -> None:
    """Set one global to what it was."""
    if not left.name.startswith(VARIABLE):
        settings()[left.name].put(left.was)
    elif left.was is None:
        os.environ.pop(left.name.removeprefix(VARIABLE), None)
    else:
        os.environ[left.name.removeprefix(VARIABLE)] = left.was


def expect(before: dict[str, Any], name: str, value: Any) -> None:
    """Change what a reading says of one global."""
    if not name.startswith(VARIABLE):
        before[name] = value
        return
    key: Any = name.removeprefix(VARIABLE)
    if hasattr(os.environ, "encodekey"):
        key = os.environ.encodekey(key)
    if value is None:
        before["environment"].pop(key, None)
    else:
        encode = getattr(os.environ, "encodevalue", str)
        before["environment"][key] = encode(value)


def sentence(who: str, left: Left) -> str:
    """Say what was left behind, and how to do without."""
    if left.name.startswith(VARIABLE):
        key = left.name.removeprefix(VARIABLE)
        now = "unset" if left.now is None else f"set to {left.now!r}"
        was = "was not set" if left.was is None else f"was {left.was!r}"
        verb = "setenv" if left.now is not None else "delenv"
        return f"{who} left the {left.name} {now}; it {was}: use monkeypatch.{verb}({key!r})"
    cure = settings()[left.name].cure.format(was=left.was)
    how = cure if " " in cure.split("(")[0] else f"put it back, {cure}, after the fixture's yield"
    return f"{who} left {left.name} at {short(left.now)}; it was {short(left.was)}: {how}"


def short(value: Any) -> str:
    """Give a value in at most 200 letters."""
    said = value if isinstance(value, str) else repr(value)
    return said if len(said) <= 200 else f"{said[:100]} ... {said[-90:]}"


class Guard:
    """What stood before a test, and what fixtures that outlive it have changed."""

    def __init__(self) -> None:
        self.before: dict[str, Any] | None = None
        self.made: dict[Any, tuple[str, list[Left]]] = {}  # fixture -> its name, what it changed
        self.owed: dict[str, str] = {}  # what a fixture that has ended should have put back

    def begin(self) -> None:
        """Read what stands before a test."""
        self.before = reading()
        self.owed.clear()

    def fixture_made(self, key: Any, name: str, before: Mapping[str, Any]) -> None:
        """Allow what a fixture that outlives the test has changed, until it ends."""
        changed = list(differences(before, reading()))
        if changed:
            self.made[key] = name, changed
        for left in changed:
            self.expect(left.name, left.now)

    def fixture_ended(self, key: Any) -> None:
        """Expect again what stood before a fixture."""
        name, changed = self.made.pop(key, ("", []))
        for left in changed:
            self.expect(left.name, left.was)
            self.owed[left.name] = name

    def expect(self, name: str, value: Any) -> None:
        """Change what is expected after the test, if one runs."""
        if self.before is not None:
            expect(self.before, name, value)

    def end(self, who: str) -> list[str]:
        """Put back what a test left changed; say what it was, a sentence each."""
        if self.before is None:
            return []
        found = list(differences(self.before, reading()))
        self.before = None
        told = []
        for left in found:
            owner = self.owed.get(left.name)
            told.append(sentence(f"the fixture {owner} of {who}" if owner else who, left))
            put_back(left)
        return told

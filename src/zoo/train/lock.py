"""One trainer a folder: a lock that the kernel frees when its owner dies, however it dies.

`flock` belongs to an opened file. A forked child shares what is open, and would hold the lock on
after its parent's death: it closes the file at once, and programs that are started never get it.
The file's text says who holds the lock; it is only for people, and old text means nothing.
"""

import json
import os
import socket
import weakref
from pathlib import Path
from types import TracebackType

from zoo.checkpoint.jsons import parse_json


class LockedError(RuntimeError):
    """A folder that another trainer works in, or that cannot be locked."""


class Lock:
    """Hold a file locked inside a `with`, or from `acquire` to `release`.

    Raises LockedError that names the process and the machine that hold it. The file stays: to
    remove it would let two trainers lock two files of one name.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.descriptor: int | None = None

    def acquire(self) -> None:
        import fcntl  # not on every system

        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LockedError(f"cannot open {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, own_name(), 0)
        except BlockingIOError:
            owner = name_in(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise LockedError(
                f"{self.path.parent} is being trained by {owner}: wait until it ends, or end it"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise LockedError(f"cannot lock {self.path}: {error.strerror}") from None
        self.descriptor = descriptor
        HELD.add(self)

    def release(self) -> None:
        """Let go; closing is enough, and leaves nothing behind in a forked child."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


HELD: "weakref.WeakSet[Lock]" = weakref.WeakSet()


def forget() -> None:
    """Close what a forked child shares with its parent, which keeps its locks."""
    for lock in list(HELD):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)


def own_name() -> bytes:
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode() + b"\n"


def name_in(text: bytes) -> str:
    """Say who holds the lock, as far as the text tells."""
    try:
        owner = parse_json(text, "lock")
        return f"process {int(owner['pid'])} on {str(owner['host'])[:80]}"
    except (ValueError, KeyError, TypeError):
        return "another process"

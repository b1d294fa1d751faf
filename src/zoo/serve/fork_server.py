"""A process that has imported torch once and forks a worker in milliseconds.

It does nothing but import and fork: torch runs no op and no library has a thread before the fork,
so that the child may start threads of its own. It sits in a session of its own and ignores SIGINT,
SIGTERM and SIGHUP, which are the door's to hear; it ends when the door's socket ends, however the
door died. multiprocessing's fork server does neither, and stays until its parent ends.
"""

import contextlib
import faulthandler
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import traceback

# a thread that spins while it waits takes the core that another needs, as soon as somebody
# else computes: a step of 30 ms was seen to take 600. With the machine to itself: ACTIVE
UNLESS_SET = {"OMP_WAIT_POLICY": "PASSIVE"}
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}  # else numpy starts threads while it is imported
PRELOADED = ("zoo.serve.worker",)  # and torch with it
WANTED = ("tokenizers", "PIL.Image")  # by some models, where they are installed
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ForkServer:
    """The fork server, seen from the door."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def fork(self, end: socket.socket) -> None:
        """Start a worker that owns this end of a socket pair; raise OSError when none can start.

        The fork server is started first where there is none, or none any more. Nothing waits: a
        fork that fails is seen as a worker that ends at once.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        try:
            self._send(end)
        except ConnectionError:  # it died since
            self._start()
            self._send(end)

    def close(self) -> None:
        """End the fork server; the workers live on until their own sockets end."""
        if self._process is not None and self._link is not None:
            self._link.close()
            self._process.kill()  # it holds nothing, and may be amid an import of seconds
            self._process.wait()
        self._process = self._link = None

    def _start(self) -> None:
        self.close()
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the door prints is the door's alone
                pass_fds=[theirs.fileno()],
                env=UNLESS_SET | os.environ | ENVIRONMENT | {"PYTHONPATH": search_path()},
                start_new_session=True,
            )

    def _send(self, end: socket.socket) -> None:
        assert self._link is not None
        socket.send_fds(self._link, [b"f"], [end.fileno()])


def search_path() -> str:
    """Give where this process finds modules, as PYTHONPATH says it."""
    return os.pathsep.join(path for path in sys.path if path)


def serve(link: socket.socket) -> None:
    """Fork a worker for each socket that comes through the link, until the link ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    for name in WANTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # the children share these pages until they write to them; a collection would
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; the door hears the socket end
    while (found := socket.recv_fds(link, 1, 1))[0]:
        with socket.socket(fileno=found[1][0]) as end:
            try:
                child = os.fork()
            except OSError as error:  # the socket closes: the door will try again
                print(f"zoo serve: no process could be started: {error}", file=sys.stderr)
                continue
            if child == 0:
                link.close()
                work(end)


def work(end: socket.socket) -> None:
    """Be a worker, and leave without coming back."""
    from zoo.serve import worker

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        worker.work(end)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Be the fork server of the socket whose number is the argument."""
    faulthandler.enable()  # the workers too: a crash in a library says where
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()

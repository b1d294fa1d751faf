"""The lock of a run folder among real processes: killed, forked, and starting others."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest

from zoo.train.lock import Lock, LockedError

pytestmark = pytest.mark.subproc


def alone():
    return []


def forked():
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return [child]


def started(**options):
    return [subprocess.Popen(["sleep", "60"], **options).pid]


def started_with_all_files():
    return started(close_fds=False)


def workers():
    """Start what a data loader starts."""
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=time.sleep, args=(60,)) for _ in range(2)]
    for process in processes:
        process.start()
    return [process.pid for process in processes]


def trainer(place, start):
    """Start a process that holds the lock; give it, and the processes that it has started."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            with Lock(place):
                os.write(into, " ".join(map(str, start())).encode() + b"\n")
                os.close(into)
                time.sleep(60)
        finally:
            os._exit(1)
    os.close(into)
    with open(out) as pipe:
        return child, [int(word) for word in pipe.readline().split()]


@pytest.mark.parametrize("start", [alone, forked, started, started_with_all_files, workers])
def test_a_killed_trainer_holds_nothing_whatever_lives_on(tmp_path, start):
    place = tmp_path / "lock"
    process, others = trainer(place, start)
    try:
        with pytest.raises(LockedError, match=f"is being trained by process {process} on "):
            Lock(place).acquire()
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for other in others:
            os.kill(other, 0)  # lives
        with Lock(place):
            pass
    finally:
        for other in others:
            os.kill(other, signal.SIGKILL)


def test_a_forked_child_that_ends_lets_nothing_go(tmp_path):
    """In the child the lock is nobody's; to let it go there must not free the parent's."""
    place = tmp_path / "lock"
    with Lock(place) as lock:
        child = os.fork()
        if child == 0:
            lock.release()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(LockedError, match=f"by process {os.getpid()} on "):
            Lock(place).acquire()

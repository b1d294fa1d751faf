"""Trainers that hold a lock, start others and are killed; see test_lock.py.

python lock_child.py FOLDER     prints JSON: start -> [trainer, what a second one is told while it
                                lives, how many of its children live on, what the next is told]
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from zoo.train.lock import Lock, LockedError


def alone():
    return []


def forked():
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        stay(into)
        os._exit(0)
    os.read(out, 1)
    return [child]


def stay(into):
    """Say that this child runs, and live on: one that never ran has let nothing go yet."""
    os.write(into, b".")
    time.sleep(60)


def started(**options):
    return [subprocess.Popen(["sleep", "60"], **options).pid]


def started_with_all_files():
    return started(close_fds=False)


def workers():
    """Start what a data loader starts."""
    fork = multiprocessing.get_context("fork")
    out, into = os.pipe()
    processes = [fork.Process(target=stay, args=(into,)) for _ in range(2)]
    for process in processes:
        process.start()
        os.read(out, 1)
    return [process.pid for process in processes]


def let_go_in_a_child():
    """Fork a child in which the lock is let go, and wait for it: the parent's must stay."""
    child = os.fork()
    if child == 0:
        HELD[0].release()
        os._exit(0)
    os.waitpid(child, 0)
    return []


HELD = []
STARTS = (alone, forked, started, started_with_all_files, workers, let_go_in_a_child)


def trainer(place, start):
    """Start a process that holds the lock; give it, and the processes that it has started."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(out)
            with Lock(place) as lock:
                HELD[:] = [lock]
                os.write(into, " ".join(map(str, start())).encode() + b"\n")
                os.close(into)
                time.sleep(60)
        finally:
            os._exit(1)
    os.close(into)
    with open(out) as pipe:
        return child, [int(word) for word in pipe.readline().split()]


def told(place):
    """Give what another trainer is told; nothing when it gets the lock."""
    try:
        with Lock(place):
            return ""
    except LockedError as error:
        return str(error)


def run(place, start):
    process, others = trainer(place, start)
    try:
        first = told(place)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        living = [other for other in others if Path(f"/proc/{other}").exists()]
        return process, first, len(living), told(place)
    finally:
        for other in others:
            os.kill(other, signal.SIGKILL)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(json.dumps({start.__name__: run(folder / start.__name__, start) for start in STARTS}))

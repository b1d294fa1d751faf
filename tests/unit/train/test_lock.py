import json
import os
import re
import socket

import pytest

from zoo.train.lock import Lock, LockedError

HERE = re.escape(socket.gethostname())


def test_a_second_trainer_is_told_who_is_there(tmp_path):
    with Lock(tmp_path / "lock"):
        sentence = rf"{tmp_path} is being trained by process {os.getpid()} on {HERE}: wait"
        with pytest.raises(LockedError, match=sentence), Lock(tmp_path / "lock"):
            raise AssertionError("two trainers")
        with Lock(tmp_path / "another"):
            pass


def test_a_lock_that_was_let_go_can_be_taken(tmp_path):
    lock = Lock(tmp_path / "lock")
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()
    with Lock(tmp_path / "lock"):
        pass


def test_a_lock_is_let_go_after_an_error(tmp_path):
    with pytest.raises(KeyError), Lock(tmp_path / "lock"):
        raise KeyError
    with Lock(tmp_path / "lock"):
        pass


STALE = {
    "a dead owner": b'{"pid": 1, "host": "elsewhere", "more": 2}',
    "longer than ours": b'{"pid": 1, "host": "' + b"h" * 5000 + b'"}',
    "no JSON": b"\xff\x00 nonsense",
    "a list": b"[1, 2]",
    "nothing": b"",
}


@pytest.mark.parametrize("text", STALE.values(), ids=STALE)
def test_old_text_means_nothing_and_is_replaced(tmp_path, text):
    place = tmp_path / "lock"
    place.write_bytes(text)
    with Lock(place):
        held = json.loads(place.read_text())
        assert held == {"pid": os.getpid(), "host": socket.gethostname()}
    with Lock(place):
        pass


UNREADABLE = {
    "no text": b"\xff",
    "a list": b"[1]",
    "no names": b"{}",
    "a word": b'{"pid": "x", "host": 2}',
    "nothing": b"",
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_an_owner_that_cannot_be_read_is_another_process(tmp_path, text):
    place = tmp_path / "lock"
    with Lock(place):
        place.write_bytes(text)
        with pytest.raises(LockedError, match="is being trained by another process"):
            Lock(place).acquire()


def test_a_place_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(LockedError, match=rf"cannot open {tmp_path}/none/lock: No such file"):
        Lock(tmp_path / "none" / "lock").acquire()


def test_a_refused_lock_leaves_no_open_file(tmp_path):
    with Lock(tmp_path / "lock"):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(LockedError):
                Lock(tmp_path / "lock").acquire()
        assert len(os.listdir("/proc/self/fd")) == before

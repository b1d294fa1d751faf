"""Frames come out as they went in, from a blocking file and from asyncio alike."""

import asyncio
import io
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.serve.frames import LARGEST, pack, read, receive

# a lone half of a surrogate pair is no UTF-8, but JSON can hold it
TEXTS = st.text(st.characters(), max_size=9)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=9,
)
RECORDS = st.dictionaries(TEXTS, VALUES, max_size=4)
PARTS = st.lists(st.binary(max_size=30), max_size=4)


def read_all(data):
    stream = io.BytesIO(data)
    return list(iter(lambda: read(stream), None))


def receive_all(data):
    async def main():
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while (frame := await receive(reader)) is not None:
            found.append(frame)
        return found

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("frames_of", [read_all, receive_all], ids=["blocking", "asyncio"])


@BOTH
@settings(max_examples=25)
@given(frames=st.lists(st.tuples(RECORDS, PARTS), max_size=4))
def test_frames_come_out_as_they_went_in(frames_of, frames):
    data = b"".join(pack(record, parts) for record, parts in frames)
    assert frames_of(data) == frames


@BOTH
@pytest.mark.parametrize("number", [math.inf, -math.inf, 1e308, 5e-324, -0.0, 0.1 + 0.2])
def test_numbers_keep_their_bits(frames_of, number):
    (frame,) = frames_of(pack({"number": number}))
    assert struct.pack("!d", frame[0]["number"]) == struct.pack("!d", number)


@BOTH
def test_an_end_within_a_frame_is_the_end(frames_of):
    first, second = pack({"is": "one"}, [b"12"]), pack({"is": "two"}, [b"345", b"6"])
    for cut in range(len(second)):
        assert frames_of(first + second[:cut]) == [({"is": "one"}, [b"12"])]


BROKEN = [
    ("a head too long", struct.pack("!I", LARGEST + 1)),
    ("a part too long", pack({}).replace(b"[{},[]]", b"[{},[%d]]" % (LARGEST + 1))),
    ("parts too long together", pack({}).replace(b"[{},[]]", b"[{},[%d,1]]" % LARGEST)),
    ("a part of no size", pack({}).replace(b"[{},[]]", b"[{},[-1]]")),
    ("no JSON", struct.pack("!I", 3) + b"\x80\x04."),
]


def fixed(data):
    """Make the length that a changed head states true."""
    head = data[4:]
    return struct.pack("!I", len(head)) + head if head.startswith(b"[") else data


@BOTH
@pytest.mark.parametrize("data", [fixed(d) for _, d in BROKEN], ids=[name for name, _ in BROKEN])
def test_what_is_no_frame_is_refused(frames_of, data):
    with pytest.raises(ValueError, match=r"frame|Expecting|decode"):
        frames_of(data)


def test_a_frame_that_is_too_large_is_not_made():
    part = bytes(2**20)
    with pytest.raises(ValueError, match="at most 1073741824 pass"):
        pack({}, [part] * 1024)

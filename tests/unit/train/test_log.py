"""The log: whole lines, none twice, none lost, and valid JSON whatever the numbers are."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from unit.train.limits import limited
from zoo.train.log import FILE, Log, LogError, append, read_log, scalars

INF, NAN = float("inf"), float("nan")


def written(folder, steps, start=0):
    """Log so many steps, each with a loss that tells it from others."""
    with Log(folder, start=start) as log:
        for step in range(start, steps):
            log.write({"step": step, "loss": step + 0.5})
    return folder


def steps_of(folder):
    return [record["step"] for record in read_log(folder)]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (1.5, 1.5),
        (0.1, 0.1),
        (7, 7),
        (True, True),
        (None, None),
        (NAN, None),
        (-INF, None),
        ("tokens", "tokens"),
        ("a\nb\u2028ü", "a\nb\u2028ü"),
        ({"loss": NAN, "accuracy": 0.5}, {"loss": None, "accuracy": 0.5}),
        ([1.0, INF], [1.0, None]),
        ((2, NAN), [2, None]),
        (torch.tensor(2.5), 2.5),
        (torch.tensor(NAN), None),
        (np.float32(0.25), 0.25),
        ({"x": np.float64(INF)}, {"x": None}),
        (np.int64(3), 3),
    ],
    ids=[f"value{i}" for i in range(17)],
)
def test_what_is_written_is_read_and_a_number_that_is_not_finite_is_null(tmp_path, value, read):
    with Log(tmp_path) as log:
        log.write({"step": 3, "value": value})
    (line,) = (tmp_path / FILE).read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {"step": 3, "value": read}
    assert read_log(tmp_path) == [{"step": 3, "value": read}]


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"loss": 1.0}, r"a record's step is None; expected a number from 0"),
        ({"step": -1}, r"step is -1"),
        ({"step": 2.0}, r"step is 2\.0"),
        ({"step": True}, r"step is True"),
        ({"step": 1, "x": object()}, r"object object at .* cannot be written to a log"),
    ],
    ids=["none", "negative", "float", "bool", "object"],
)
def test_a_record_that_is_none_is_refused_and_leaves_no_trace(tmp_path, record, sentence):
    with Log(tmp_path) as log, pytest.raises(LogError, match=sentence):
        log.write(record)
    assert read_log(tmp_path) == []


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path):
    with Log(tmp_path / "new" / "run") as log:
        log.write({"step": 0})
        assert steps_of(tmp_path / "new" / "run") == [0]
        log.write({"step": 1})
        assert steps_of(tmp_path / "new" / "run") == [0, 1]


@pytest.mark.parametrize("start", [0, 1, 3, 5, 9])
def test_going_on_drops_what_will_be_done_again(tmp_path, start):
    written(tmp_path, 5)
    Log(tmp_path, start=start).close()
    assert steps_of(tmp_path) == list(range(min(start, 5)))
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("killed", [3, 4, 6])
def test_a_run_that_went_on_has_the_lines_of_one_that_never_stopped(tmp_path, killed):
    whole = written(tmp_path / "whole", 7)
    parts = written(tmp_path / "parts", killed)
    written(parts, 7, start=3)
    assert (parts / FILE).read_bytes() == (whole / FILE).read_bytes()


def test_what_was_validated_after_a_step_is_dropped_with_it(tmp_path):
    with Log(tmp_path) as log:
        for step in (3, 4):
            log.write({"step": step, "loss": 1.0})
            log.write({"step": step, "valid": {"loss": 2.0}})
    Log(tmp_path, start=4).close()
    assert [sorted(record) for record in read_log(tmp_path)] == [
        ["loss", "step"],
        ["step", "valid"],
    ]


def test_half_a_line_at_any_byte_is_passed_over_and_then_removed(tmp_path):
    data = (written(tmp_path, 2) / FILE).read_bytes()
    first = data.index(b"\n") + 1
    for end in range(first, len(data)):
        (tmp_path / FILE).write_bytes(data[:end])
        # a line that lacks nothing but its end is whole
        whole = [0, 1][: data[: end + 1].count(b"\n")]
        assert steps_of(tmp_path) == whole
        with Log(tmp_path, start=2) as log:
            log.write({"step": 2})
        assert steps_of(tmp_path) == [*whole, 2]


@pytest.mark.parametrize(
    "line",
    [b"", b"nonsense", b"[1]", b"{}", b'{"step": "1"}', b'{"step": 1', b"\xff\xfe", b"\0\0\0"],
    ids=[f"line{i}" for i in range(8)],
)
def test_a_broken_line_before_the_last_is_named(tmp_path, line):
    good = b'{"step": 0}\n'
    (tmp_path / FILE).write_bytes(good + good + line + b"\n" + good)
    for reader in (read_log, lambda folder: Log(folder, start=1)):
        with pytest.raises(LogError, match=r"log\.jsonl, line 3: .* is not a JSON object with a"):
            reader(tmp_path)
    assert (tmp_path / FILE).read_bytes() == good + good + line + b"\n" + good


def test_a_run_from_the_beginning_needs_nothing_of_an_old_log(tmp_path):
    (tmp_path / FILE).write_bytes(b"nonsense\n{}\n")
    Log(tmp_path).close()
    assert read_log(tmp_path) == []


@pytest.mark.parametrize("name", [".", "nothing/there", f"{FILE}/below"])
def test_a_folder_without_a_log_is_told(tmp_path, name):
    if name.startswith(FILE):
        (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(LogError, match=r"has no log\.jsonl; expected the folder that a run"):
        read_log(tmp_path / name)


def test_what_a_killed_opening_left_behind_is_removed(tmp_path):
    written(tmp_path, 3)
    (tmp_path / "log.jsonl.partial").write_bytes(b"half")
    Log(tmp_path, start=3).close()
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    assert steps_of(tmp_path) == [0, 1, 2]


def test_an_old_log_stays_when_the_new_one_cannot_be_written(tmp_path):
    before = (written(tmp_path, 3) / FILE).read_bytes()
    with limited(len(before) // 2), pytest.raises(OSError, match="File too large"):
        Log(tmp_path, start=2)
    assert (tmp_path / FILE).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_a_line_that_does_not_fit_is_left_out_whole(tmp_path):
    with Log(tmp_path) as log:
        log.write({"step": 0})
        with limited(20), pytest.raises(OSError, match="File too large"):
            log.write({"step": 1, "text": "longer than there is room for"})
        log.write({"step": 2})
    assert steps_of(tmp_path) == [0, 2]


def test_a_line_goes_to_the_end_whoever_else_wrote(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    with path.open("ab") as other:
        other.write(b"two\n")
    append(descriptor, b"three\n")
    os.close(descriptor)
    assert path.read_bytes() == b"one\ntwo\nthree\n"


def test_closing_twice_does_nothing_and_a_closed_log_is_not_written(tmp_path):
    log = Log(tmp_path)
    log.close()
    log.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        log.write({"step": 0})


def test_what_makes_a_curve_is_named_by_where_it_stands():
    record = {"step": 4, "loss": 1.0, "seconds": 2.0, "count": 9, "unit": "tokens", "ok": True}
    record |= {"norm": None, "rate": np.float32(0.5), "valid": {"loss": 3, "f1": None}}
    assert list(scalars(record)) == [("loss", 1.0), ("rate", 0.5), ("valid/loss", 3.0)]


def events(folder):
    """Read TensorBoard's files with TensorBoard: name -> [(step, value)]."""
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return {
        name: [(event.step, event.value) for event in read.Scalars(name)]
        for name in sorted(read.Tags()["scalars"])
    }


def test_tensorboard_shows_each_step_once_after_going_on(tmp_path):
    for start, end, loss in ((0, 5, 1.0), (3, 6, 2.0)):
        with Log(tmp_path, start=start, tensorboard=True) as log:
            for step in range(start, end):
                log.write({"step": step, "loss": loss, "seconds": 1.0, "unit": "tokens"})
                log.write({"step": step, "valid": {"accuracy": 0.5}})
            log.sync()
    losses = [(0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]
    assert events(tmp_path) == {
        "loss": losses,
        "valid/accuracy": [(step, 0.5) for step, _ in losses],
    }


def test_after_sync_tensorboard_shows_what_was_written(tmp_path):
    with Log(tmp_path, tensorboard=True) as log:
        for step in range(3):
            log.write({"step": step, "loss": 1.0})
        log.sync()
        assert events(tmp_path) == {"loss": [(0, 1.0), (1, 1.0), (2, 1.0)]}


def test_tensorboard_is_not_written_unless_asked_for(tmp_path):
    written(tmp_path, 2)
    assert [p.name for p in Path(tmp_path).iterdir()] == [FILE]

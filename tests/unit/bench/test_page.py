"""What people read: the table, the trend, what changed, on which machine."""

import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import machine, table, trend  # noqa: E402
from benchmarks.speed.stats import summary  # noqa: E402

MIB = 1 << 20
CLEAR = Path("/proc/self/clear_refs")


def side(seconds, **more):
    times = [seconds] * 6
    return {"cpu": times, "wall": times, "seconds": seconds, "live": 3 * MIB} | more


def record(ratio=1.25, **pair):
    pair = {"ours": "zoo", "peer": "hf", "ratio": summary([ratio] * 6), "live": 0.5} | pair
    return {
        "item": "gpt2-train",
        "does": "a step",
        "threads": 1,
        "size": "full",
        "clock": "cpu",
        "curve": "over tokens",
        "x": 128,
        "pairs": [{"same": True} | pair],
        "sides": {
            "zoo": side(0.4, of_limit=0.816, limit_seconds=0.33, rss=900 * MIB),
            "hf": side(0.4 * ratio, live=6 * MIB, rss=1500 * MIB),
            "ctranslate2": {"absent": "not installed: pip install ctranslate2"},
        },
    }


def result(commit="abc", **more):
    facts = {"commit": commit, "date": "2026-01-02", "changed": False, "processor": "P"}
    return {"machine": facts, "items": [record(**more)]}


def test_a_row_ends_in_times_the_peer_and_share_of_the_limit():
    rows = table.rows_of(record(difference=1e-7, bound=1e-5, fault=False))
    cells = dict(zip(table.HEAD, rows[0], strict=True))
    assert cells == {
        "item": "gpt2-train",
        "zoo": "zoo",
        "peer": "hf",
        "zoo's time": "400 ms",
        "peer's time": "500 ms",
        "× the peer": "1.25",
        "95 %": "1.25 to 1.25",
        "% of the limit": "82",
        "live MiB": "3",
        "× peer's": "0.50",
        "peak RSS MiB": "900 / 1,500",
        "same numbers": "yes",
    }
    assert rows[1][2] == "ctranslate2"
    assert rows[1][-1] == "not installed: pip install ctranslate2"
    assert all(len(row) == len(table.HEAD) for row in rows)


def test_without_a_peer_zoo_has_a_row_of_its_own():
    alone = record() | {"pairs": []}
    rows = table.rows_of(alone)
    assert [row[1:3] for row in rows] == [("zoo", ""), ("", "hf"), ("", "ctranslate2")]
    assert all(len(row) == len(table.HEAD) for row in rows)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ({"difference": 0.1, "bound": 1e-5, "fault": True}, "NO: 1.0e-01, more than 1.0e-05"),
        ({"difference": 1e-7, "bound": 1e-5}, "yes"),
        ({"difference": 0.012, "bound": None}, "off by 1.2 %"),
        ({"tokens": 128, "tokens_same": 128}, "all of 128 tokens"),
        (
            {"tokens": 128, "tokens_same": 3, "difference": 0.036, "bound": None},
            "3 of 128 tokens, off by 3.6 %",
        ),
        ({}, "-"),
    ],
    ids=["fault", "same", "error", "tokens", "wanders", "unknown"],
)
def test_sameness_is_said_in_words(pair, said):
    assert table.sameness(pair) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(12.34, "12.3 s"), (1.0, "1 s"), (0.0123, "12.3 ms"), (2.5e-5, "25 µs")],
    ids=["long", "one", "short", "shortest"],
)
def test_times_have_three_digits(seconds, said):
    assert table.duration(seconds) == said


def test_extremes_stand_in_brackets_where_rounds_are_too_few():
    assert table.spread(summary([1.0, 1.2])) == "(1.00 to 1.20)"
    assert table.spread(summary([1.0] * 3 + [1.2] * 3)) == "1.00 to 1.20"


def test_a_markdown_table_has_as_many_cells_in_every_line():
    lines = table.table([record(), record()]).splitlines()
    assert {line.count("|") for line in lines} == {len(table.HEAD) + 1}
    assert len(lines) == 2 + 4


def test_a_trend_file_grows_by_a_line_a_comparison(tmp_path):
    file = tmp_path / "deep" / "trend.jsonl"
    for commit in ("one", "two"):
        trend.append(file, trend.lines_of(result(commit)))
    lines = trend.read(file)
    assert [line["commit"] for line in lines] == ["one", "two"]
    assert (lines[0]["item"], lines[0]["of_limit"], lines[0]["live"]) == ("gpt2-train", 0.816, 0.5)


@pytest.mark.parametrize(
    ("ratios", "change"),
    [
        ([1.2], "new"),
        ([1.2, 1.2], "within noise"),
        ([1.2, 1.3], "faster"),
        ([1.2, 1.3, 1.1], "slower"),
        ([1.3, 1.2, 1.3], "faster"),
    ],
    ids=["one-run", "equal", "up", "down-at-last", "up-again"],
)
def test_the_last_run_is_held_against_the_one_before(ratios, change):
    runs = [line for ratio in ratios for line in trend.lines_of(result(ratio=ratio))]
    (row,) = trend.rows(runs)
    assert (row["change"], row["runs"]) == (change, len(ratios))
    assert change in trend.table(runs)


def test_what_changed_stands_first():
    steady, moved = [trend.lines_of(result(ratio=1.2)) for _ in range(2)]
    moved = [line | {"item": "other", "ratio": summary([r] * 6)} for r in (1, 2) for line in moved]
    assert [row["item"] for row in trend.rows([*steady, *steady, *moved])] == [
        "other",
        "gpt2-train",
    ]


@pytest.mark.parametrize("text", ["", "no json", '{"item": 1}', "[]"])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps(trend.lines_of(result())[0]) + "\n" + text if text else "")
    with pytest.raises(ValueError, match="line 2 is not of" if text else "is empty"):
        trend.read(file)


def test_the_machine_is_described():
    facts = machine.facts(2)
    assert facts["threads"] == 2 and facts["cores"] >= 1 and facts["load"] >= 0
    assert facts["versions"]["torch"]
    assert facts["processor"]
    assert machine.version_of("no-such-package-of-anybody") is None


def test_the_peak_of_a_process_is_of_what_it_held():
    machine.forget_peak()
    before = machine.peak_rss()
    kept = bytearray(b"x") * (64 * MIB)
    assert machine.peak_rss() >= before + 60 * MIB
    assert len(kept) == 64 * MIB


@pytest.mark.skipif(not os.access(CLEAR, os.W_OK), reason="waits for Linux: it can forget a peak")
def test_a_peak_can_be_forgotten():
    kept = bytearray(b"x") * (64 * MIB)
    before = machine.peak_rss()
    del kept
    machine.forget_peak()
    assert machine.peak_rss() <= before - 32 * MIB

"""The form of each part of probe.json: what may stand there, and what may not."""

import pytest

from zoo.models import probe_file
from zoo.models.probe_file import FORMS

LONG = "x" * 10_000
NUMBERS = {"shape": [1, 2], "rms": 1.0, "tolerance": 0, "values": [1.0, -2]}
ANSWER = {"exact": {"output": NUMBERS | {"argmax": [1]}, "stacks": {"a": [NUMBERS]}}}
TOKENS = {"files": {"a": "b"}, "settings": {"a": [1, None]}, "size": 3, "vocabulary": "x"}
TOKENS |= {"texts": [["a", [1, 2]]]}
PIXELS = {"settings": {"size": {"height": 1}}, "shape": [1], "values": [0.5]}


def output(**changes):
    return {"exact": ANSWER["exact"] | {"output": ANSWER["exact"]["output"] | changes}}


def stacks(**changes):
    return {"exact": ANSWER["exact"] | {"stacks": {"a": [NUMBERS, NUMBERS | changes]}}}


def lacking(table, name):
    return {key: value for key, value in table.items() if key != name}


# part -> (what may stand there, what may not)
FORM_ROWS = {
    "format": (["", LONG[1:]], [None, 7, LONG, ["x"]]),
    "family": (["gpt2"], [None, 1.5, LONG]),
    "head": (["lm", None], [7, LONG, []]),
    "config": (
        [{}, {"a": None, "b": True, "c": "x", "d": 1.5, "e": [1, "x", None], "f": {"g": 1}}],
        [
            None,
            [],
            {"a": [[1]]},
            {"a": {"b": [1]}},
            {"a": LONG},
            {"a": 1e300},
            {"a": [1] * 100_001},
        ],
    ),
    "tokenizer": (
        [None, TOKENS, TOKENS | {"texts": [], "more": 1}, TOKENS | {"size": 2**31 - 1}],
        [
            *({}, "x", *(lacking(TOKENS, name) for name in TOKENS)),
            *(TOKENS | {"size": n} for n in (-1, 2**31, 1.0, True)),
            *(TOKENS | {"texts": t} for t in ([["a"]], [["a", [1], 2]], [[1, [1]]], [["a", [-1]]])),
            *(TOKENS | {"texts": t} for t in ({"a": [1]}, [["a", {}]], [["a", []]] * 101, ["ab"])),
            *(TOKENS | {"files": f} for f in ({"a": 1}, ["a"])),
            *(TOKENS | {"settings": s} for s in (None, {"a": [[]]})),
            TOKENS | {"vocabulary": None},
        ],
    ),
    "pixels": (
        [None, PIXELS, PIXELS | {"shape": [1] * 8, "values": [1] * 1000}],
        [
            *({}, [], *(lacking(PIXELS, name) for name in PIXELS)),
            *(PIXELS | {"shape": s} for s in ([1] * 9, [1.5], 3)),
            *(PIXELS | {"values": v} for v in ([1] * 1001, ["x"], [10**400], None)),
            PIXELS | {"settings": {"a": [{}]}},
        ],
    ),
    "inputs": (
        [{}, {"a": [1, 2], "b": [[1], [2]]}, {"a": [1] * 1000}],
        [None, [], {"a": 1}, {"a": ["x"]}, {"a": [[-1]]}, {"a": [1] * 1001}, {"a": [[[1]]]}],
    ),
    "answers": (
        [{}, ANSWER, output(argmax=[]), {"a": ANSWER["exact"], "b": ANSWER["exact"]}],
        [
            *(None, {"exact": None}, {"exact": {}}),
            *({"exact": lacking(ANSWER["exact"], name)} for name in ("output", "stacks")),
            *(output(**{n: v}) for n in NUMBERS for v in (None, "x", [[1]])),
            *(stacks(**{n: v}) for n in NUMBERS for v in (None, "x", [[1]])),
            *(output(rms=v) for v in (-1, 1e300, True)),
            *(stacks(tolerance=v) for v in (-0.5, 10**400, [1])),
            *(output(argmax=v) for v in ([-1], [1.5], [1] * 1001, None)),
            *(stacks(values=v) for v in ([1] * 1001, [None])),
            {"exact": ANSWER["exact"] | {"stacks": {"a": NUMBERS}}},
            {"exact": ANSWER["exact"] | {"stacks": {"a": [{}] * 2}}},
            {"exact": ANSWER["exact"] | {"stacks": {"a": [NUMBERS] * 10_001}}},
        ],
    ),
    "tensors": ([{}, {"a": "F32 2x3 01"}], [None, [], {"a": 1}, {"a": "F32 01"}, {"a": "a b c d"}]),
}


@pytest.mark.parametrize("name", FORM_ROWS)
def test_each_part_has_its_form(name):
    assert FORM_ROWS.keys() == FORMS.keys()
    good, bad = FORM_ROWS[name]
    assert [FORMS[name](value) for value in good] == [True] * len(good)
    assert [FORMS[name](value) for value in bad] == [False] * len(bad)


def test_longest_lists_and_texts_are_taken():
    assert FORMS["config"]({"a": [1] * 100_000})
    assert FORMS["tokenizer"](TOKENS | {"texts": [["a", []]] * 100})
    assert FORMS["answers"]({"exact": ANSWER["exact"] | {"stacks": {"a": [NUMBERS] * 10_000}}})
    assert probe_file.is_number(9.9e299) and not probe_file.is_number(-1e300)
    assert [probe_file.is_id(n) for n in (0, 1, -1, "1")] == [True, True, False, False]

"""What accepting says: reasons, metrics that moved, rows that answer otherwise, sums of weights."""

import hashlib

import pytest

from zoo.evaluate.accept import Moved, alike, compared, reason, weights_of
from zoo.evaluate.golden import GoldenError
from zoo.evaluate.golden_quality import Answered
from zoo.evaluate.outcome import Outcome, Row


@pytest.mark.parametrize(
    ("because", "first", "good"),
    [
        ("abcd", True, False),
        ("abcde", True, True),
        ("1 2 3 4 5 6 7 8", True, False),
        ("... abcde ---", False, False),
        ("labels fixed", False, False),
        ("a bc de", False, True),
        ("a b cd", False, False),
        ("etwas war falsch", False, True),
    ],
    ids=range(8),
)
def test_a_reason_has_three_words_and_five_letters(because, first, good):
    if good:
        assert reason(f" {because.replace(' ', chr(10))}", first=first) == because
    else:
        with pytest.raises(GoldenError, match=f"the reason '{because}' says too little"):
            reason(because, first=first)


def test_a_reason_is_not_the_first_unless_that_is_said():
    with pytest.raises(GoldenError, match="says too little"):
        reason("abcde")


def answered(passed, names=None):
    """Answer a row a letter: "x" passes, "." fails."""
    names = names or [f"r{i}" for i in range(len(passed))]
    rows = tuple(Row(id=name, task="choice", fields={}) for name in names)
    made = (
        Outcome(id=n, answer="a", value=1.0, passed=p == "x")
        for n, p in zip(names, passed, strict=True)
    )
    return Answered(rows, tuple(made))


def test_metrics_are_compared_where_their_rows_are_the_same():
    before = answered("xx.x").by_id()
    assert compared(answered("xx.x"), before) == ((), ())
    (moved,), rows = compared(answered("x..x"), before)
    assert (moved.name, moved.before, moved.after) == ("accuracy", 0.75, 0.5)
    assert moved.low <= -0.25 <= moved.high
    assert rows == ("r1 has 1, before 1: broke",)


def test_metrics_of_other_rows_have_no_interval():
    before = answered("xx.x").by_id()
    moved, rows = compared(answered("xx.", ["r0", "r1", "r9"]), before)
    assert moved == (Moved("accuracy", 1.0, 2 / 3),)  # earlier: of those that are still asked
    assert rows == ("r9 is new", "r2 is gone", "r3 is gone")
    assert compared(answered("", []), {}) == ((), ())


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (1.0, 1.0, True),
        (1.0, 1.00005, True),
        (1.0, 1.5, False),
        (None, 1.0, False),
        (1.0, None, False),
    ],
)
def test_outcomes_are_alike_but_for_rounding(old, new, same):
    pair = [None if v is None else Outcome(id="a", answer="x", value=v) for v in (old, new)]
    assert alike(*pair) is same


def test_the_sum_of_weights_is_the_files_own_or_that_of_all_their_sums(tmp_path):
    def total(*data):
        sums = [hashlib.sha256(part).hexdigest() for part in data]
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

    (tmp_path / "b.bin").write_bytes(b"three")
    assert weights_of(tmp_path) == total(b"three")
    (tmp_path / "a.bin").write_bytes(b"four")
    assert weights_of(tmp_path) == total(b"four", b"three")
    (tmp_path / "z.safetensors").write_bytes(b"one")
    assert weights_of(tmp_path) == total(b"one")
    (tmp_path / "y.safetensors").write_bytes(b"two")
    assert weights_of(tmp_path) == total(b"two", b"one")


@pytest.mark.parametrize(
    ("moved", "text"),
    [
        (Moved("ece", None, 0.25), "ece - to 0.2500"),
        (Moved("ece", 0.5, None), "ece 0.5000 to -"),
        (Moved("ece", 0.5, 0.25, None, 0.125), "ece 0.5000 to 0.2500"),
        (Moved("ece", 0.5, 0.25, 0.125), "ece 0.5000 to 0.2500"),
        (
            Moved("ece", 0.5, 0.25, -0.5, 0.125),
            "ece 0.5000 to 0.2500 (95 % interval of the change: -0.5000 to +0.1250)",
        ),
    ],
    ids=["new", "gone", "no-low", "no-high", "moved"],
)
def test_a_metric_that_moved_says_how_far(moved, text):
    assert str(moved) == text

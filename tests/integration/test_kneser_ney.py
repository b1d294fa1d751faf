"""The n-gram baseline: a corpus worked by hand, chances that add up to one, and what it prints."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "kneser_ney.py"
spec = importlib.util.spec_from_file_location("kneser_ney", TOOL)
kneser_ney = importlib.util.module_from_spec(spec)
sys.modules["kneser_ney"] = kneser_ney  # where its dataclasses look for their module
spec.loader.exec_module(kneser_ney)

A, B = 0, 1


def chance(model, context, symbol):
    """Give p(symbol | context), the context padded with marks."""
    order = len(model.orders)
    symbols = [model.vocab] * order + [*context, symbol]
    gram = 0
    for one in symbols[-order:]:
        gram = gram << model.bits | one
    return float(kneser_ney.chances(model, np.array([gram]))[0])


def test_a_tiny_corpus_worked_by_hand():
    """One row, a a b, order 2, discounts 0.5, 1, 1.5 since there are too few to tell.

    Pairs: (mark a) (a a) (a b), once each. Before a stand mark and a, before b stands a: as
    unigrams a counts 2 and b 1, of 3. They leave (1 + 0.5) / 3 = 1/2 to p_0 = 1/2.

        p(a) = (2 - 1) / 3 + 1/4 = 7/12       p(b) = (1 - 0.5) / 3 + 1/4 = 5/12

    After a come a and b: c = 2, and (0.5 + 0.5) / 2 = 1/2 is left. After the mark comes a alone.

        p(a | a) = 1/4 + 7/24 = 13/24      p(b | a) = 1/4 + 5/24 = 11/24
        p(a | mark) = 1/2 + 7/24 = 19/24   p(b | mark) = 5/24    p(b | b) = p(b): never seen
    """
    model = kneser_ney.learn([[A, A, B]], 2, order=2)
    wanted = {
        ((A,), A): 13 / 24,
        ((A,), B): 11 / 24,
        ((), A): 19 / 24,
        ((), B): 5 / 24,
        ((B,), A): 7 / 12,
        ((B,), B): 5 / 12,
    }
    found = {key: chance(model, *key) for key in wanted}
    assert found == pytest.approx(wanted, rel=1e-12)
    bits = -math.log2(19 / 24 * 11 / 24 * 5 / 12)
    assert kneser_ney.bits_of(model, [[A, B, B], []]) == pytest.approx(bits, rel=1e-12)


def test_what_begins_a_row_keeps_its_count():
    """Two rows a, order 3: (mark mark a) and (mark a) count 2; behind the mark alone a counts 1."""
    model = kneser_ney.learn([[A], [A]], 2, order=3)
    assert [order.counts.tolist() for order in model.orders] == [[1], [2], [2]]


@pytest.mark.parametrize(
    ("times", "wanted"),
    [
        # n1 to n4 are 4 3 2 1: y = 4/10
        ([1] * 4 + [2] * 3 + [3] * 2 + [4], [0, 1 - 0.6, 2 - 0.8, 3 - 0.8]),
        ([1] * 4 + [2] * 3 + [3] * 2 + [9], [0, 0.4, 1.2, 3.0]),
        ([1, 1, 2, 2], [0, 0.5, 1, 1.5]),
        ([5, 9], [0, 0.5, 1, 1.5]),
        ([1] + [2] * 2 + [3] * 9, [0, 0.5, 1, 1.5]),  # D(2) would be below nothing
    ],
    ids=["by-the-formula", "none-four-times", "none-three-times", "none-once", "out-of-range"],
)
def test_discounts_are_chen_and_goodmans(times, wanted):
    found = kneser_ney.discounts_of(np.array(times))
    assert found.tolist() == pytest.approx(wanted, rel=1e-12)


def some_rows():
    """Rows over 7 symbols in which what comes depends on what was."""
    generator = np.random.default_rng(4)
    steps = generator.choice([1, 1, 1, 2, 3], size=(40, 30))
    return (np.cumsum(steps, axis=1) % 7).tolist()


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_chances_add_up_to_one_behind_any_context(order):
    model = kneser_ney.learn(some_rows(), 8, order=order)  # symbol 7 was never seen
    contexts = {
        "none": [],
        "seen": [0, 1, 2, 3],
        "its-end-seen": [7, 7, 2, 3],
        "never-seen": [7, 7, 7, 7],
        "short": [5],
    }
    for name, context in contexts.items():
        each = [chance(model, context, symbol) for symbol in range(8)]
        assert sum(each) == pytest.approx(1, rel=1e-12), name
        assert min(each) > 0, name


def test_a_context_tells_what_the_rows_were_drawn_by():
    train, valid = some_rows()[:30], some_rows()[30:]
    symbols = sum(map(len, valid))
    found = [
        kneser_ney.bits_of(kneser_ney.learn(train, 7, order=n), valid) / symbols for n in (1, 2)
    ]
    truth = -(0.6 * math.log2(0.6) + 0.4 * math.log2(0.2))  # of the steps that the rows take
    # a symbol's bits have a deviation of 0.8, the mean of 300 one of 0.05
    assert abs(found[1] - truth) < 0.25
    assert abs(found[0] - math.log2(7)) < 0.1


def test_how_rows_are_put_together_changes_nothing():
    model = kneser_ney.learn(some_rows(), 7)
    whole = kneser_ney.bits_of(model, some_rows())
    rows = [kneser_ney.bits_of(model, [row]) for row in some_rows()]
    assert sum(rows) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "vocab", "order", "sentence"),
    [
        ([[0, 1]], 1 << 13, 5, "5 symbols of 8192 need 70 bits; 63 are there"),
        ([[0, 9]], 9, 2, "a row has 9; symbols are 0 to 8"),
        ([[]], 9, 2, "no symbols to learn from"),
        ([], 9, 2, "no symbols to learn from"),
    ],
)
def test_what_cannot_be_counted_is_refused(rows, vocab, order, sentence):
    with pytest.raises(ValueError, match=sentence):
        kneser_ney.learn(rows, vocab, order=order)


@pytest.mark.subproc
def test_it_prints_what_a_byte_costs_on_a_recipes_split(tmp_path):
    lines = [
        json.dumps({"text": f"the {who} sees the {what}. " * 3, "split": split})
        for split, names in (("train", ("cat", "dog", "owl", "ant")), ("valid", ("fox", "cat")))
        for who in names
        for what in ("tree", "house", "sea")
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(lines) + "\n")
    done = subprocess.run(
        [sys.executable, str(TOOL), "gpt2-english", "--data", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (said,) = map(json.loads, done.stdout.splitlines())
    assert (said["of"], said["order"], said["vocab"]) == ("bytes", 5, 256)
    assert (said["train"], said["valid"]) == (12, 6)
    assert said["data"].startswith("sha256:")
    assert 0.05 < said["bits_per_byte"] < 1.5  # the sentence is known, and one animal is not

"""Drift: halves of one thing are alike, other things are not, and how far chance goes."""

import math

import numpy as np
import pytest

from unit.data.seen import found, kept, rows_of, scene
from zoo.data.check import inspect, statistics
from zoo.data.drift import (
    FAMILIES,
    LITTLE,
    RISK,
    chance,
    g_test,
    js_distance,
    ks_distance,
    level_of,
    moved_words,
)
from zoo.data.statistics import spread

DRIFT = ("features", "words", "balance", "gaps", "schema")


def drawn(seed, rows, *, mean=40.0, shares=(0.5, 0.3, 0.2), favourite=0, share=0.0):
    """Draw texts: their lengths, labels and words are independent draws from one distribution."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(rows):
        # Zipf's law, as words of languages have it
        found = 1 + rng.zipf(1.3, size=2 + rng.poisson(rng.exponential(mean))).clip(max=10**6)
        names = [f"w{k}" for k in found]
        if rng.random() < share:
            names.append(f"favourite{favourite}")
        texts.append(" ".join(names))
        labels.append("abc"[rng.choice(3, p=shares)])
    return rows_of("labelled_text", "t" * rows, text=texts, label=labels)


def drifted(report):
    return [f for f in report.findings if f.check in DRIFT]


@pytest.mark.parametrize("seed", range(6))
def test_draws_of_one_distribution_are_alike(seed):
    reference = statistics(drawn(2 * seed, 400))
    assert drifted(inspect(drawn(2 * seed + 1, 150), reference=reference)) == []


SHIFTS = [
    ("longer texts", {"mean": 80.0}, {"features": "letters moved", "words": "moved"}),
    ("other labels", {"shares": (0.3, 0.3, 0.4)}, {"balance": "labels are shared out otherwise"}),
    ("a word in half of them", {"share": 0.5}, {"words": "1 word moved"}),
]


@pytest.mark.parametrize(("change", "told"), [r[1:] for r in SHIFTS], ids=[r[0] for r in SHIFTS])
def test_a_shift_is_told_by_its_check(change, told):
    reference = statistics(drawn(1, 600))
    report = inspect(drawn(2, 600, **change), reference=reference)
    assert {f.check for f in drifted(report)} == set(told)
    for check, text in told.items():
        assert text in found(report, check)[0].text


def test_a_word_that_went_is_told_with_its_shares():
    reference = statistics(drawn(1, 300, share=0.6))
    (finding,) = found(inspect(drawn(2, 300), reference=reference), "words")
    share = statistics(drawn(1, 300, share=0.6))["words"]["list"]
    then = next(texts for word, texts, _ in share if word == "favourite0") / 300
    assert finding.numbers["then_now"] == {"favourite0": [then, 0.0]}
    assert finding.examples == (f"'favourite0': in {then:.0%} of texts then, 0% here",)
    assert finding.level == "error"


def test_another_language_is_far_away():
    def texts(prefix, seed):
        rng = np.random.default_rng(seed)
        names = [" ".join(f"{prefix}{k}" for k in rng.integers(300, size=100)) for _ in range(60)]
        return rows_of("text", "t" * 60, text=names)

    (finding,) = found(inspect(texts("b", 2), reference=statistics(texts("a", 1))), "words")
    assert finding.level == "error"
    assert finding.numbers["distance"] > 0.95 and finding.numbers["overlap"] == 0.0
    assert drifted(inspect(texts("a", 2), reference=statistics(texts("a", 1)))) == []


def test_a_few_documents_are_compared_by_their_words_alone():
    # no share of two documents can be told from chance; 6,000 words can
    def book(prefix):
        rng = np.random.default_rng(1)
        return rows_of(
            "text", "tt", text=[" ".join(f"{prefix}{k}" for k in rng.integers(99, size=3000))] * 2
        )

    assert found(inspect(book("b"), reference=statistics(book("a"))), "words", "error")
    assert not found(inspect(book("a"), reference=statistics(book("a"))), "words")


def test_a_few_words_of_another_language_are_too_few_to_say():
    reference = statistics(rows_of("text", "tt", text=["one two three " * 50] * 2))
    rows = rows_of("text", "tt", text=["un deux trois " * 50] * 2)
    assert not found(inspect(rows, reference=reference), "words")


def test_a_word_that_the_record_lacks_was_as_frequent_as_its_last_one():
    then = {"texts": 9000, "tokens": 0, "list": [["often", 8000, 0], ["last", 4500, 0]]}
    numbers = {"often": 0, "last": 1, "fresh": 2}
    for share, moved in ((0.55, {}), (0.65, {"fresh": (0.5, 0.65)})):
        texts = np.array([8000, 4500, 9000 * share])
        assert moved_words(then, texts, list(numbers), numbers, 9000) == moved


def test_labels_of_a_few_rows_are_shared_out_by_chance():
    def rows(labels):
        texts = [f"text {k}" for k in range(len(labels))]
        return rows_of("labelled_text", "t" * len(labels), text=texts, label=list(labels))

    reference = statistics(rows("ab" * 10))
    assert not found(inspect(rows("aaaaaaabbb"), reference=reference), "balance")
    assert found(
        inspect(rows("aaaaaaabbb" * 30), reference=statistics(rows("ab" * 150))), "balance"
    )


PAINTS = [
    ("darker", lambda p: p.point(lambda x: x // 2), {"mean red", "mean green", "mean blue",
     "deviation red", "deviation green", "deviation blue"}),
    ("smaller", lambda p: p.resize((32, 32)), {"width", "height"}),
    ("wider", lambda p: p.resize((96, 48)), {"width", "width / height"}),
    ("grey", lambda p: p.convert("L").convert("RGB"), {"greyness"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "moved"), [r[1:] for r in PAINTS], ids=[r[0] for r in PAINTS])
def test_pictures_of_another_kind_are_told(tmp_path, change, moved):
    scenes = [scene(seed, side=48) for seed in range(72)]
    for folder, chosen in (("then", scenes[:36]), ("now", scenes[36:]), ("other", scenes[36:])):
        (tmp_path / folder).mkdir()
        kept(tmp_path / folder, map(change, chosen) if folder == "other" else chosen)

    def rows(folder):
        return rows_of(
            "images", "t" * 36, image=[str(tmp_path / folder / f"{i}.png") for i in range(36)]
        )

    reference = statistics(rows("then"))
    assert drifted(inspect(rows("now"), reference=reference)) == []
    told = {f.numbers["feature"] for f in drifted(inspect(rows("other"), reference=reference))}
    assert moved <= told
    assert not {name for name in told - moved if not name.startswith(("mean", "deviation"))}


@pytest.mark.parametrize(
    ("then", "now", "distance"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0.0),
        ([1, 2, 3, 4], [3, 4, 5, 6], 0.5),
        ([28] * 5, [27] * 3, 1.0),
        ([28] * 5, [29] * 3, 1.0),
        ([0, 1], [0, 0, 0, 1], 0.25),
        ([1, 2], [9, 9], 1.0),
    ],
    ids=["same", "half", "just below", "just above", "of two values", "apart"],
)
def test_the_distance_at_recorded_points(then, now, distance):
    points = spread(np.array(then, dtype=np.float64))["points"]
    assert ks_distance(points, np.sort(np.array(now, dtype=np.float64))) == distance


def test_the_distance_at_recorded_points_is_never_above_the_one_over_all():
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.normal(size=rng.integers(5, 300)), rng.normal(0.3, size=rng.integers(5, 300))
        everywhere = np.sort(np.concatenate([a, b]))
        f, g = (np.searchsorted(np.sort(x), everywhere, "right") / len(x) for x in (a, b))
        full = np.abs(f - g).max()
        # 41 quantiles hold it to within a fortieth, and a number more or less
        found_ = ks_distance(spread(a)["points"], np.sort(b))
        assert full - 1 / 40 - 1 / len(a) <= found_ <= full + 1e-5


def test_chance_is_exceeded_no_more_often_than_is_said():
    # 50 tests at a risk of 1 in 100 each would exceed 500 of 50,000 times; the bound is careful
    rng = np.random.default_rng(5)
    n, m, tests = 300, 120, RISK / FAMILIES / 0.01
    bound = math.sqrt(math.log(2 / 0.01) / 2 * (1 / n + 1 / m))
    assert chance(n, m, 1) == pytest.approx(
        bound * math.sqrt(math.log(2 * FAMILIES / RISK) / math.log(2 / 0.01))
    )
    a, b = rng.binomial(n, 0.5, 50_000) / n, rng.binomial(m, 0.5, 50_000) / m
    assert 0 < (np.abs(a - b) >= bound).mean() <= 0.01
    assert tests == RISK / FAMILIES / 0.01


@pytest.mark.parametrize(
    ("then", "now", "p"),
    [
        ([50, 50], [50, 50], 1.0),
        ([50, 50], [60, 40], 0.15485569056468795),
        ([10, 20, 30], [30, 20, 10], 2.851834837269415e-05),
        ([100, 1, 1, 1], [100, 0, 0, 0], 0.04251592264980863),
        ([3, 1], [0, 2], 1.0),
    ],
    ids=["same", "two labels", "three labels", "rare ones together", "all rare"],
)
def test_the_g_test_is_that_of_scipy(then, now, p):
    # chi2_contingency(table, correction=False, lambda_="log-likelihood"), SciPy 1.17
    assert g_test(then, now) == pytest.approx(p, rel=1e-9)


def test_the_distance_of_words():
    assert js_distance([500, 500], 1000, [500, 500], 1000) == 0.0
    assert js_distance([1000, 0], 1000, [0, 1000], 1000) == pytest.approx(1.0, abs=1e-2)
    # what the record does not list is one word more
    assert js_distance([1000], 1000, [0], 1000) == pytest.approx(1.0, abs=1e-2)


def test_chance_is_taken_off_the_distance_of_words():
    rng = np.random.default_rng(7)
    one, other = (rng.multinomial(3000, np.full(200, 1 / 200)).tolist() for _ in range(2))
    many = [[10**6 * n for n in counts] for counts in (one, other)]  # as if it were no chance
    raw = js_distance(many[0], 3 * 10**9, many[1], 3 * 10**9)
    assert raw > 0.14 > 0.1 > js_distance(one, 3000, other, 3000)


def test_a_label_that_the_record_does_not_know_is_an_error():
    reference = statistics(rows_of("labelled_text", "tt", text=["one", "two"], label=["a", "b"]))
    rows = rows_of("labelled_text", "ttt", text=["one", "two", "three"], label=["a", "b", "c"])
    (finding,) = found(inspect(rows, reference=reference), "balance")
    assert (finding.level, finding.rows) == ("error", ("r2",))
    assert "1 label the record does not know: 'c' (1 row)" in finding.text


@pytest.mark.parametrize(
    ("distance", "level"),
    [(0.0, None), (0.0999, None), (LITTLE, "warning"), (0.2999, "warning"), (0.3, "error")],
)
def test_levels_begin_where_they_are_said_to(distance, level):
    assert level_of(distance) == level

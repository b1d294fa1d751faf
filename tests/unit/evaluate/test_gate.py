"""The gate: what it says of planted changes, and what it lets pass."""

from dataclasses import replace

import pytest

from zoo.evaluate.gate import GateError, check_gate, holm
from zoo.evaluate.gate_file import gate_of
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.versions import rounded

GUARD = {"drop": 0.06, "power": 0.8, "alarm": 0.01, "churn": 0.02}
METRICS = [
    {"name": "accuracy", "at_least": 0.75, "drop": 0.06},
    {"name": "accuracy[agreement]", "at_least": 0.5, "drop": 0.15},
    {"name": "bits_per_byte", "at_most": 2, "rise": 0.03},
    {"name": "macro_f1", "at_least": 0.5},
    {"name": "ece", "at_most": 0.12, "rise": 0.04},
    {"name": "invariance", "drop": 0.2},
]
GATE = gate_of({"guard": GUARD, "metric": METRICS})

# 20 rows of agreement and 160 of memory, every tenth of which fails; 20 labels; 20 texts; 10 inv
CHOICES = [
    Row(
        id=f"c{i:03}",
        task="choice",
        fields={},
        segments=("agreement",) if i < 20 else ("memory",),
        flags=("pinned",) if i in (0, 50) else (),
    )
    for i in range(180)
]
LABELS = [
    Row(id=f"l{i:02}", task="label", fields={"label": ("cat", "dog")[i % 2]}) for i in range(20)
]
TEXTS = [Row(id=f"t{i:02}", task="text", fields={}) for i in range(20)]
SAME = [Row(id=f"i{i}", task="choice", fields={}, test="inv", of="c001") for i in range(10)]
ROWS = [*CHOICES, *LABELS, *TEXTS, *SAME]


def accepted_of(row, number):
    if row.task == "text":
        return Outcome(id=row.id, answer="", value=300.0 + 7 * number, weight=200.0 + 3 * number)
    passed = row.test == "inv" or row.task == "label" or number % 10 != 9
    answer = row.fields.get("label", "right" if passed else "wrong")
    sure = 0.86 + 0.01 * (number % 7)
    return Outcome(
        id=row.id, answer=answer, value=1.5, passed=passed, right=passed, confidence=sure
    )


ACCEPTED = tuple(accepted_of(row, int(row.id[1:])) for row in ROWS)


def changed(change, *chosen):
    """Apply a change to the accepted outcomes of some rows, or of all."""
    return [change(o) if not chosen or o.id in chosen else o for o in ACCEPTED]


def breaks(*names):
    return changed(lambda o: replace(o, answer="wrong", passed=False, right=False), *names)


def churned():
    """Ten rows break and ten mend."""
    mended = [f"c{i:03}" for i in range(29, 120, 10)]
    broke = [f"c{i:03}" for i in range(31, 122, 10)]
    mend = dict.fromkeys(mended, True) | dict.fromkeys(broke, False)
    return changed(
        lambda o: replace(o, passed=mend[o.id], right=mend[o.id], answer=f"now {mend[o.id]}"),
        *mend,
    )


def saturated():
    return changed(lambda o: o if o.confidence is None else replace(o, confidence=1.0))


def without_a_class():
    dogs = [row.id for row in LABELS if row.fields["label"] == "dog"]
    return changed(lambda o: replace(o, answer="cat", passed=False, right=False), *dogs)


FOUR = ("c001", "c003", "c005", "c007")
# what was planted -> the outcomes, how the verdict's only sentence starts, and what is in it
PLANTED = {
    "one-segment-loses-four-of-twenty": (
        breaks(*FOUR),
        "lion got worse at agreement: 90 % to 70 % of 20 rows (95 % interval of the change: -",
        [" points), 15 points are allowed; rows that broke: c001, c003, c005, c007"],
    ),
    "ten-break-and-ten-mend": (
        churned(),
        "lion broke 10 rows of 200 and mended 10: a model as good answers 2 % of them otherwise",
        ["c031, c041, c051, c061, c071, c081, c091, c101 and 2 more"],
    ),
    "bits-rise-by-three-per-cent": (
        changed(lambda o: replace(o, value=1.03 * o.value) if o.id[0] == "t" else o),
        "lion got worse at bits per byte: 1.6039 to 1.6521 bits a byte of 20 rows (95 % interval "
        "of the change: +0.0",
        [
            "0.03 is allowed, and a model as good falls so far with probability ",
            "rows that lost: t",
        ],
    ),
    "confidences-saturate": (
        saturated(),
        "lion got worse at ece: ",
        ["rows that lost: c049, c119, c029, c099, c169, "],
    ),
    "a-pinned-row-breaks": (
        breaks("c050"),
        "lion fails a pinned row, which must always pass: c050",
        [],
    ),
    "both-pinned-rows-break": (
        breaks("c000", "c050"),
        "lion fails 2 pinned rows, which must always pass: c000, c050",
        [],
    ),
    "a-row-gives-no-number": (
        changed(lambda o: replace(o, value=float("nan")), "c004"),
        "lion gives no finite number for 1 row: c004",
        [],
    ),
    "a-confidence-is-no-number": (
        changed(lambda o: replace(o, confidence=float("nan")), "c004", "c006"),
        "lion gives no finite number for 2 rows: c004, c006",
        [],
    ),
    "a-confidence-is-below-nothing": (
        changed(lambda o: replace(o, confidence=-1e-7), "c004"),
        "lion gives no finite number for 1 row: c004",
        [],
    ),
    "a-confidence-is-above-one": (
        changed(lambda o: replace(o, confidence=1.5), "c004"),
        "lion gives no finite number for 1 row: c004",
        [],
    ),
    "a-row-was-not-asked": (ACCEPTED[1:], "lion was not asked 1 row: c000", []),
    "an-answer-loses-its-verdict": (
        changed(lambda o: replace(o, passed=None), "i3"),
        "lion's invariance rested on 10 rows and now does on 9: i3",
        [],
    ),
}


def verdict(found, **known):
    return check_gate(GATE, ROWS, known.pop("accepted", ACCEPTED), found, subject="lion")


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_change_is_told_in_a_sentence(name):
    found, start, parts = PLANTED[name]
    said = verdict(found).sentences
    assert [sentence.startswith(start) for sentence in said] == [True], said
    assert [part for part in parts if part not in said[0]] == [], said


def test_a_lost_class_is_told_by_every_metric_that_it_touches():
    """Ten of 200 break: too many at once for churn, and the mean of F1 is (2/3 + 0) / 2."""
    found = verdict(without_a_class())
    assert not found.ok
    assert found.found["macro_f1"].value == pytest.approx(1 / 3, rel=1e-12)
    bound = "lion is not good enough at macro f1: 33.3 % of 20 rows (95 % interval: "
    assert [s.startswith(bound) for s in found.sentences].count(True) == 1
    low, high = (
        f"{100 * end:.1f}".removesuffix(".0") for end in found.found["macro_f1"].interval()
    )
    told = f"{bound}{low} % to {high} %), at least 50 % is asked; rows that fail: l01, l03, l05"
    assert told in "".join(found.sentences)


def test_a_fall_is_told_with_its_rows_its_interval_and_its_chance():
    found = verdict(breaks(*(f"c{i:03}" for i in range(101, 146, 2) if i % 10 != 9)))
    (said,) = [s for s in found.sentences if "accuracy" in s]
    assert said.startswith("lion got worse at accuracy: 91 % to 81.5 % of 200 rows (95 % interval")
    assert "6 points are allowed, and a model as good falls so far with probability less " in said
    assert said.endswith(
        "rows that broke: c101, c103, c105, c107, c111, c113, c115, c117 and 11 more"
    )
    assert not any("broke 19 rows" in s for s in found.sentences)  # the same rows, said once
    compared = found.metrics["accuracy"]
    assert (compared.before, compared.after, compared.rows) == (0.91, 0.815, 200)
    assert compared.low < -0.095 < compared.high < 0
    assert compared.chance == pytest.approx(0.5**19, rel=1e-12)


def tiny_noise(outcome):
    """Another type of float: numbers move in their fifth digit."""
    sure = None if outcome.confidence is None else outcome.confidence * (1 - 3e-5)
    return replace(outcome, value=outcome.value * (1 + 3e-5), confidence=sure)


HARMLESS = {
    "nothing": (ACCEPTED, []),
    "another-order": (ACCEPTED[::-1], []),
    "float-noise": (changed(tiny_noise), []),
    "one-row-breaks": (breaks("c101"), [("c101", "broke")]),
    "two-break-and-two-mend": (
        changed(
            lambda o: replace(o, passed=not o.passed, right=not o.passed), "c101", "c109", "c119",
            "c130",
        ),
        [("c101", "broke"), ("c109", "mended"), ("c119", "mended"), ("c130", "broke")],
    ),
    "all-mend": (
        changed(lambda o: replace(o, passed=True, right=True), "c099", "c109", "c119"),
        [("c099", "mended"), ("c109", "mended"), ("c119", "mended")],
    ),
    "another-wrong-answer": (
        changed(lambda o: replace(o, answer="other"), "c009"),
        [("c009", "answer")],
    ),
    "another-verdict-of-right": (
        changed(lambda o: replace(o, right=True), "c009"),
        [("c009", "answer")],
    ),
    "a-number-moves": (changed(lambda o: replace(o, value=1.7), "c009"), [("c009", "moved")]),
    "a-softmax-adds-up-to-more-than-one": (
        changed(lambda o: replace(o, confidence=1 + 5e-7), "c009"),
        [("c009", "moved")],
    ),
    "as-many-break-as-are-allowed": (  # 0.9 - 0.75 is more than 0.15 in float64
        breaks("c001", "c003", "c005"),
        [("c001", "broke"), ("c003", "broke"), ("c005", "broke")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_change_passes_and_its_rows_are_listed(name):
    found, changes = HARMLESS[name]
    given = verdict(found)
    assert given.ok, given.sentences
    assert [(c.id, c.kind) for c in given.changes] == changes


def test_a_verdict_that_goes_is_a_break_and_one_that_comes_mends():
    unknown = changed(lambda o: replace(o, passed=None), "i3")
    for before, after, kind in ((ACCEPTED, unknown, "broke"), (unknown, ACCEPTED, "mended")):
        given = verdict(after, accepted=before)
        assert [(c.id, c.kind) for c in given.changes] == [("i3", kind)]


def test_nothing_changed_has_no_change_and_no_chance():
    given = verdict(ACCEPTED)
    assert {(c.low, c.high, c.after - c.before) for c in given.metrics.values()} == {(0, 0, 0)}
    tested = {name: c.chance for name, c in given.metrics.items() if c.chance is not None}
    assert tested == dict.fromkeys(("accuracy", "accuracy[agreement]", "bits_per_byte", "ece",
                                    "invariance"), 1.0)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (300.0, 300.02, 300.0),
        (300.0, 300.04, 300.04),
        (0.5, 0.50009, 0.5),
        (0.5, 0.4998, 0.4998),
        (-300.0, -300.02, -300.0),
    ],
)
def test_rounding_is_a_ten_thousandth_of_the_number_or_of_one(before, after, wanted):
    assert rounded(before, after) == wanted


def test_rows_that_came_or_went_ask_for_a_new_accept():
    strange = Outcome(id="old", answer="right", value=1.0, passed=True)
    said = verdict(ACCEPTED, accepted=(*ACCEPTED[2:], strange)).sentences
    again = "accept the set again: zoo golden accept NAME --because WHY"
    assert said == (
        f"2 rows were never accepted: c000, c001; {again}",
        f"1 row was accepted before and not asked: old; {again}",
    )


def test_before_the_first_accept_bounds_and_pinned_rows_hold():
    given = verdict(ACCEPTED, accepted=None)
    assert (given.ok, given.metrics, given.changes) == (True, {}, ())
    bad = verdict(breaks(*(row.id for row in CHOICES[:60])), accepted=None)
    assert [s.split(":")[0] for s in bad.sentences] == [
        "lion is not good enough at accuracy",
        "lion is not good enough at agreement",
        "lion is not good enough at ece",
        "lion fails 2 pinned rows, which must always pass",
    ]


def test_a_perturbed_twin_of_a_pinned_row_may_fail():
    twin = replace(CHOICES[0], id="c000@typos", of="c000", under="typos", segments=("under:typos",))
    failed = replace(ACCEPTED[0], id=twin.id, answer="wrong", passed=False, right=False)
    before = (*ACCEPTED, failed)
    assert check_gate(GATE, [*ROWS, twin], before, before).ok


def test_a_gate_refuses_itself_when_its_set_is_too_small():
    """Nothing changed, but of 60 rows nobody could tell a fall by two."""
    few = gate_of(
        {"guard": GUARD | {"drop": 0.02}, "metric": [{"name": "accuracy", "at_least": 0.5}]}
    )
    (said,) = check_gate(few, CHOICES[:60], ACCEPTED[:60], ACCEPTED[:60]).sentences
    assert said.startswith("the set is too small for its [guard]: with 60 rows a fall of accuracy")


def test_two_outcomes_of_a_row_are_refused():
    with pytest.raises(ValueError, match="two outcomes of row 'c000'"):
        verdict([*ACCEPTED, ACCEPTED[0]])


def test_holm_names_a_second_fall_that_the_first_makes_room_for():
    """The texts' bits and 19 answers fall: both tests are told, each at its own level."""
    names = [f"c{i:03}" for i in range(101, 146, 2) if i % 10 != 9]
    worse = {o.id: o for o in breaks(*names)}
    bits = {o.id: replace(o, value=o.value + 4) for o in ACCEPTED if o.id[0] == "t"}
    said = verdict(list((worse | bits).values())).sentences
    for metric, level in (("accuracy", "0.002"), ("bits per byte", "0.0025")):
        (sentence,) = [s for s in said if s.startswith(f"lion got worse at {metric}: ")]
        assert f"(the gate stops at {level})" in sentence


@pytest.mark.parametrize(
    ("chances", "wanted"),
    [
        ({"a": 0.012, "b": 0.001, "c": 0.9}, {"b": 0.01, "a": 0.015}),
        ({"a": 0.016, "b": 0.02, "c": 0.001}, {"c": 0.01}),  # a holds, and b behind it
        ({"a": 0.03}, {"a": 0.03}),  # just the level
        ({"a": 0.031}, {}),
        ({}, {}),
    ],
    ids=["two-reject", "the-first-that-holds-ends-it", "at-the-level", "above", "no-tests"],
)
def test_holm_steps_from_the_smallest_chance_to_the_first_that_holds(chances, wanted):
    assert holm(chances, 0.03) == pytest.approx(wanted, rel=1e-12)


def test_a_gate_for_another_set_lists_the_metrics_there_are():
    other = gate_of({"guard": GUARD, "metric": [{"name": "accuracy[agrement]", "drop": 0.1}]})
    with pytest.raises(
        GateError, match=r"did you mean 'accuracy.agreement.'.; it has accuracy, acc"
    ):
        check_gate(other, ROWS, ACCEPTED, ACCEPTED)


@pytest.mark.parametrize(("factor", "ok"), [(1.001, True), (1.004, False)])
def test_what_all_rows_lose_is_told_from_a_tenth_of_what_is_allowed(factor, ok):
    """All twenty texts cost more, which is no chance; 0.03 bits are allowed, of 1.6 a byte."""
    found = changed(lambda o: replace(o, value=factor * o.value) if o.id[0] == "t" else o)
    assert verdict(found).ok == ok


def test_accuracy_is_guarded_where_the_gate_file_does_not_name_it():
    other = gate_of({"guard": GUARD, "metric": [{"name": "macro_f1", "at_least": 0.1}]})
    found = breaks(*(f"c{i:03}" for i in range(101, 146, 2) if i % 10 != 9))
    said = check_gate(other, ROWS, ACCEPTED, found, subject="lion").sentences
    assert [s.startswith("lion got worse at accuracy: 91 % to 81.5 %") for s in said].count(
        True
    ) == 1


def test_a_bound_of_numbers_that_pass_and_fail_nothing_names_no_rows():
    other = gate_of({"guard": GUARD, "metric": [{"name": "bits_per_byte", "at_most": 1}]})
    said = check_gate(other, ROWS, None, ACCEPTED, subject="lion").sentences
    (told,) = [s for s in said if "bits per byte" in s]
    assert told.startswith(
        "lion is not good enough at bits per byte: 1.6039 bits a byte of 20 rows"
    )
    assert told.endswith("), at most 1 bits a byte is allowed")

"""Figures of rows and outcomes: the numbers that are drawn are those of the rows."""

import pytest

from unit.report.pages import page, part
from unit.report.rows import MAILS, TWINS, held_of, label_row, mails
from zoo.evaluate.gate import Change
from zoo.evaluate.gate_file import Bound
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.statistics import wilson
from zoo.report import figures
from zoo.report.judged import bound_told, estimate
from zoo.report.write import render


def made(held, title):
    found = {figure.title: figure for figure in figures.common(held, "bert-spam")}
    return found[title]


def test_every_figure_names_the_command_that_makes_it():
    found = figures.common(mails(), "bert-spam")
    assert len(found) == 6
    assert {figure.command for figure in found} == {"zoo evaluate bert-spam --on mails"}


def test_scores_are_those_of_the_tally_with_what_is_asked_and_what_was():
    scores = {score.name: score for score in made(mails(), "Scores on mails").data}
    assert set(scores) == {"accuracy", "macro_f1", "ece"}
    accuracy = scores["accuracy"]
    assert (accuracy.estimate.value, accuracy.rows) == (0.75, 12)
    assert accuracy.bound == "at least 70.0 %, may fall by 5 points"
    assert accuracy.history == (("version 1", 0.5), ("version 2", 0.75))
    assert scores["ece"].bound == "at most 25.0 %"
    assert scores["ece"].history == (("version 2", 0.2),)


def test_the_interval_of_a_share_is_wilsons():
    found = estimate(mails().metrics["accuracy"])
    assert (found.low, found.high) == wilson(9, 12)


def test_a_share_of_all_rows_has_an_interval_with_a_width():
    found = estimate(mails().metrics["accuracy[short]"])
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == wilson(6, 6)[0] < 0.7


def test_the_interval_of_another_number_is_the_bootstraps():
    metric = mails().metrics["ece"]
    found = estimate(metric)
    assert (found.low, found.high) == metric.interval()


def test_slices_are_told_the_weakest_first_with_rows_and_floors():
    bars = made(mails(), "Right answers, slice by slice").data
    assert [(b.label, b.estimate.value, b.rows, b.floor) for b in bars.bars] == [
        ("long", 0.5, 6, 0.4),
        ("short", 1.0, 6, None),
    ]
    assert (bars.top, bars.share) == (1.0, True)


def test_one_slice_alone_is_no_chart():
    held = held_of(MAILS[:6])
    titles = [figure.title for figure in figures.common(held, "bert-spam")]
    assert "Right answers, slice by slice" not in titles


def bits_row(name, bits, size, segment):
    row = Row(id=name, task="text", fields={"text": "x" * size}, segments=(segment,))
    return row, Outcome(id=name, answer="", value=bits, weight=float(size))


BITS = [
    *(bits_row(f"old-{i}", 30.0 + i, 10, "old") for i in range(5)),
    *(bits_row(f"new-{i}", 20.0 + i, 10, "new") for i in range(5)),
]


def test_bits_are_told_the_dearest_first_on_an_axis_that_holds_all_of_them():
    held = held_of(BITS, bounds=[Bound(name="bits_per_byte", at_most=9.0)])
    bars = made(held, "Bits a byte, slice by slice").data
    assert [(b.label, b.estimate.value) for b in bars.bars] == [("old", 3.2), ("new", 2.2)]
    assert bars.share is False
    assert bars.top == max(b.estimate.high for b in bars.bars)


def test_a_slice_that_is_wrong_throughout_has_a_bar():
    pairs = [label_row(f"a-{i}", "ham", "spam", 0.6, segments=("odd",)) for i in range(5)]
    bars = made(held_of([*MAILS, *pairs]), "Right answers, slice by slice").data
    assert bars.bars[0].estimate.value == 0.0
    assert bars.bars[0].estimate.low == 0.0


def test_perturbed_rows_stand_beside_the_same_rows_bare():
    bars = made(mails(), "Under perturbations").data.bars
    # of the five rows that have twins, sly-0 and sly-1 are wrong as they are
    assert [(b.label, b.estimate.value, b.rows) for b in bars] == [
        ("untouched", 0.6, 5),
        ("typos", 0.4, 5),
    ]


def test_rows_that_people_varied_are_no_twins():
    varied = label_row("ham-2-inv", "ham", "ham", 0.9, of="ham-2", test="inv")
    bars = made(held_of([*MAILS, *TWINS, varied]), "Under perturbations").data.bars
    assert bars[0].rows == 5


def test_twins_count_in_no_other_figure():
    alone = held_of(MAILS)
    for title in ("Right answers, slice by slice", "What it takes for what"):
        assert made(mails(bounds=()), title).data == made(alone, title).data


def test_the_curve_has_a_point_a_bin_with_wilsons_interval():
    points = made(mails(), "Is it as sure as it is right?").data
    # ten bins of equal width: 0.55 | 0.65 | 0.75 four times, one of them wrong | 0.95 six times
    assert [(round(p.confidence, 6), p.right.value, p.rows) for p in points] == [
        (0.55, 0.0, 1),
        (0.65, 0.0, 1),
        (0.75, 0.75, 4),
        (0.95, 1.0, 6),
    ]
    assert (points[2].right.low, points[2].right.high) == wilson(3, 4)


def test_a_confidence_a_rounding_above_one_is_drawn_as_one():
    pairs = [label_row(f"a-{i}", "ham", "ham", 1.0 + 1e-7) for i in range(3)]
    assert made(held_of(pairs), "Is it as sure as it is right?").data[0].confidence == 1.0


def test_a_matrix_counts_truths_by_answers():
    matrix = made(mails(), "What it takes for what").data
    assert matrix.labels == ("ham", "spam")
    assert matrix.counts == ((6, 0), (3, 3))


LABELS = {
    "one class": [("a", "a")],
    "more classes than one can read": [(chr(97 + i), "a") for i in range(13)],
}


@pytest.mark.parametrize("pairs", LABELS.values(), ids=LABELS)
def test_no_matrix_is_made_of(pairs):
    rows = [label_row(f"r-{i}", t, a, 0.5) for i, (t, a) in enumerate(pairs)]
    assert figures.confusion(held_of(rows), "") is None


def moved(name, kind):
    before = Outcome(id=name, answer="ham", value=0.9, confidence=0.9)
    return Change(id=name, kind=kind, before=before, after=MAILS_BY_ID[name])


MAILS_BY_ID = {outcome.id: outcome for _, outcome in [*MAILS, *TWINS]}


def test_changes_are_told_broken_rows_first_and_in_words():
    order = {"ham-0": "moved", "spam-0": "mended", "ham-1@typos": "broke", "sly-0": "answer"}
    held = mails(changes=tuple(moved(name, kind) for name, kind in order.items()))
    figure = made(held, "Rows that changed")
    assert [change.kind for change in figure.data] == ["broke", "mended", "answer", "moved"]
    first = figure.data[0]
    assert first.asked == "calls ham what reads “text of ham-1@typos” (under typos)"
    assert (first.before, first.now) == ("ham (90.0 %)", "spam (60.0 %)")
    assert figure.says == (
        "Against the accepted version, of 17 rows: 1 broke, 1 mended, "
        "1 answered otherwise, no better and no worse, 1 moved in number alone."
    )


def test_no_change_is_said_too():
    figure = made(mails(), "Rows that changed")
    assert (figure.data, figure.says) == (
        (),
        "Against the accepted version: no row is answered otherwise.",
    )


def test_many_changes_are_counted_and_the_first_shown():
    held = mails(changes=tuple(moved("ham-0", "broke") for _ in range(41)))
    figure = made(held, "Rows that changed")
    assert len(figure.data) == 40
    assert "41 broke; the first 40 are shown." in figure.says


def test_before_the_first_accept_there_are_no_changes():
    titles = [f.title for f in figures.common(mails(accepted=False), "bert-spam")]
    assert "Rows that changed" not in titles


ASKED = {
    "choice": ({"prompt": "We the"}, "goes on “We the”"),
    "text": ({"text": "Fellow citizens"}, "reads “Fellow citizens”"),
    "fill": ({"text": "We the [MASK]"}, "fills “We the [MASK]”"),
    "closer": ({"anchor": "a cat"}, "what is nearer to “a cat”"),
    "caption": ({"answer": "a cat"}, "names a picture of “a cat”"),
    "picture": ({"text": "a cat"}, "finds a picture for “a cat”"),
    "retrieve": ({"caption": "a cat"}, "finds the picture of “a cat”"),
    "label": ({"image": "a.png", "label": "7"}, "calls 7 a picture of it"),
}


@pytest.mark.parametrize("task", ASKED)
def test_what_a_row_asks_is_told(task):
    fields, said = ASKED[task]
    assert figures.asked(Row(id="a", task=task, fields=fields)) == said


ANSWERED = {
    "an answer and how sure": ("label", "7", 0.5, 0.875, "7 (87.5 %)"),
    "surer than one by rounding": ("label", "7", 0.5, 1.0000001, "7 (100 %)"),
    "a margin where nothing is sure": ("closer", "near", 0.25, None, "near (+0.250)"),
    "a rank": ("retrieve", "cat.png", 3.0, 0.5, "rank 3"),
    "bits": ("text", "", 12.25, None, "12.2 bits"),
    "an empty answer": ("fill", "", 0.5, 0.5, "nothing (50.0 %)"),
}


@pytest.mark.parametrize(
    ("task", "answer", "value", "sure", "said"), ANSWERED.values(), ids=ANSWERED
)
def test_what_was_answered_is_told(task, answer, value, sure, said):
    row = Row(id="a", task=task, fields={})
    assert (
        figures.answered(row, Outcome(id="a", answer=answer, value=value, confidence=sure)) == said
    )


TOLD = {
    "nothing": (None, True, ""),
    "a floor": (Bound(name="a", at_least=0.5), True, "at least 50.0 %"),
    "a fall": (Bound(name="a", drop=0.025), True, "may fall by 2.5 points"),
    "bits": (
        Bound(name="bits_per_byte", at_most=2.0, rise=0.05),
        False,
        "at most 2, may rise by 0.05",
    ),
}


@pytest.mark.parametrize(("bound", "share", "said"), TOLD.values(), ids=TOLD)
def test_what_a_gate_asks_is_told(bound, share, said):
    assert bound_told(bound, share) == said


MAIN = {"a classifier": (MAILS, ["accuracy"]), "texts": (BITS, ["bits_per_byte"])}


@pytest.mark.parametrize(("pairs", "names"), MAIN.values(), ids=MAIN)
def test_the_main_scores_are(pairs, names):
    assert [score.name for score in figures.main_scores(held_of(pairs))] == names


def test_all_of_it_can_be_drawn():
    for held in (mails(), held_of(BITS)):
        assert "</html>" in render(page(part(figures=figures.common(held, "bert-spam"))))

"""Twins of rows: pure functions of a row's id, changed as stated, and nothing else changed."""

import json
from itertools import count

import numpy as np
import pytest
from PIL import Image

from unit.evaluate.subjects import noise, row
from zoo.evaluate.draw import Draw
from zoo.evaluate.perturb import PERTURBATIONS, PerturbError, perturbed
from zoo.evaluate.sheets import Picture

TEXT = [name for name, p in PERTURBATIONS.items() if p.kind == "text"]
IMAGE = [name for name, p in PERTURBATIONS.items() if p.kind == "image"]
SENTENCE = "The Keys to 'the cabinet' are (\"here\") on the [MASK] today, isn't it so?"
MAIL = "Lunch on Friday\n\nHi Kim,\n\nthe place at the corner?"
ROBUST = {"flags": ("robust",)}


def change(name, value, identity="a"):
    """Change one text or one array, outside of rows."""
    return PERTURBATIONS[name].change(value, Draw(f"{identity}@{name}"))


# --- numbers drawn


def test_draws_are_the_same_in_every_process():
    """Pinned: accepted outcomes rest on them."""
    draw = Draw("agreement-003@typos")
    assert [draw.below(1000) for _ in range(4)] == [421, 850, 341, 817]
    assert draw.data(3).hex() == "db304e"
    assert draw.some(3, 9) == [1, 2, 6]


def test_draws_are_even():
    draw = Draw("even")
    counts = np.bincount([draw.below(7) for _ in range(7000)], minlength=7)
    assert counts.min() > 850  # five deviations under 1000
    assert len(counts) == 7
    pairs = {tuple(Draw(f"pair-{i}").some(2, 3)) for i in range(60)}
    assert pairs == {(0, 1), (0, 2), (1, 2)}
    assert draw.some(4, 4) == [0, 1, 2, 3]


# --- texts


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("lower", "the keys to 'the cabinet' are (\"here\") on the [MASK] today, isn't it so?"),
        ("upper", "THE KEYS TO 'THE CABINET' ARE (\"HERE\") ON THE [MASK] TODAY, ISN'T IT SO?"),
        ("punctuation", SENTENCE[:-1]),
        ("quotes", "The Keys to ‘the cabinet’ are (“here”) on the [MASK] today, isn’t it so?"),
        ("padding", SENTENCE),
    ],
    ids=count(),
)
def test_a_sentence_is_changed_as_stated(name, after):
    assert change(name, SENTENCE) == after


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("punctuation", "so it is", "so it is."),
        ("punctuation", "so it is! \n", "so it is \n"),
        ("punctuation", "is it [MASK]", "is it [MASK]."),
        ("quotes", "\"'So' she said\"", "“‘So’ she said”"),
        ("quotes", "'\"So\" he said'", "‘“So” he said’"),
        ("quotes", "well-\"known\" 'n'", "well-“known” ‘n’"),
        ("quoted", MAIL, "Lunch on Friday\n\n> Hi Kim,\n> \n> the place at the corner?"),
        ("quoted", "one line\nor two", "> one line\n> or two"),
    ],
    ids=count(),
)
def test_texts_are_changed_as_stated(name, before, after):
    assert change(name, before) == after


@pytest.mark.parametrize("name", ["greeting", "signature", "spaces"])
def test_what_is_put_around_a_mail_leaves_it_whole(name):
    seen = set()
    for i in range(30):
        after = change(name, MAIL, f"mail-{i}")
        subject, body = MAIL.split("\n\n", 1)
        before, _, behind = after.partition(subject)
        middle, _, last = behind.partition(body)
        seen.add((before, middle, last))
        assert after == before + subject + middle + body + last
    expected = {
        "greeting": {("", f"\n\n{g}\n\n", "") for g in ("Hello,", "Hi,", "Good morning,")},
        "signature": {("", "\n\n", f"\n\n-- \n{name}") for name in ("Alex", "Kim", "Robin")},
        "spaces": {(" " * n, "\n\n", " \n") for n in (1, 2, 3)},
    }
    assert seen == expected[name]


def test_a_greeting_of_one_paragraph_stands_in_front():
    assert change("greeting", "See you.").endswith(",\n\nSee you.")


WORDS = "considerable progress towards international agreement throughout february demonstrates"


@pytest.mark.parametrize("identity", [f"row-{i}" for i in range(20)])
@pytest.mark.parametrize("words", [1, 7, 14, 21, 35])
def test_one_word_of_ten_has_a_typo_of_its_inner_letters(identity, words):
    before = (f"{WORDS} " * 5).split()[:words]
    after = change("typos", " ".join(before), identity).split()
    wrong = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(wrong) == max(1, round(words / 10))
    for right, typo in wrong:
        assert (right[0], right[-1]) == (typo[0], typo[-1])
        if len(typo) == len(right):
            (i, j) = (k for k in range(len(right)) if right[k] != typo[k])
            assert j == i + 1
            assert right[i] + right[j] == typo[j] + typo[i]
        else:
            assert typo in {right[:k] + right[k + 1 :] for k in range(1, len(right) - 1)}


def test_typos_are_of_both_kinds_and_in_every_place():
    found = {change("typos", "abcdef", f"r{i}") for i in range(200)}
    swaps = {"acbdef", "abdcef", "abcedf"}
    assert found == swaps | {"acdef", "abdef", "abcef", "abcdf"}
    assert {change("typos", "aabba", f"r{i}") for i in range(100)} == {"ababa", "aaba", "abba"}


@pytest.mark.parametrize(
    "text", ["a cat is on", "[MASK] [MASK]", "1234567", "", "the ☃"], ids=count()
)
def test_what_has_no_long_word_has_no_typo(text):
    assert change("typos", text) == text


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("text", [SENTENCE, "[MASK] Rain", "Cabinets [MASK]"], ids=len)
def test_a_mask_is_never_touched(name, text):
    for i in range(20):
        assert change(name, text, f"r{i}").count("[MASK]") == 1


# --- twins

ROWS = {
    "choice": row("c", "choice", prompt=SENTENCE, choices=[" a", " b"], answer=" a", **ROBUST),
    "fill": row("f", "fill", text=SENTENCE, answers=["table"], **ROBUST),
    "label-of-text": row("l", "label", text=SENTENCE, label="ham", **ROBUST),
    "label-of-image": row("i", "label", image=noise(1), label="7", **ROBUST),
    "closer": row("n", "closer", anchor=SENTENCE, near="x", far="y", **ROBUST),
    "caption": row("k", "caption", image=noise(2), captions=["a", "b"], answer="a", **ROBUST),
    "picture": row(
        "p", "picture", text=SENTENCE, images=[noise(3), noise(4)], answer="x", **ROBUST
    ),
    "retrieve": row("r", "retrieve", image=noise(5), caption=SENTENCE, group="g", **ROBUST),
    "text": row("t", "text", text=SENTENCE, **ROBUST),
}
READS = {
    "choice": "prompt",
    "fill": "text",
    "label-of-text": "text",
    "closer": "anchor",
    "picture": "text",
    "retrieve": "caption",
}
SEES = {"label-of-image": "image", "caption": "image", "picture": "images", "retrieve": "image"}
MAILS = ("greeting", "signature", "quoted")
ENDS = ("spaces", "punctuation")


def framed(height=12, width=10, frame=4):
    """Draw noise within a black frame."""
    pixels = noise(3, height, width)
    pixels[:frame] = pixels[-frame:] = 0
    pixels[:, :frame] = pixels[:, -frame:] = 0
    return pixels


def pixels_of(image):
    return np.asarray(image.image if isinstance(image, Picture) else image)


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("task", ROWS)
def test_a_twin_differs_from_its_row_in_one_field(task, name):
    field = (READS if name in TEXT else SEES).get(task)
    absent = (name in MAILS and task != "label-of-text") or (name in ENDS and task == "choice")
    before = ROWS[task]
    found = perturbed([before], [name], ".")
    assert len(found) == (field is not None and not absent)
    for twin in found:
        about = (twin.id, twin.of, twin.under, twin.segments, twin.flags, twin.test)
        expected = (f"{before.id}@{name}", before.id, name, (f"under:{name}",), (), "mft")
        assert about == expected
        assert {n: v for n, v in twin.fields.items() if n != field} == {
            n: v for n, v in before.fields.items() if n != field
        }
        old, new = before.fields[field], twin.fields[field]
        if name in TEXT:
            assert new == change(name, old, before.id)
        else:
            one = [old] if task != "picture" else old
            draw = Draw(twin.id)
            wanted = [PERTURBATIONS[name].change(pixels, draw) for pixels in one]
            made = [new] if task != "picture" else new
            assert all(map(np.array_equal, map(pixels_of, made), wanted))


def test_twins_come_by_name_and_then_by_row():
    rows = [ROWS["fill"], ROWS["label-of-text"]]
    found = perturbed(rows, ["upper", "typos"], ".")
    assert [twin.id for twin in found] == ["f@upper", "l@upper", "f@typos", "l@typos"]
    assert perturbed(rows, ["upper", "typos"], ".") == found
    assert perturbed(rows[::-1], ["typos"], ".") == [found[3], found[2]]


def test_only_robust_rows_whose_answer_is_known_have_twins():
    rows = [
        row("a", "label", text="Rain today"),
        row("b", "label", text="Rain today", flags=("edge", "pinned")),
        row("c", "label", text="Rain today", test="inv", of="a", **ROBUST),
        row("d", "label", text="Rain today", of="a", under="upper", **ROBUST),
        row("e", "label", text="Rain today", flags=("edge", "robust")),
    ]
    assert [twin.id for twin in perturbed(rows, ["lower"], ".")] == ["e@lower"]


def test_what_changes_nothing_makes_no_twin():
    rows = [
        row("a", "label", text="rain today", **ROBUST),
        row("b", "label", image=np.zeros((12, 10, 3), np.uint8), **ROBUST),
        row("c", "picture", text="-", images=[np.zeros((2, 2, 3), np.uint8)] * 2, **ROBUST),
    ]
    assert perturbed(rows, ["lower", "shift-1", "grey"], ".") == []
    assert [twin.id for twin in perturbed(rows, ["padding"], ".")] == ["a@padding", "c@padding"]


def test_a_changed_tile_goes_by_the_name_of_its_tile(tmp_path):
    Image.fromarray(framed(12, 24)).save(tmp_path / "sheet.png")
    (tmp_path / "manifest.json").write_text(json.dumps({"sheets": {"sheet.png": 12}}))
    rows = [row("a", "label", image="sheet.png#1", label="7", **ROBUST)]
    (twin,) = perturbed(rows, ["darker"], tmp_path)
    picture = twin.fields["image"]
    assert isinstance(picture, Picture)
    assert (picture.name, picture.image.mode) == ("sheet.png#1", "RGB")
    assert np.array_equal(pixels_of(picture), change("darker", framed(12, 24)[:, 12:], "a"))


def test_a_perturbation_that_is_not_known_is_named():
    with pytest.raises(PerturbError, match=r"no perturbation 'typo'; known are \['blur'"):
        perturbed([], ["typos", "typo"], ".")

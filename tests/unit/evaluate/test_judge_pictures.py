"""Tasks of pictures: outcomes are those of one picture and one text at a time, in plain loops."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from unit.evaluate.subjects import matcher, noise, only, row, seer
from zoo.evaluate.judges import judge
from zoo.evaluate.judging import JudgeError
from zoo.evaluate.sheets import Picture

CLOSE = {"rel": 1e-12, "abs": 1e-12}
NAMES = [f"sheet.png#{i}" for i in range(6)]
CAPTIONS = ["the cat", "a dog ran in the garden", "rain"]


@pytest.fixture
def folder(tmp_path):
    """Hold six pictures on a sheet, and one as a file."""
    tiles = [noise(i, 12, 12) for i in range(6)]
    sheet = np.concatenate([np.concatenate(tiles[:3], 1), np.concatenate(tiles[3:], 1)])
    Image.fromarray(sheet).save(tmp_path / "sheet.png")
    Image.fromarray(noise(9)).save(tmp_path / "alone.png")
    (tmp_path / "manifest.json").write_text(json.dumps({"sheets": {"sheet.png": 12}}))
    return tmp_path


def pixels_of(source, folder):
    """Read a picture without the code that is tested."""
    if isinstance(source, Picture):
        return source.image
    file, _, number = source.partition("#")
    held = np.asarray(Image.open(folder / file))
    if number:
        i, j = divmod(int(number), 3)
        held = held[12 * i : 12 * i + 12, 12 * j : 12 * j + 12]
    return Image.fromarray(held)


def vector_of(subject, folder, source):
    pixels = subject.processor([pixels_of(source, folder)]).double()
    with torch.no_grad():
        return subject.model.encode_image(pixels)[0].tolist()


def meaning_of(subject, text):
    with torch.no_grad():
        return subject.model.encode_text(torch.tensor([subject.tokenizer.encode(text)]))[0].tolist()


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def shares(scores, scale):
    chances = {name: math.exp(scale * score) for name, score in scores.items()}
    total = math.fsum(chances.values())
    return {name: chance / total for name, chance in chances.items()}


def check_chosen(found, scores, answer, scale):
    """Compare an outcome with cosines that were counted by hand."""
    best = max(scores, key=scores.get)
    rest = max(score for name, score in scores.items() if name != answer)
    assert found.scores == pytest.approx(scores, **CLOSE)
    assert (found.answer, found.passed, found.right) == (best, best == answer, best == answer)
    assert found.value == pytest.approx(scores[answer] - rest, rel=1e-11)
    assert found.confidence == pytest.approx(shares(scores, scale)[best], rel=1e-11)


@pytest.mark.parametrize("image", [*NAMES[:2], "alone.png"])
@pytest.mark.parametrize("answer", CAPTIONS)
def test_a_caption_is_chosen_by_its_cosine(folder, image, answer):
    subject = matcher()
    picture = vector_of(subject, folder, image)
    scores = {text: dot(meaning_of(subject, text), picture) for text in CAPTIONS}
    asked = row("a", "caption", image=image, captions=CAPTIONS, answer=answer)
    check_chosen(only([asked], subject, folder), scores, answer, subject.model.scale().item())


@pytest.mark.parametrize("text", CAPTIONS)
@pytest.mark.parametrize("answer", [0, 2])
def test_a_picture_is_chosen_by_its_cosine(folder, text, answer):
    """Of a tile, a file, and a picture in memory that goes by its name."""
    subject = matcher()
    images = [NAMES[4], "alone.png", Picture("sheet.png#1", Image.fromarray(noise(7)))]
    names = [NAMES[4], "alone.png", NAMES[1]]
    meaning = meaning_of(subject, text)
    scores = {
        name: dot(meaning, vector_of(subject, folder, image))
        for name, image in zip(names, images, strict=True)
    }
    asked = row("a", "picture", text=text, images=images, answer=names[answer])
    found = only([asked], subject, folder)
    check_chosen(found, scores, names[answer], subject.model.scale().item())


def test_a_caption_that_is_too_long_loses_its_end(folder):
    subject = matcher()
    words = "the cat sat under the sun and the rain " * 6
    asked = row("a", "caption", image="alone.png", captions=["rain", words], answer=words)
    ids = subject.tokenizer.batch([words], longest=24)["input_ids"]
    assert len(subject.tokenizer.encode(words)) > 24 == ids.shape[1]
    with torch.no_grad():
        meaning = subject.model.encode_text(ids)[0].tolist()
    score = dot(meaning, vector_of(subject, folder, "alone.png"))
    assert only([asked], subject, folder).scores[words] == pytest.approx(score, **CLOSE)


@pytest.mark.parametrize("label", ["ham", "spam", "other", None])
def test_a_picture_has_the_probability_that_the_model_gives_its_label(folder, label):
    subject = seer()
    with torch.no_grad():
        logits = subject.model(subject.processor([pixels_of(NAMES[3], folder)]).double())[0]
    chances = dict(zip(("ham", "spam", "other"), logits.softmax(-1).tolist(), strict=True))
    best = max(chances, key=chances.get)
    fields = {"image": NAMES[3]} | ({} if label is None else {"label": label})
    found = only([row("a", "label", **fields)], subject, folder)
    assert found.scores == pytest.approx(chances, **CLOSE)
    assert (found.answer, found.passed) == (best, None if label is None else best == label)
    assert found.value == pytest.approx(chances[label or best], **CLOSE)
    assert found.confidence == pytest.approx(chances[best], **CLOSE)


# --- retrieval


def asked_for(count, group="all", start=0):
    captions = ["cat", "dog", "sun", "rain", "house", "the garden"]
    return [
        row(f"{group}-{i}", "retrieve", image=NAMES[start + i], caption=captions[i], group=group)
        for i in range(count)
    ]


def rank_by_hand(subject, folder, caption, own, others):
    meaning = meaning_of(subject, caption)
    score = dot(meaning, vector_of(subject, folder, own))
    return 1 + sum(dot(meaning, vector_of(subject, folder, other)) >= score for other in others)


def test_a_caption_is_ranked_among_the_pictures_of_its_group(folder):
    subject = matcher()
    rows = asked_for(6) + asked_for(2, "few", start=3)
    found = judge(rows, subject, folder)
    for one, outcome in zip(rows, found, strict=True):
        gallery = NAMES if one.fields["group"] == "all" else NAMES[3:5]
        own = one.fields["image"]
        others = [name for name in gallery if name != own]
        rank = rank_by_hand(subject, folder, one.fields["caption"], own, others)
        assert outcome.value == float(rank)
        assert outcome.passed is outcome.right is (rank <= 5)
        meaning = meaning_of(subject, one.fields["caption"])
        cosines = {name: dot(meaning, vector_of(subject, folder, name)) for name in gallery}
        assert outcome.answer == max(cosines, key=cosines.get)
        assert outcome.confidence is None
    assert len({outcome.value for outcome in found}) > 2


def test_two_captions_of_a_picture_do_not_stand_in_each_others_way(folder):
    subject = matcher()
    rows = asked_for(3)
    more = row("more", "retrieve", image=NAMES[0], caption="under the sun", group="all")
    before = judge(rows, subject, folder)
    assert judge([*rows, more], subject, folder)[:3] == before


def test_a_twin_is_ranked_in_the_place_of_its_row_and_nobody_sees_it(folder):
    subject = matcher()
    rows = asked_for(6)
    other = Picture(NAMES[2], Image.fromarray(noise(8)))
    asked = {"of": "all-2", "caption": "sun", "group": "all"}
    twin = row("all-2@blur", "retrieve", under="blur", image=other, **asked)
    variant = row("v", "retrieve", test="dir", expect="down", image="alone.png", **asked)
    found = judge([twin, *rows, variant], subject, folder)
    assert found[1:-1] == judge(rows, subject, folder)
    rest = [name for name in NAMES if name != NAMES[2]]
    for outcome, own in ((found[0], other), (found[-1], "alone.png")):
        assert outcome.value == rank_by_hand(subject, folder, "sun", own, rest)


def test_a_tie_of_pictures_counts_against_the_model(folder):
    """Six pictures that are one: the own one stands behind the five others."""
    images = [Picture(name, Image.fromarray(noise(5))) for name in NAMES]
    rows = [
        row(f"r{i}", "retrieve", image=image, caption=f"{i}", group="g")
        for i, image in enumerate(images)
    ]
    found = judge(rows, matcher(), folder)
    assert [(o.value, o.passed) for o in found] == [(6.0, False)] * 6
    assert all(o.answer != r.fields["image"].name for o, r in zip(found, rows, strict=True))


@pytest.mark.parametrize("answer", ["the cat", "The CAT"])
def test_a_tie_of_captions_is_wrong(folder, answer):
    captions = ["the cat", "The CAT"]
    asked = row("a", "caption", image="alone.png", captions=captions, answer=answer)
    found = only([asked], matcher(), folder)
    assert (found.value, found.passed, found.confidence) == (0.0, False, 0.5)
    assert found.answer == ({*captions} - {answer}).pop()


# --- pictures that cannot be asked for

ERRORS = {
    "no such file": ("b.png", "holds no picture 'b.png'"),
    "no such tile": ("sheet.png#6", "has 6 tiles, 0 to 5"),
    "no sheet": ("alone.png#0", "alone.png is no sheet"),
    "no picture": ("manifest.json", "is damaged, or no JPEG"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_a_row_whose_picture_is_not_there_is_named(folder, case):
    image, sentence = ERRORS[case]
    rows = [row("sound", "label", image="alone.png"), row("poor-1", "label", image=image)]
    with pytest.raises(JudgeError, match=f"^row 'poor-1': .*{sentence}"):
        judge(rows, seer(), folder)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"captions": ["sun"], "answer": "sun"}, "captions are .* two or more"),
        ({"captions": ["sun", "cat"], "answer": "dog"}, r"answer \['dog'\] is not among"),
    ],
    ids=["one", "none"],
)
def test_a_row_with_nothing_to_choose_is_named(folder, fields, sentence):
    with pytest.raises(JudgeError, match=f"^row 'a': .*{sentence}"):
        judge([row("a", "caption", image="alone.png", **fields)], matcher(), folder)


@pytest.mark.parametrize("of", ["all-0", "nothing"])
def test_a_variant_without_its_row_in_the_group_is_named(folder, of):
    rows = asked_for(3)
    lost = row("lost", "retrieve", of=of, under="blur", image=NAMES[0], caption="x", group="none")
    with pytest.raises(JudgeError, match=f"^row 'lost': it is of {of!r}, no mft row of group"):
        judge([*rows, lost], matcher(), folder)

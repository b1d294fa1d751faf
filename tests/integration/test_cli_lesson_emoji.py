"""The emoji's lesson: unseen drawings are unseen, names are true, and no drawing is blank."""

import math
import random
from collections import Counter

import numpy as np
import pytest
import torch

from zoo.cli.lesson_emoji import PROCESSOR, View, caption, enrol, layers, lessons, pairs, views
from zoo.data.sources_emoji import (
    ALWAYS,
    COMMON,
    LEAST,
    SIDE,
    Emoji,
    attribution,
    draw,
    picture,
    read_emoji,
    split,
)


@pytest.fixture(scope="module")
def emoji():
    return read_emoji()


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (0x1F431, "cat face", "animal"),
        (0x2764, "red heart", "heart"),
        (0x1F600, "grinning face", "face"),
        (0x1F346, "eggplant", "food"),
        (0x1F692, "fire engine", "vehicle"),
        (0x1F996, "t rex", "animal"),
        (0x1F511, "key", None),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_a_drawing_has_its_name_and_kind(emoji, code, name, kind):
    assert Emoji(code, name, kind) in emoji


def test_there_are_many_and_each_name_is_one_drawings(emoji):
    assert len(emoji) > 1000
    assert max(Counter(e.name for e in emoji).values()) == 1
    assert [e.code for e in emoji] == sorted(e.code for e in emoji)
    assert all(e.name == e.name.lower() for e in emoji)
    assert not any("clock face" in e.name for e in emoji)


def test_no_drawing_is_blank_cut_off_or_another(emoji):
    drawn = set()
    for e in emoji[::7]:
        image = draw(e.code)
        left, top, right, bottom = image.getbbox()
        assert right - left > SIDE / 4 or bottom - top > SIDE / 4, e
        assert min(left, top) > 0 and max(right, bottom) < SIDE, e
        drawn.add(image.tobytes())
    assert len(drawn) == len(emoji[::7])


def test_a_red_heart_is_red_on_white_paper():
    paper = np.asarray(picture(0x2764))
    assert paper[0, 0].tolist() == [255, 255, 255]
    red, green, blue = paper[SIDE // 2, SIDE // 2].tolist()
    assert red > 180 and green < 120 and blue < 120


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_unseen_drawings_are_not_learnt_and_all_their_words_are(emoji, seed):
    learnt, unseen = split(emoji, seed)
    assert not {*learnt} & {*unseen}
    assert sorted([*learnt, *unseen], key=lambda e: e.code) == emoji
    assert {*ALWAYS} <= {e.name for e in unseen}
    assert 50 <= len(unseen) <= 100
    known = Counter(word for e in learnt for word in e.words)
    for e in unseen:
        assert all(known[word] >= LEAST for word in e.words), e


def test_unseen_drawings_share_common_words_only_but_for_the_two_cats(emoji):
    _, unseen = split(emoji, 0)
    count = Counter(word for e in emoji for word in e.words)
    shared = Counter(word for e in unseen for word in e.words)
    assert {word for word, n in shared.items() if n > 1 and count[word] < COMMON} == {"cat"}
    assert shared["cat"] == 2


def test_the_split_is_the_seeds(emoji):
    assert split(emoji, 3) == split(emoji, 3)
    assert split(emoji, 3) != split(emoji, 4)


def test_a_caption_says_only_what_is_true():
    cat = Emoji(0x1F431, "weary cat face", "animal")
    dice = random.Random(0)
    frame = {"a", "of", "drawing", "the", "picture", "kind", "animal"}
    said = Counter(caption(cat, dice) for _ in range(2000))
    words = {word.strip(",") for text in said for word in text.split()}
    assert words == cat.words | frame
    assert said["weary cat face"] > 100
    assert said["a cat face"] > 20
    assert said["a drawing of a animal"] > 5
    assert not any("  " in text or not text for text in said)


def test_a_caption_of_no_kind_has_a_word_of_the_name():
    dice = random.Random(0)
    said = {caption(Emoji(0x1F511, "key", None), dice) for _ in range(200)}
    assert said == {"key", "a key", "a drawing of a key", "the picture of a key"}


def test_a_view_that_is_not_moved_is_what_the_processor_makes_of_the_picture(emoji):
    drawings = emoji[::99]
    still = View(turn=0.0, scale=0.0, shift=0.0)
    found = views(layers(drawings), torch.Generator(), view=still, coloured=0.0)
    expected = PROCESSOR([picture(e.code) for e in drawings])
    # two ways to make 32 pixels of 128: means of four by four, and bicubic
    assert (found - expected).abs().mean() < 0.1
    assert torch.allclose(found[:, :, 0, 0], expected[:, :, 0, 0], atol=1e-4)  # white paper


def test_paper_is_white_or_of_a_light_colour():
    drawn = layers([Emoji(0x2764, "red heart", "heart")] * 200)
    seen = views(drawn, torch.Generator().manual_seed(0))
    std, mean = (torch.tensor(v) for v in (PROCESSOR.image_std, PROCESSOR.image_mean))
    corners = seen[:, :, 0, 0] * std + mean
    white = (corners > 0.999).all(1)
    assert 0.6 < white.float().mean() < 0.8
    assert 0.499 < corners.min() < 0.55


@pytest.fixture(scope="module")
def pupil(emoji):
    learnt, _ = split(emoji, 0)
    return learnt, *enrol(learnt, seed=0)


def test_the_tokenizer_ends_where_the_model_reads(pupil):
    _, model, tokenizer = pupil
    ids = tokenizer.batch(["cat face", "zzyzx"])["input_ids"]
    assert (ids == model.config.end).any(1).all()
    assert tokenizer.vocab_size == model.config.vocab
    assert len(tokenizer.encode("cat face")) == 4


def test_the_same_seed_gives_the_same_batches_and_beginner(pupil):
    learnt, model, tokenizer = pupil
    drawn = layers(learnt[:9])
    first, again, other = (next(pairs(tokenizer, learnt[:9], drawn, seed)) for seed in (0, 0, 1))
    for name in ("pixel_values", "input_ids"):
        assert torch.equal(first[name], again[name])
    assert not torch.equal(first["pixel_values"], other["pixel_values"])
    assert torch.equal(enrol(learnt, seed=0)[0].image.positions, model.image.positions)
    assert not torch.equal(enrol(learnt, seed=1)[0].image.positions, model.image.positions)


def test_a_lesson_takes_its_steps_and_begins_with_guessing(pupil):
    learnt, _, _ = pupil
    model, tokenizer = enrol(learnt, seed=0)
    steps = list(lessons(model, tokenizer, learnt[:40], seconds=1e6, steps=2, seed=0))
    assert [share for share, _ in steps] == [0.5, 1.0]
    assert steps[0][1].loss == pytest.approx(math.log(40), abs=1.0)
    assert not model.training


def test_the_drawings_makers_are_named():
    assert "OpenMoji" in attribution()
    assert "CC BY-SA 4.0" in attribution()

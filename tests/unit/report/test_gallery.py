"""Galleries: what is chosen, in which order, and that the right one is marked."""

import base64
import io
from dataclasses import replace

import pytest
import torch
from PIL import Image

from unit.evaluate.subjects import embedder, filler, matcher, row, seer, speaker
from unit.report.rows import MAILS, held_of
from zoo.evaluate.judges import judge
from zoo.report import gallery_pictures, gallery_text
from zoo.report.attention import of_largest, patch_heat, token_heat
from zoo.report.pictures import picture

LISTS = {
    "fewer than asked for": ([1, 2], 4, [1, 2]),
    "as many": ([1, 2, 3], 3, [1, 2, 3]),
    "the first, the last and between": (list(range(11)), 3, [0, 5, 10]),
    "one": ([1, 2, 3], 1, [1]),
    "none": ([], 3, []),
}


@pytest.mark.parametrize(("items", "count", "taken"), LISTS.values(), ids=LISTS)
def test_examples_are_taken_evenly(items, count, taken):
    assert gallery_text.evenly(items, count) == taken


def held(subject, folder, *rows, **changes):
    """Judge rows with a tiny model, as the page does."""
    return held_of(list(zip(rows, judge(rows, subject, folder), strict=True)), folder=folder)


def test_choices_are_told_likeliest_first_with_shares_that_sum_to_one(tmp_path):
    asked = [
        row(f"c-{i}", "choice", prompt="the cat sat in the", choices=[" house", " sun", " rain"],
            answer=" sun")
        for i in range(2)
    ]  # fmt: skip
    figure = gallery_text.choices(held(speaker(), tmp_path, *asked), "a command")
    assert [search.asked for search in figure.data] == ["the cat sat in the …"] * 2
    for search in figure.data:
        shares = [float(share.removesuffix(" %")) for _, share, _ in search.texts]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(100, abs=0.2)  # three numbers of one decimal
        assert [text for text, _, right in search.texts if right] == ["sun"]


def test_fills_show_five_words_though_a_row_gives_choices(tmp_path):
    asked = row("f", "fill", text="the [MASK] sat", answers=["cat"], choices=["cat", "house"])
    figure = gallery_text.fills(held(filler(), tmp_path, asked), filler(), "golden/bert")
    (search,) = figure.data
    assert len(search.texts) == 5
    assert search.note == "accepted: cat"
    assert figure.command == "zoo fill --model golden/bert 'the [MASK] sat'"


def test_texts_show_mistakes_first_then_the_least_sure_and_the_surest_of_each_class():
    figure = gallery_text.mails(held_of(MAILS), "a command")
    assert [each.id for each in figure.data] == [
        *("sly-2", "sly-1", "sly-0"),  # wrong, the surest first
        *("spam-1", "spam-2"),  # right, the least sure
        *("ham-0", "spam-0"),  # the surest of each class
    ]
    assert [each.right for each in figure.data] == [False] * 3 + [True] * 4
    assert (figure.data[0].truth, figure.data[0].answer) == ("spam", "ham")


def test_neighbours_are_the_nearest_by_cosine_and_the_own_is_marked(tmp_path):
    texts = ["the cat sat", "a dog ran", "rain in the garden", "the sun"]
    asked = [
        row("a", "closer", anchor="the cat sat", near=texts[0], far=texts[1]),
        row("b", "closer", anchor="rain and rain", near=texts[2], far=texts[3]),
    ]
    subject = embedder()
    figure = gallery_text.neighbours(held(subject, tmp_path, *asked), subject, "minilm")
    vectors = gallery_text.vectors(subject, texts)
    for search, question in zip(figure.data, asked, strict=True):
        (anchor,) = gallery_text.vectors(subject, [question.fields["anchor"]])
        best = (vectors @ anchor).argsort(descending=True)[:3].tolist()
        assert [text for text, _, _ in search.texts] == [texts[i] for i in best]
        marked = [text for text, _, right in search.texts if right]
        assert set(marked) <= {question.fields["near"]}
    assert figure.data[0].texts[0] == ("the cat sat", "1.000", True)


def test_a_model_writes_as_far_as_its_context_reaches():
    subject = speaker()
    figure = gallery_text.texts_written(subject, "golden/gpt2", "gpt2")
    lengths = {p: len(subject.tokenizer.encode(p)) for p in gallery_text.PROMPTS}
    fitting = [p for p, length in lengths.items() if length < 24]
    assert 0 < len(fitting) < len(lengths)  # of a context of 24 tokens
    assert [prompt for _, prompt, _ in figure.data] == [p for p in fitting for _ in range(2)]
    assert f"--max-new-tokens {24 - lengths[fitting[0]]} " in figure.command
    again = gallery_text.texts_written(speaker(), "golden/gpt2", "gpt2")
    assert again.data == figure.data


def tiles(folder, count, side=12):
    """Draw pictures that are all different; give their names."""
    for i in range(count):
        Image.new("RGB", (side, side), (20 * i, 255 - 20 * i, 90)).save(folder / f"{i}.png")
    return [f"{i}.png" for i in range(count)]


def test_mistakes_are_those_pictures_that_are_called_something_else(tmp_path):
    names = tiles(tmp_path, 6)
    asked = [row(f"p-{i}", "label", image=name, label="ham") for i, name in enumerate(names)]
    world = held(seer(), tmp_path, *asked)
    wrong = [o for o in world.found.values() if not o.right]
    figure = gallery_pictures.mistakes(world, "a command")
    order = sorted(wrong, key=lambda o: -o.confidence)
    said = [f"is ham, says {outcome.answer}" for outcome in order]
    assert [tile.lines[0] for tile in figure.data] == said
    assert figure.says.startswith(f"{len(wrong)} of 6 pictures")


def test_no_mistake_is_said_too(tmp_path):
    (name,) = tiles(tmp_path, 1)
    world = held(seer(), tmp_path, row("p", "label", image=name, label="ham"))
    right = {key: replace(o, right=True) for key, o in world.found.items()}
    figure = gallery_pictures.mistakes(replace(world, found=right), "a command")
    assert (figure.data, figure.says) == ((), "0 of 1 picture, the surest first.")


def test_searches_go_from_the_best_to_the_worst_with_the_own_picture_framed(tmp_path):
    names = tiles(tmp_path, 12)
    words = ("cat", "dog", "sun", "rain", "house", "garden")
    asked = [
        row(f"r-{i}", "retrieve", image=name, caption=f"{words[i % 6]} {words[i // 6]}", group="g")
        for i, name in enumerate(names)
    ]
    subject = matcher()
    world = held(subject, tmp_path, *asked)
    captions, pictures = gallery_pictures.retrieval(world, subject, "a command")
    ranks = [world.found[r.id].value for r in asked]
    notes = [f"its own is number {rank:.0f} of 12" for rank in sorted(ranks)]
    assert [captions.data[0].note, captions.data[-1].note] == [notes[0], notes[-1]]
    for search in captions.data:
        rank = int(search.note.split()[4])
        framed = [i for i, tile in enumerate(search.tiles, 1) if tile.mark == "yes"]
        assert framed == ([rank] if rank <= 5 else [])
        numbers = [float(tile.lines[1]) for tile in search.tiles]
        assert numbers == sorted(numbers, reverse=True)
    for search in pictures.data:
        place = int(search.note.partition("number ")[2].split()[0])
        right = [i for i, (_, _, right) in enumerate(search.texts, 1) if right]
        assert right == ([place] if place <= 5 else [])


def test_the_heat_of_a_picture_is_a_grid_of_its_patches_from_nothing_to_all():
    image = Image.new("RGB", (12, 10), (200, 30, 90))
    for subject in (seer(), matcher()):
        tower = subject.model.image if subject.model.spec.name == "clip" else subject.model
        heat = patch_heat(subject, image)
        pixels = subject.processor([image])
        patch = tower.config.patch
        assert heat.shape == (pixels.shape[2] // patch[0], pixels.shape[3] // patch[1])
        assert float(heat.min()) == 0.0
        assert float(heat.max()) in (0.0, 1.0)


def test_the_heat_of_a_text_is_read_at_its_mask_and_its_shares_sum_to_one():
    reading = token_heat(filler(), "the [MASK] sat", "a note")
    assert [token.text for token in reading.tokens][2] == "[MASK]"
    assert sum(token.share for token in reading.tokens) == pytest.approx(1, abs=1e-6)
    assert max(token.heat for token in reading.tokens) == 1.0


def test_heat_is_of_the_largest_word_and_never_above_one():
    shares = torch.tensor([0.6, 0.1, 0.2, 0.1])
    words = torch.tensor([False, True, True, False])
    assert of_largest(shares, words).tolist() == pytest.approx([1.0, 0.5, 1.0, 0.5])
    assert of_largest(shares, torch.zeros(4, dtype=torch.bool)).tolist()[0] == 1.0


PICTURES = {
    "grey": (Image.new("RGB", (3, 2), (9, 9, 9)), None, "L"),
    "coloured": (Image.new("RGB", (3, 2), (9, 8, 7)), None, "RGB"),
    "of few colours": (Image.new("RGB", (3, 2), (9, 8, 7)), 4, "P"),
    "grey stays grey": (Image.new("L", (3, 2), 9), 4, "L"),
}


@pytest.mark.parametrize(("image", "colours", "mode"), PICTURES.values(), ids=PICTURES)
def test_a_picture_is_kept_as_it_is(image, colours, mode):
    made = picture(image, "a dot", colours=colours)
    head, _, data = made.uri.partition(",")
    read = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (head, read.mode) == ("data:image/png;base64", mode)
    assert (made.width, made.height, read.size) == (3, 2, (3, 2))
    assert read.convert("RGB").tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("alt", ["", "  "], ids=["nothing", "spaces"])
def test_a_picture_without_words_is_refused(alt):
    with pytest.raises(ValueError, match="say what it shows"):
        picture(Image.new("L", (1, 1)), alt)

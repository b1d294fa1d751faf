"""Calls of tasks in memory: what is usual, which device reads, what shares a batch, pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers.processors import TemplateProcessing

from integration.task_models import (
    PROCESSOR,
    TEXTS,
    bert,
    clip,
    matcher,
    near,
    pictures,
    tokenizer,
    vit,
)
from zoo.checkpoint import CheckpointError
from zoo.images import ImageProcessor
from zoo.models import BERT, CLIP
from zoo.tasks import (
    Embedder,
    FillMask,
    ImageClassifier,
    ImageEmbedder,
    Matcher,
    TextClassifier,
)
from zoo.tasks.explain import Explainer, framed, stacked
from zoo.tasks.match import sentences
from zoo.tasks.pictures import Seer, Unreadable, check_pictures, wide
from zoo.tasks.text import EmbeddingConfig
from zoo.tokenizers import Tokenizer

# what each gives of seven classes or words when nothing is asked for
USUAL = {
    "ImageClassifier": lambda: ImageClassifier(vit(classes=7), PROCESSOR).classify(pictures(1)),
    "Matcher": lambda: matcher().classify(pictures(1), list("abcdefg")),
    "TextClassifier": lambda: TextClassifier(
        bert("sequence", classes=7), tokenizer("wordpiece")
    ).classify(TEXTS[:1]),
    "FillMask": lambda: FillMask(bert("masked_lm"), tokenizer("wordpiece")).fill("the [MASK]"),
}


@pytest.mark.parametrize("act", USUAL.values(), ids=USUAL)
def test_five_are_given_unless_more_are_asked_for(act):
    assert [len(row) for row in act()] == [5]


def test_the_patches_to_read_are_marked_where_the_shares_lie():
    explainer, (picture,) = Explainer(vit(), None, PROCESSOR), pictures(1)
    plain = explainer.picture(picture).shares
    with torch.device("meta"):
        assert torch.equal(explainer.picture(picture).shares, plain)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda one: one.text("a cat", token=4), "token 4; there are 4 tokens, numbered from 0"),
        (lambda one: one.text("a cat", token=-5), "token -5; there are 4 tokens, numbered from 0"),
        (
            lambda one: one.picture(pictures(1)[0], token=8),
            "patch 8; there are 8 patches, numbered from 0",
        ),
    ],
    ids=["token", "token-from-the-end", "patch"],
)
def test_what_is_not_there_is_named_with_how_many_there_are(act, words):
    with pytest.raises(ValueError, match="; there are ") as caught:
        act(Explainer(clip(), tokenizer("clip"), PROCESSOR))
    assert str(caught.value) == words


def noting(kind, name, log, **gives):
    """Make a kind of model whose method of this name notes what it reads, and where it lies."""

    def method(self, *args, **kwargs):
        held = args + tuple(x for x in kwargs.values() if isinstance(x, torch.Tensor))
        log.append((tuple(held[0].shape), {x.device.type for x in held}))
        if held[0].device.type == "meta":  # nothing is computed there
            return torch.zeros(held[0].shape[0], *gives["rest"], dtype=torch.float64)
        return getattr(kind, name)(self, *args, **kwargs)

    return type(kind.__name__, (kind,), {name: method})


def calls(name, log, device="cpu"):
    """Give what takes texts or pictures with `at_once`, and the rows that one call reads."""
    if name == "Embedder":
        model = bert(None, noting(BERT, "embed", log, rest=(20,)), device)
        return Embedder(model, tokenizer("wordpiece"), EmbeddingConfig()).embed
    if name == "TextClassifier":
        model = bert("sequence", noting(BERT, "forward", log, rest=(2,)), device, classes=2)
        return TextClassifier(model, tokenizer("wordpiece")).classify
    if name == "Matcher of texts":
        return matcher(
            clip("match", noting(CLIP, "encode_text", log, rest=(14,)), device)
        ).encode_texts
    return matcher(
        clip("match", noting(CLIP, "encode_image", log, rest=(14,)), device)
    ).encode_images


@pytest.mark.parametrize(
    ("name", "usual"),
    [("Embedder", 32), ("TextClassifier", 32), ("Matcher of texts", 64), ("Matcher", 16)],
)
def test_so_many_share_a_batch_as_are_asked_for(name, usual):
    for asked, sizes in (
        ({}, [usual, 1]),
        ({"at_once": usual + 1}, [usual + 1]),
        ({"at_once": usual - 6}, [usual - 6, 7]),
    ):
        log = []
        given = pictures(1) * (usual + 1) if name == "Matcher" else ["sun"] * (usual + 1)
        assert len(calls(name, log)(given, **asked)) == usual + 1
        assert [shape[0] for shape, _ in log] == sizes


@pytest.mark.parametrize("name", ["Embedder", "TextClassifier", "Matcher of texts", "Matcher"])
def test_what_is_read_lies_where_the_model_does(name):
    """The meta device computes nothing, but says where."""
    log = []
    given = pictures(3) if name == "Matcher" else TEXTS[:3]
    assert len(calls(name, log, "meta")(given, at_once=2)) == 3
    assert [(shape[0], places) for shape, places in log] == [(2, {"meta"}), (1, {"meta"})]


def test_a_text_with_a_mask_is_read_where_the_model_lies():
    """The stand-in gives the same for all words."""
    log = []
    size = tokenizer("wordpiece").vocab_size
    model = bert("masked_lm", noting(BERT, "encode", log, rest=(6, size)), "meta")
    model.head = torch.nn.Identity()
    rows = FillMask(model, tokenizer("wordpiece")).fill("[MASK] cat [MASK] sat", top=2)
    assert [[guess.probability for guess in row] for row in rows] == [
        [pytest.approx(1 / size)] * 2
    ] * 2
    assert log == [((1, 6), {"meta"})]


@pytest.mark.parametrize(("name", "added"), [("Embedder", 2), ("Matcher of texts", 2)])
def test_texts_of_like_length_share_a_batch_the_longest_first(name, added):
    """So that little is padding: words of 1, 3, 13 (11 are read by a CLIP of 13 tokens) and 1."""
    log = []
    calls(name, log)(["sun", "the cat sat", "a " * 13, "dog"], at_once=2)
    longest = 13 if name != "Embedder" else 13 + added
    assert [shape for shape, _ in log] == [(2, longest), (2, 1 + added)]


def test_pixels_lie_where_the_model_does_in_its_dtype():
    for device in ("cpu", "meta"):
        seer = Seer(vit(device=device), PROCESSOR)
        ((kept, pixels),) = seer.batches(pictures(2))
        assert (kept, pixels.device.type, pixels.dtype) == ([True, True], device, torch.float64)


def test_a_processor_that_reads_nothing_gives_a_batch_of_none():
    heard, done = [], []
    seer = Seer(vit(), PROCESSOR)
    found = list(
        seer.batches([b"no", b"nor"], at_once=1, unreadable=heard.append, done=done.append)
    )
    assert [(kept, tuple(pixels.shape)) for kept, pixels in found] == [
        ([False], (0, 3, 12, 10))
    ] * 2
    assert [(type(bad), bad.index) for bad in heard] == [(Unreadable, 0), (Unreadable, 1)]
    assert done == [1, 1]


def test_an_input_is_moved_to_the_model_and_pixels_take_its_dtype():
    explainer = Explainer(vit(device="meta").bfloat16(), None, PROCESSOR)
    pixels, ids = explainer.placed(torch.zeros(2)), explainer.placed(torch.zeros(2).long())
    assert (pixels.device.type, pixels.dtype) == ("meta", torch.bfloat16)
    assert (ids.device.type, ids.dtype) == ("meta", torch.int64)
    assert explainer.mean is False


@pytest.mark.parametrize("kind", [Explainer, Matcher])
def test_a_folder_is_read_onto_the_device_that_is_named(tmp_path, kind):
    made = matcher()
    for part in (made.processor, made.tokenizer):
        part.save(tmp_path)
    made.model.save_pretrained(tmp_path)
    read = kind.from_folder(tmp_path, device="meta", dtype=torch.bfloat16).model
    assert {(p.device.type, p.dtype) for p in read.parameters()} == {("meta", torch.bfloat16)}
    usual = kind.from_folder(tmp_path).model
    assert {(p.device.type, p.dtype) for p in usual.parameters()} == {("cpu", torch.float32)}


def test_vectors_of_pictures_keep_their_length_unless_asked():
    embedder = ImageEmbedder(vit(None), PROCESSOR)
    plain, short = embedder.embed(pictures(2)), embedder.embed(pictures(2), normalize=True)
    assert (plain.norm(dim=1) - 1).abs().min() > 0.1
    near(short, plain / plain.norm(dim=1, keepdim=True))


def test_a_tokenizer_need_only_end_as_the_model_reads_it():
    """Some put no start before a text."""
    made = Tokenizer.train(TEXTS * 3, "clip", vocab=560)
    end = "<|endoftext|>"
    made.backend.post_processor = TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, made.eos_id)]
    )
    assert made.encode("") == [made.eos_id]
    assert Matcher(clip(), PROCESSOR, made).encode_texts(["a cat"]).shape == (1, 14)
    made.backend.post_processor = TemplateProcessing(
        single=f"{end} $A", special_tokens=[(end, made.eos_id)]
    )
    assert Matcher(clip(), PROCESSOR, made).too_long(["a cat"]) == []
    made.backend.post_processor = TemplateProcessing(
        single=f"{end} $A a", special_tokens=[(end, made.eos_id), ("a", 64)]
    )
    with pytest.raises(CheckpointError, match="use the tokenizer it was trained with"):
        Matcher(clip(), PROCESSOR, made)


@pytest.mark.parametrize(("own", "longest"), [(None, 13), (9, 9), (13, 13), (77, 13)])
def test_a_matcher_reads_no_more_than_its_model_or_its_tokenizer(own, longest):
    made = Tokenizer.train(TEXTS * 3, "clip", vocab=560, longest=own)
    found = Matcher(clip(), PROCESSOR, made)
    assert found.longest == longest
    assert found.too_long(["a " * (longest - 2), "a " * (longest - 1)]) == [1]


@pytest.mark.parametrize(
    "images",
    ["a.png", b"", bytearray(), memoryview(b""), 3, pictures(1)[0], np.zeros((2, 2, 3))],
    ids=["path", "bytes", "array", "view", "number", "picture", "pixels"],
)
def test_one_picture_is_no_list_of_pictures(images):
    with pytest.raises(TypeError, match=r"images is one picture; pass a list: \[image\]"):
        check_pictures(images, 1)


@pytest.mark.parametrize("images", [[], (), iter([1]), np.zeros((1, 2, 2, 3)), {"a": 1}.values()])
def test_whatever_holds_pictures_is_taken(images):
    check_pictures(images, 1)
    with pytest.raises(ValueError, match="at_once is 0; expected at least 1"):
        check_pictures(images, 0)


def test_labels_stand_in_each_template_label_by_label():
    found = sentences(["a", "{}"], ["{} {}", "x{}"])
    assert found == ["a a", "xa", "{} {}", "x{}"]
    assert sentences(["only"], ["{}"]) == ["only"]


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, None)],
    ids=str,
)
def test_probabilities_are_taken_in_float32_or_more(dtype, expected):
    assert wide(torch.ones(2, dtype=dtype)).dtype == (expected or dtype)


@pytest.mark.parametrize(
    ("side", "times"), [(100, 5), (170, 3), (200, 2), (256, 2), (257, 1), (600, 1)]
)
def test_a_view_has_as_many_pixels_as_fit_512(side, times):
    """The longer side counts, whichever it is."""
    for size in ((side, 20), (20, side)):
        processor = ImageProcessor.vit(size=size)
        view = framed(processor, pictures(1)[0], torch.zeros(1, 3, *size))
        assert view.size == (size[1] * times, size[0] * times)


def test_drawings_of_different_widths_stand_at_the_left_on_white():
    small, wide_ = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (4, 1), "blue")
    sheet = stacked([small, wide_, small])
    assert sheet.size == (4, 7)
    rows = [[sheet.getpixel((x, y)) for x in range(4)] for y in range(7)]
    red, blue, white = (255, 0, 0), (0, 0, 255), (255, 255, 255)
    assert rows == [[red, red, white, white]] * 3 + [[blue] * 4] + [[red, red, white, white]] * 3


def test_ranks_leave_out_what_is_nan_and_keep_the_order_of_equals():
    rows = torch.zeros(5, 14, dtype=torch.float64)
    rows[0, 0], rows[1], rows[2, 1], rows[3, 0], rows[4, 0] = 0.5, torch.nan, 1.0, 0.5, 1.0
    query = torch.zeros(14, dtype=torch.float64)
    query[0] = 1.0
    found = matcher().ranked(rows, query)
    assert [(m.index, m.cosine) for m in found] == [(4, 1.0), (0, 0.5), (3, 0.5), (2, 0.0)]
    scale = matcher().model.scale().item()
    shares = (scale * torch.tensor([1.0, 0.5, 0.5, 0.0], dtype=torch.float64)).softmax(0)
    assert [m.probability for m in found] == pytest.approx(shares.tolist(), abs=1e-12)

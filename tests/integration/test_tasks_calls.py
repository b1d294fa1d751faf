"""Tasks on models in memory: what is usual, which device reads, what shares a batch, borders."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers.processors import TemplateProcessing

from zoo.checkpoint import CheckpointError
from zoo.generate import Sampling
from zoo.images import ImageProcessor
from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig
from zoo.tasks import (
    Embedder,
    FillMask,
    Generator,
    ImageClassifier,
    ImageEmbedder,
    Label,
    Matcher,
    TextClassifier,
)
from zoo.tasks.explain import Explainer, framed, stacked
from zoo.tasks.match import sentences
from zoo.tasks.pictures import Seer, Unreadable, check_pictures, wide
from zoo.tasks.text import EmbeddingConfig, Guess, elsewhere, read_embedding_config, unit
from zoo.tokenizers import Tokenizer

TEXTS = ["sun", "the cat sat", "a dog ran in the garden and a cat sat in the house", "rain"]
SIZES = {"width": 20, "depth": 1, "heads": 4}
EYE = {"image": (12, 10), "patch": (3, 5)}
PROCESSOR = ImageProcessor.vit(size=EYE["image"])


@functools.cache
def tokenizer(kind):
    return Tokenizer.train(TEXTS * 3, kind, vocab={"bpe": 270, "wordpiece": 90, "clip": 560}[kind])


def loud(model, device="cpu"):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.double().eval().to(device)


def bert(head=None, kind=BERT, device="cpu", **changes):
    sizes = SIZES | {"vocab": tokenizer("wordpiece").vocab_size, "context": 24} | changes
    return loud(kind(BERTConfig(**sizes), head), device)


def gpt2(head="lm", kind=GPT2, device="cpu", **changes):
    sizes = SIZES | {"vocab": tokenizer("bpe").vocab_size, "context": 24} | changes
    return loud(kind(GPT2Config(**sizes), head), device)


def vit(head="image", device="cpu", **changes):
    return loud(ViT(ViTConfig(**EYE, **SIZES, **changes), head), device)


def clip(head="match", kind=CLIP, device="cpu", **changes):
    towers = {f"{t}_{name}": size for t in ("image", "text") for name, size in SIZES.items()}
    tok = tokenizer("clip")
    sizes = {"vocab": tok.vocab_size, "end": tok.eos_id, "context": 13, "embed": 14}
    return loud(kind(CLIPConfig(**EYE, **towers, **sizes | changes), head), device)


def matcher(model=None):
    return Matcher(clip() if model is None else model, PROCESSOR, tokenizer("clip"))


def pictures(count):
    draw = np.random.default_rng(0)
    shape = (*EYE["image"], 3)
    return [Image.fromarray(draw.integers(0, 256, shape).astype(np.uint8)) for _ in range(count)]


def near(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_classes_of_texts_without_names_are_numbered(kind):
    made = {"bert": (bert, "wordpiece"), "gpt2": (gpt2, "bpe")}[kind]
    classifier = TextClassifier(made[0]("sequence", classes=3), tokenizer(made[1]))
    rows = classifier.classify(TEXTS)
    names = {"LABEL_0", "LABEL_1", "LABEL_2"}
    assert [{label.name for label in row} for row in rows] == [names] * 4
    assert [[label] for label, *_ in rows] == classifier.classify(TEXTS, top=1)
    assert classifier.classify([]) == []


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_text_to_classify_loses_its_end_at_the_context(kind):
    """Also where the tokenizer would let it be longer."""
    made = {"bert": (bert, "wordpiece"), "gpt2": (gpt2, "bpe")}[kind]
    tok = Tokenizer.train(TEXTS * 3, made[1], vocab=tokenizer(made[1]).vocab_size, longest=99)
    classifier = TextClassifier(made[0]("sequence", classes=3), tok)
    short = tok.batch(["sun " * 60], longest=24)
    with torch.no_grad():
        chances = classifier.model(**short)[0].softmax(-1).sort(descending=True).values
    (row,) = classifier.classify(["sun " * 60])
    assert [label.probability for label in row] == pytest.approx(chances.tolist(), rel=1e-6)


def test_a_damaged_file_beside_a_model_is_named(tmp_path):
    (tmp_path / "modules.json").write_bytes(b"[\xff]")
    with pytest.raises(
        CheckpointError, match=r"modules\.json is not JSON: .*can't decode byte 0xff"
    ):
        read_embedding_config(tmp_path)
    (tmp_path / "modules.json").write_text('[{"type": "é.Normalize"}]', encoding="utf-8")
    assert read_embedding_config(tmp_path).normalize is True


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


def test_vectors_become_as_long_as_one_however_short_they_are():
    vectors = torch.tensor([[3.0, 4.0], [3e-9, 4e-9], [0.0, 0.0]], dtype=torch.float64)
    near(unit(vectors), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]], dtype=torch.float64))


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
    ("prompt", "context", "asked", "most"),
    [
        (0, 24, {}, 23),
        (1, 24, {}, 23),
        (2, 24, {}, 22),
        (22, 24, {}, 2),
        (23, 24, {}, 1),
        (24, 24, {}, 1),
        (30, 24, {}, 1),
        (2, 200, {}, 128),
        (2, 130, {}, 128),
        (2, 129, {}, 127),
        (2, 24, {"max_new_tokens": 99}, 99),
    ],
)
def test_without_a_length_a_text_goes_to_the_end_of_the_context(prompt, context, asked, most):
    generator = Generator(gpt2(context=context), tokenizer("bpe"))
    found = generator.sampling("." * prompt, {"seed": 3, "temperature": 0.5} | asked)
    assert len(generator.tokenizer.encode("." * prompt)) == prompt
    assert found == Sampling(seed=3, temperature=0.5, max_new_tokens=most)


EMBEDDING = {
    "nothing": ({}, EmbeddingConfig("mean", False, None)),
    "the first token": (
        {"1_Pooling/config.json": {"pooling_mode_cls_token": True}},
        EmbeddingConfig("cls", False, None),
    ),
    "the largest, of others that are not meant": (
        {
            "1_Pooling/config.json": {
                "pooling_mode_max_tokens": True,
                "pooling_mode_mean_tokens": 1,
                "pooling_mode_cls_token": False,
                "include_prompt": True,
            }
        },
        EmbeddingConfig("max", False, None),
    ),
    "a length": ({"sentence_bert_config.json": {"max_seq_length": 7}}, EmbeddingConfig(longest=7)),
    "parts of which one normalizes": (
        {"modules.json": [{"type": "a.Pooling"}, {}, {"type": "a.b.Normalize"}]},
        EmbeddingConfig(normalize=True),
    ),
    "parts of which none does": (
        {
            "modules.json": [
                {"type": "a.Normalize.b"},
                {"type": "Normalize"},
                {"name": ".Normalize"},
            ]
        },
        EmbeddingConfig(),
    ),
}


def write_all(folder, files):
    for name, held in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(held))


@pytest.mark.parametrize(("files", "config"), EMBEDDING.values(), ids=EMBEDDING)
def test_what_a_folder_says_of_its_vectors(tmp_path, files, config):
    write_all(tmp_path, files)
    assert read_embedding_config(tmp_path) == config


@pytest.mark.parametrize(
    "pooling",
    [
        {"other": True},
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_lasttoken": True},
    ],
    ids=["none", "off", "two", "other"],
)
def test_a_pooling_is_one_of_ours_or_refused(tmp_path, pooling):
    write_all(tmp_path, {"1_Pooling/config.json": pooling})
    words = r"asks for .*; expected one of \['pooling_mode_cls_token', 'pooling_mode_max_tokens'"
    with pytest.raises(CheckpointError, match=words):
        read_embedding_config(tmp_path)


def test_as_many_words_as_there_are_may_be_asked_for():
    filler = FillMask(bert("masked_lm"), tokenizer("wordpiece"))
    size = filler.tokenizer.vocab_size
    (row,) = filler.fill("the [MASK] sat", top=size)
    assert sorted(filler.tokenizer.backend.token_to_id(g.token) for g in row) == [*range(size)]
    assert sum(g.probability for g in row) == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match=f"top {size + 1}; expected 1 to {size}"):
        filler.fill("the [MASK]", top=size + 1)


def test_of_three_masks_each_is_filled_between_the_others():
    filler = FillMask(bert("masked_lm"), tokenizer("wordpiece"))
    rows = filler.fill("[MASK] a [MASK] b [MASK]", top=1)
    places = ["{} a [MASK] b [MASK]", "[MASK] a {} b [MASK]", "[MASK] a [MASK] b {}"]
    for (guess,), place in zip(rows, places, strict=True):
        assert isinstance(guess, Guess)
        before, after = place.split("{}")
        name = guess.token
        glued = before.rstrip() + name[2:] if name.startswith("##") else before + name
        assert guess.filled == glued + after


def test_a_tokenizer_without_a_mask_fills_nothing():
    with pytest.raises(ValueError, match="this tokenizer has no mask token; filling in needs"):
        FillMask(bert("masked_lm"), tokenizer("bpe")).fill("a [MASK]")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: gpt2(), ""),
        (lambda: bert(), ""),
        (lambda: clip(), "; a CLIP compares pictures with texts: zoo match, or Matcher"),
        (lambda: vit(), "; a ViT is for pictures: zoo classify, or ImageEmbedder for vectors"),
    ],
    ids=["gpt2", "bert", "clip", "vit"],
)
def test_another_family_is_pointed_to_where_it_is_of_use(model, words):
    assert elsewhere(model()) == words


SAVED = {"gpt2": (gpt2, "bpe"), "bert": (bert, "wordpiece")}
REFUSED = [
    (Generator, "bert", None, "generating needs a GPT-2 with its language-model head"),
    (Generator, "gpt2", "token", "generating needs a GPT-2 with its language-model head"),
    (FillMask, "gpt2", "lm", "filling in needs a BERT with its masked-LM head"),
    (FillMask, "bert", "token", "filling in needs a BERT with its masked-LM head"),
    (
        TextClassifier,
        "bert",
        "token",
        "classifying texts needs a BERT or GPT-2 with its sequence h",
    ),
    (
        TextClassifier,
        "gpt2",
        "lm",
        "classifying texts needs a BERT or GPT-2 with its sequence head",
    ),
]


@pytest.mark.parametrize(("task", "family", "head", "words"), REFUSED)
def test_a_folder_of_another_kind_is_refused_in_these_words(tmp_path, task, family, head, words):
    SAVED[family][0](head).save_pretrained(tmp_path)
    tokenizer(SAVED[family][1]).save(tmp_path)
    name = {"gpt2": "GPT2", "bert": "BERT"}[family]
    with pytest.raises(CheckpointError) as caught:
        task.from_folder(tmp_path)
    told = f"{tmp_path} holds a {name} with head {head!r}; {words}"
    assert str(caught.value).startswith(told) and str(caught.value).endswith(" head")


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


def test_a_label_a_guess_and_a_config_hold_what_they_are_made_of():
    assert dataclasses.astuple(Label("a", 0.5)) == ("a", 0.5)
    assert dataclasses.astuple(Guess("a", 0.5, "b a")) == ("a", 0.5, "b a")
    assert dataclasses.astuple(EmbeddingConfig()) == ("mean", False, None)

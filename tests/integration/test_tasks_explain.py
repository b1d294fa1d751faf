"""What an answer rests on: shares against rollout by hand, and models that look where they must."""

import json

import pytest
import torch
from PIL import Image

from zoo.checkpoint import CheckpointError
from zoo.evaluate.rollout import over_heads
from zoo.images import ImageProcessor, heat, token_heat
from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig
from zoo.tasks.explain import (
    Explainer,
    checked,
    from_least,
    half,
    largest,
    of_largest,
    stacked,
)
from zoo.tokenizers import Tokenizer

TEXTS = ["the cat sat", "a dog ran in the garden and a cat sat in the house", "rain in the garden"]
SIZES = {"width": 20, "depth": 3, "heads": 4, "hidden": 36}
TOWERS = {f"{t}_{name}": size for t in ("image", "text") for name, size in SIZES.items()}
EYE = {"image": (12, 10), "patch": (3, 5)}  # four patches down, two across


def loud(model, std=0.3):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.double().eval()


def seeing(pooling="class", **changes):
    config = ViTConfig(**EYE, **SIZES, classes=3, pooling=pooling, **changes)
    return Explainer(loud(ViT(config)), None, ImageProcessor.vit(size=EYE["image"]))


def reading(family):
    if family == "gpt2":
        tokenizer = Tokenizer.train(TEXTS, "bpe", vocab=270)
        model = GPT2(GPT2Config(vocab=tokenizer.vocab_size, context=24, **SIZES))
    else:
        tokenizer = Tokenizer.train(TEXTS * 3, "wordpiece", vocab=90)
        model = BERT(BERTConfig(vocab=tokenizer.vocab_size, context=24, **SIZES))
    return Explainer(loud(model), tokenizer)


def both(head="match"):
    tokenizer = Tokenizer.train(TEXTS, "clip", vocab=600)
    config = CLIPConfig(
        **EYE, **TOWERS, embed=9, vocab=tokenizer.vocab_size, context=30, end=tokenizer.eos_id
    )
    return Explainer(loud(CLIP(config, head)), tokenizer, ImageProcessor.clip(size=EYE["image"]))


def picture(height=12, width=10, light=None):
    """Draw noise, or a dark picture with a lit (top, left, bottom, right)."""
    if light is None:
        pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
    else:
        top, left, bottom, right = light
        pixels = torch.zeros(height, width, 3, dtype=torch.uint8)
        pixels[top:bottom, left:right] = 255
    return Image.fromarray(pixels.numpy())


def by_hand(maps, head="mean"):
    """Roll one row of a batch out in loops over its numbers."""
    result = None
    for attention in maps:
        mixed = over_heads(attention, head)[0].tolist()
        t = len(mixed)
        for i in range(t):
            mixed[i][i] += 1
            total = sum(mixed[i])
            mixed[i] = [x / total for x in mixed[i]]
        before = result or [[float(i == j) for j in range(t)] for i in range(t)]
        result = [
            [sum(mixed[i][k] * before[k][j] for k in range(t)) for j in range(t)] for i in range(t)
        ]
    return torch.tensor(result, dtype=torch.float64)


def near(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


LAYERS = pytest.mark.parametrize(
    ("layers", "numbers"), [(None, (0, 1, 2)), ([-1, 0], (0, 2)), (1, (1,))]
)


@LAYERS
@pytest.mark.parametrize("head", ["mean", "max", "min"])
@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_text_is_read_where_its_answer_is(family, head, layers, numbers):
    explainer = reading(family)
    batch = explainer.tokenizer.batch(TEXTS[:1])
    maps = explainer.model.attention_maps(**batch, layers=numbers)
    found = explainer.text(TEXTS[0], layers=layers, head=head)
    reader = 0 if family == "bert" else batch["input_ids"].shape[1] - 1
    assert (found.reader, found.layers) == (reader, numbers)
    near(found.shares, by_hand(maps.values(), head)[reader])
    near(found.shares.sum(), torch.tensor(1.0).double())


@pytest.mark.parametrize("family", ["gpt2", "bert", "clip"])
@pytest.mark.parametrize(("token", "reader"), [(1, 1), (-2, -2)])
def test_any_token_may_be_asked(family, token, reader):
    explainer = both() if family == "clip" else reading(family)
    model = explainer.model.text if family == "clip" else explainer.model
    maps = model.attention_maps(**explainer.tokenizer.batch(TEXTS[:1]))
    found = explainer.text(TEXTS[0], token=token)
    near(found.shares, by_hand(maps.values())[reader])
    assert found.reader == reader % len(found.tokens)


def test_tokens_are_shown_as_they_stand_in_the_text():
    found = reading("bert").text("The cat SAT")
    assert found.tokens == ("[CLS]", "The", "cat", "SAT", "[SEP]")
    pieces = reading("gpt2").text("the cat sat").tokens
    assert "".join(piece for piece in pieces if piece != "Ġ") == "thecatsat"


def test_clip_reads_its_text_at_the_end_token():
    explainer = both()
    found = explainer.text("a cat")
    assert found.reader == len(found.tokens) - 1
    maps = explainer.model.text.attention_maps(**explainer.tokenizer.batch(["a cat"]))
    near(found.shares, by_hand(maps.values())[-1])
    twice = explainer.text("a cat<|endoftext|> sat")
    assert (twice.reader, len(twice.tokens)) == (found.reader, found.reader + 3)


PREFIXES = {
    "class": ({}, 1),
    "registers": ({"registers": 2}, 3),
    "mean": ({"pooling": "mean"}, 1),
    "mean-bare": ({"pooling": "mean", "class_token": False}, 0),
}


@LAYERS
@pytest.mark.parametrize(("changes", "prefix"), PREFIXES.values(), ids=PREFIXES)
def test_a_picture_is_shared_among_its_patches(changes, prefix, layers, numbers):
    explainer, noise = seeing(**changes), picture()
    maps = explainer.model.attention_maps(explainer.processor([noise]).double(), layers=numbers)
    rolled = by_hand(maps.values())
    row = rolled[prefix:].mean(0) if changes.get("pooling") else rolled[0]
    found = explainer.picture(noise, layers=layers)
    near(found.shares, (row[prefix:] / row[prefix:].sum()).view(4, 2))
    assert found.layers == numbers


def test_a_picture_with_masked_patches_is_drawn_from_all():
    model = loud(ViT(ViTConfig(**EYE, **SIZES), "masked_image"))
    explainer, noise = Explainer(model, None, ImageProcessor.vit(size=EYE["image"])), picture()
    maps = model.attention_maps(explainer.processor([noise]).double())
    row = by_hand(maps.values())[1:].mean(0)[1:]
    near(explainer.picture(noise).shares, (row / row.sum()).view(4, 2))


def test_any_patch_may_be_asked():
    explainer, noise = seeing(registers=2), picture()
    maps = explainer.model.attention_maps(explainer.processor([noise]).double())
    row = by_hand(maps.values())[3 + 5, 3:]
    near(explainer.picture(noise, token=5).shares, (row / row.sum()).view(4, 2))
    near(explainer.picture(noise, token=-3).shares, (row / row.sum()).view(4, 2))


@pytest.mark.parametrize(("head", "pooled"), [("match", False), ("image", True)])
def test_clips_classifier_reads_the_patches_and_its_matcher_the_class_token(head, pooled):
    explainer, noise = both(head), picture()
    maps = explainer.model.image.attention_maps(explainer.processor([noise]).double())
    rolled = by_hand(maps.values())
    row = (rolled[1:].mean(0) if pooled else rolled[0])[1:]
    near(explainer.picture(noise).shares, (row / row.sum()).view(4, 2))


def seek_light(tower):
    """Make every query look for bright patches: the first channel is their brightness."""
    for parameter in tower.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        tower.patch.weight[0] = 1
        for block in tower.blocks:
            width = block.norm1.weight.shape[0]
            block.norm1.weight.fill_(1)
            block.attn.qkv.bias[:width] = 1  # queries
            block.attn.qkv.weight[width : 2 * width, 0] = 9  # keys


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 0), (1, 1), (2, 1)])
def test_what_all_look_at_has_the_largest_share(row, column):
    explainer = seeing()
    seek_light(explainer.model)
    lit = picture(light=(3 * row, 5 * column, 3 * row + 3, 5 * column + 5))
    (best, second) = explainer.picture(lit).top(2)
    assert best[:2] == (row, column)
    assert best[2] > 0.9 > 0.1 > second[2]


def test_what_a_crop_leaves_out_takes_no_share():
    """CLIP cuts the middle out: light at the rim is not seen, light behind it moves over."""
    explainer = both()
    seek_light(explainer.model.image)
    explainer.model.image.norm_in.weight.data.fill_(1)
    ((_, _, rim),) = explainer.picture(picture(12, 36, light=(0, 0, 12, 11))).top(1)
    assert rim == pytest.approx(1 / 8)
    best = explainer.picture(picture(12, 36, light=(6, 18, 9, 23))).top(1)[0]
    assert best[:2] == (2, 1)


def test_the_view_is_what_the_model_sees_of_the_picture():
    """In more pixels: the crop is the same, so the heat lies where it should."""
    explainer = both()
    view = explainer.picture(picture(12, 36, light=(0, 0, 12, 18))).view
    assert view.size == (10 * 42, 12 * 42)
    assert view.getpixel((5, 250)) == (255, 255, 255)
    assert view.getpixel((410, 250)) == (0, 0, 0)
    middle = [view.getpixel((x, 250))[0] for x in range(view.width)]
    assert abs(sum(value > 127 for value in middle) - view.width / 2) <= 2


def test_a_processor_that_does_not_resize_gives_its_own_pixels():
    size = {"height": 12, "width": 10}
    cut = ImageProcessor(do_resize=False, do_center_crop=True, crop_size=size)
    noise = picture(20, 16)
    view = Explainer(seeing().model, None, cut).picture(noise).view
    assert view.tobytes() == noise.crop((3, 4, 13, 16)).tobytes()


def test_a_grey_picture_is_drawn_like_any_other():
    config = ViTConfig(**EYE, **SIZES, channels=1)
    grey = ImageProcessor(size={"height": 12, "width": 10}, image_mean=(0.5,), image_std=(0.5,))
    found = Explainer(loud(ViT(config)), None, grey).picture(picture())
    assert (found.view.mode, found.draw().mode) == ("RGB", "RGB")


def test_a_picture_is_drawn_from_its_least_share_to_its_largest():
    found = seeing().picture(picture())
    assert found.draw().tobytes() == heat(found.view, from_least(found.shares)).tobytes()


def test_a_text_is_drawn_by_the_largest_word_beside_the_reader():
    found = reading("gpt2").text("the cat sat", token=2)
    words = torch.arange(len(found.tokens)) != 2
    expected = token_heat(found.tokens, of_largest(found.shares, words), width=300)
    assert found.draw(width=300).tobytes() == expected.tobytes()
    assert found.draw().width == 720


def test_drawings_stand_one_below_the_other():
    explainer, noise = both(), picture()
    seen, read = explainer.picture(noise), explainer.text("a cat")
    drawings = [seen.draw(), read.draw()]
    (a, b), sheet = drawings, stacked(drawings)
    assert sheet.size == (max(a.width, b.width), a.height + b.height)
    assert sheet.crop((0, 0, *a.size)).tobytes() == a.tobytes()
    assert sheet.crop((0, a.height, b.width, sheet.height)).tobytes() == b.tobytes()


def test_even_shares_draw_no_heat():
    explainer = seeing()
    seek_light(explainer.model)
    found = explainer.picture(picture(light=(0, 0, 0, 0)))
    near(found.shares, torch.full((4, 2), 1 / 8).double())
    assert found.draw().mode == "RGB"


def test_a_pair_has_the_cosine_that_clip_gives():
    explainer, noise = both(), picture()
    batch = explainer.tokenizer.batch(["a cat"])
    with torch.no_grad():
        logit = explainer.model(**batch, pixel_values=explainer.processor([noise]).double())
        expected = logit / explainer.model.scale()
    assert explainer.match(noise, "a cat") == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize(
    ("family", "call", "sentence"),
    [
        ("vit", lambda e: e.text("cat"), "a ViT with head 'image' reads no texts; give it a pict"),
        ("vit", lambda e: e.picture(picture(), token=8), "patch 8; there are 8 patches, numbered"),
        ("vit", lambda e: e.picture(picture(), token=-9), "patch -9; there are 8 patches"),
        ("vit", lambda e: e.picture(picture(), layers=[3]), "layer 3; the blocks have numbers 0 t"),
        ("vit", lambda e: e.picture(picture(), head="sum"), "head 'sum'; expected one of"),
        ("vit", lambda e: e.picture(b"no picture"), "picture of 10 bytes is damaged, or no"),
        ("vit", lambda e: e.match(picture(), "cat"), "does not compare pictures with texts"),
        ("gpt2", lambda e: e.picture(picture()), "a GPT2 with head 'lm' sees no pictures; give it"),
        ("gpt2", lambda e: e.text(""), "the text has no tokens"),
        ("gpt2", lambda e: e.text("cat " * 60), "tokens, more than 24"),
        ("gpt2", lambda e: e.text("cat", token=9), "token 9; there are"),
    ],
)
def test_what_cannot_be_explained_is_refused(family, call, sentence):
    explainer = seeing() if family == "vit" else reading(family)
    with pytest.raises(ValueError, match=sentence):
        call(explainer)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda e: e.picture(picture()), "pictures need a processor"),
        (lambda e: e.text("cat"), "texts need a tokenizer"),
        (lambda e: e.match(picture(), "cat"), "does not compare pictures with texts"),
    ],
    ids=["picture", "text", "pair"],
)
def test_a_model_alone_explains_nothing(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call(Explainer(both().model))


def test_the_processor_and_the_tokenizer_must_be_the_models():
    made = both()
    with pytest.raises(CheckpointError, match="the processor makes"):
        Explainer(made.model, made.tokenizer, ImageProcessor.vit())
    lost = Explainer(made.model, Tokenizer.train(TEXTS, "bpe", vocab=270), made.processor)
    with pytest.raises(ValueError, match="the text has no end token"):
        lost.text("cat")


@pytest.mark.parametrize("family", ["vit", "gpt2", "bert", "clip"])
def test_a_folder_holds_all_that_is_needed(tmp_path, family):
    made = {"vit": seeing, "clip": both}.get(family, lambda: reading(family))()
    made.model.save_pretrained(tmp_path)
    for part in (made.tokenizer, made.processor):
        if part is not None:
            part.save(tmp_path)
    found = Explainer.from_folder(tmp_path, dtype=torch.float64)
    noise = picture()
    if family in ("vit", "clip"):
        near(found.picture(noise).shares, made.picture(noise).shares)
    if family != "vit":
        near(found.text(TEXTS[0]).shares, made.text(TEXTS[0]).shares)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_in_low_precision_is_explained_as_well(dtype):
    explainer = seeing()
    explainer.model.to(dtype)
    shares = explainer.picture(picture()).shares
    assert shares.dtype == torch.float32
    assert float(shares.sum()) == pytest.approx(1, abs=1e-5)


def test_heat_is_full_on_the_largest_share():
    shares = torch.tensor([[0.2, 0.5], [0.1, 0.2]], dtype=torch.float64)
    near(from_least(shares), torch.tensor([[0.25, 1], [0, 0.25]], dtype=torch.float64))
    assert not from_least(torch.full((2, 3), 0.25)).any()


@pytest.mark.parametrize(("rows", "hot"), [(7, 1), (10, 3)])
def test_one_patch_in_fifty_may_be_a_sink(rows, hot):
    """Of 49 patches the largest has full heat; of 100 the third, and the two sinks no more."""
    shares = torch.arange(rows * rows, dtype=torch.float64).view(rows, rows)
    shares[0, 0], shares[0, 1] = 1000, 2000
    heated = from_least(shares)
    assert int((heated == 1).sum()) == hot
    assert float(heated.min()) == 0


@pytest.mark.parametrize(
    ("among", "expected"),
    [
        ([True, True, True], [1, 0.25, 0.5]),
        ([False, True, True], [1, 0.5, 1]),
        ([False, False, False], [1, 0.25, 0.5]),
    ],
    ids=["all", "words", "no-words"],
)
def test_words_are_coloured_by_the_largest_word(among, expected):
    shares = torch.tensor([0.4, 0.1, 0.2], dtype=torch.float64)
    near(of_largest(shares, torch.tensor(among)), torch.tensor(expected).double())


@pytest.mark.parametrize("family", ["bert", "clip"])
def test_tokens_that_stand_for_nothing_in_the_text_are_no_words(family):
    explainer = both() if family == "clip" else reading(family)
    found = explainer.text("the cat sat")
    assert [found.words[0], found.words[-1]] == [False, False]
    assert bool(found.words[1:-1].all())


@pytest.mark.parametrize(
    ("pooling", "mean"), [(None, False), ("mean_tokens", True), ("cls_token", False)]
)
def test_a_sentence_embedder_reads_all_tokens_where_it_says_so(tmp_path, pooling, mean):
    made = reading("bert")
    bare = loud(BERT(made.model.config, None))
    bare.save_pretrained(tmp_path)
    made.tokenizer.save(tmp_path)
    if pooling is not None:
        (tmp_path / "1_Pooling").mkdir()
        config = json.dumps({f"pooling_mode_{pooling}": True})
        (tmp_path / "1_Pooling" / "config.json").write_text(config)
    rolled = by_hand(bare.attention_maps(**made.tokenizer.batch(TEXTS[:1])).values())
    found = Explainer.from_folder(tmp_path, dtype=torch.float64).text(TEXTS[0])
    near(found.shares, rolled.mean(0) if mean else rolled[0])
    assert found.reader == (None if mean else 0)
    assert found.draw().mode == "RGB"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([1.0], 1), ([0.5, 0.5], 1), ([0.4, 0.2, 0.4], 2), ([0.25] * 4, 2), ([0.1, 0.1, 0.8], 1)],
)
def test_half_of_all_lies_in_few(shares, expected):
    assert half(torch.tensor(shares)) == expected


def test_the_largest_come_first_and_of_equals_the_first():
    shares = torch.tensor([[0.25, 0.125], [0.25, 0.375]])
    assert largest(shares, 3) == [(3, 0.375), (0, 0.25), (2, 0.25)]
    assert len(largest(shares, 9)) == 4


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (4, 4), (-1, 4), (-5, 0)])
def test_a_number_counts_from_either_end(number, expected):
    assert checked(number, 5, "patch", "patches") == expected

"""What a model promises beside its checks: counts, shapes, errors, switches."""

import pytest
import torch

from unit.models.tiny import HEADS, LEARNED, MAIN, RATES, SHAPES, example, labelled, tiny
from zoo.models import BERT, GPT2, MODELS, BERTConfig, GPT2Config, preset
from zoo.objectives import OBJECTIVES
from zoo.testing.reference import reference_ops

COUNTS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "clip-vit-base-patch16": 149_620_737,
    "clip-vit-base-patch32": 151_277_313,
    "clip-vit-large-patch14": 427_616_513,
    "vit-base-patch16-224": 86_567_656,
    "vit-base-patch32-224": 88_224_232,
    "vit-large-patch16-224": 304_326_632,
}
EACH_HEAD = pytest.mark.parametrize(("family", "head"), HEADS, ids=lambda v: str(v))


@pytest.mark.parametrize("name", COUNTS)
def test_presets_have_the_published_parameter_counts(name):
    spec, config = preset(name)
    with torch.device("meta"):
        model = spec.build(config, head=None if spec.name == "bert" else MAIN[spec.name])
    assert model.parameter_count() == COUNTS[name]


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match="no preset 'gpt3'; there are"):
        preset("gpt3")


@EACH_HEAD
def test_each_head_gives_its_shape(family, head):
    model = tiny(family, head)
    assert model(**example(family, head, model)).shape == SHAPES[family, head]


@EACH_HEAD
def test_every_gradient_equals_that_of_torchs_own_ops(family, head):
    model = tiny(family, head)
    batch = example(family, head, model)
    weights = torch.randn(model(**batch).shape, dtype=torch.float64)

    def gradients():
        model.zero_grad()
        (model(**batch) * weights).sum().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    mine = gradients()
    with reference_ops():
        expected = gradients()
    assert mine.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(mine[name], expected[name], rtol=1e-11, atol=1e-11)


CLASSIFIED = [(family, head) for family, head in LEARNED if head not in ("match", "masked_image")]


@pytest.mark.parametrize(("family", "head"), CLASSIFIED, ids=str)
def test_an_objective_equals_cross_entropy_of_the_logits(family, head):
    model = tiny(family, head)
    batch = labelled(family, head, model)
    logits = model(**{k: v for k, v in batch.items() if k != "labels"})
    labels = batch["labels"]
    if head == "lm":
        logits, labels = logits[:, :-1], labels[:, 1:]
    if head == "span":
        logits = logits.transpose(1, 2)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
    torch.testing.assert_close(
        OBJECTIVES[head](model, batch), expected, rtol=1e-12, atol=1e-12, check_dtype=False
    )


def test_a_padded_token_neither_is_a_target_nor_makes_a_guess():
    model = tiny("gpt2", "lm")
    ids = torch.randint(1, 97, (1, 6))
    alone = OBJECTIVES["lm"](model, {"input_ids": ids})
    for left, right in [(3, 0), (0, 3), (2, 1)]:
        padded = torch.nn.functional.pad(ids, (left, right))
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right))
        loss = OBJECTIVES["lm"](model, {"input_ids": padded, "attention_mask": mask})
        torch.testing.assert_close(loss, alone, rtol=1e-12, atol=1e-12)


def rates_of(family):
    return [rate for rate in RATES if hasattr(MODELS[family].presets[f"{family}-tiny"], rate)]


@pytest.mark.parametrize("family", sorted(MODELS))
def test_recomputing_activations_changes_no_number(family):
    head = MAIN[family]
    model = tiny(family, head, **dict.fromkeys(rates_of(family), 0.2)).train()
    batch = labelled(family, head, model)

    def step():
        model.zero_grad()
        torch.manual_seed(5)
        loss = OBJECTIVES[head](model, batch)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in model.parameters())]

    plain = step()
    model.recompute = True
    again = step()
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.parametrize("family", sorted(MODELS))
def test_dropout_acts_in_training_only_and_everywhere(family):
    """Turn on one rate at a time: each must change what the model gives."""
    head = "token" if family in ("bert", "gpt2") else MAIN[family]
    for rate in rates_of(family):
        model = tiny(family, head, **{rate: 0.5})
        batch = example(family, head, model)
        quiet = model.eval()(**batch)
        assert torch.equal(quiet, model(**batch))
        torch.manual_seed(1)
        first = model.train()(**batch)
        torch.manual_seed(1)
        assert torch.equal(first, model(**batch))
        assert not torch.equal(first, model(**batch))
        assert not torch.equal(first, quiet)


def test_fresh_weights_are_as_in_the_papers():
    torch.manual_seed(0)
    gpt2 = GPT2(GPT2Config(vocab=500, context=300, width=64, depth=8, heads=4))
    deviations = {n: p.std().item() for n, p in gpt2.named_parameters() if p.dim() == 2}
    for name, deviation in deviations.items():
        added = name.endswith(("attn.out.weight", "mlp.down.weight"))
        assert deviation == pytest.approx(0.02 / (16**0.5 if added else 1), rel=0.05), name
    bert = BERT(BERTConfig(vocab=500, context=300, width=64, depth=2, heads=4, hidden=200))
    for name, parameter in bert.named_parameters():
        if parameter.dim() == 2 and parameter.numel() > 1000:
            assert parameter.abs().max() <= 0.04, name
            assert parameter.std().item() == pytest.approx(0.0176, rel=0.05), name
        if name.endswith("bias"):
            assert not parameter.any(), name


def test_a_tied_head_is_the_token_table():
    for model in (tiny("gpt2", "lm"), tiny("bert", "masked_lm")):
        assert model.head.weight is model.tokens.weight
    for model in (tiny("gpt2", "lm", tied=False), tiny("bert", "masked_lm", tied=False)):
        assert model.head.weight is not model.tokens.weight


@pytest.mark.parametrize(
    ("act", "error", "sentence"),
    [
        (lambda: GPT2(GPT2Config(), head="span"), ValueError, "GPT-2 has no head 'span'"),
        (lambda: BERT(BERTConfig(), head="lm"), ValueError, "BERT has no head 'lm'"),
        (lambda: GPT2Config(width=10, heads=4), ValueError, "width 10 is not a multiple of heads"),
        (
            lambda: tiny("gpt2", "lm")(torch.full((1, 3), 97)),
            ValueError,
            "holds 97; this vocabulary has ids 0 to 96",
        ),
        (
            lambda: tiny("gpt2", "lm")(torch.ones(1, 25, dtype=torch.long)),
            ValueError,
            "25 tokens, but the context is 24",
        ),
        (
            lambda: tiny("bert", None)(torch.zeros(1, 3, dtype=torch.long)),
            ValueError,
            "padding id 0 but no attention_mask",
        ),
        (
            lambda: tiny("bert", None)(
                torch.ones(1, 3, dtype=torch.long), None, torch.full((1, 3), 2)
            ),
            ValueError,
            "token_type_ids holds 2",
        ),
        (
            lambda: tiny("bert", "multiple_choice")(torch.ones(2, 3, dtype=torch.long)),
            ValueError,
            r"multiple choice expects \(batch, choices, tokens\)",
        ),
        (lambda: tiny("gpt2", "lm").new_cache(1, 25), ValueError, "capacity 25; expected 1 to"),
        (
            lambda: tiny("bert", "span").pooled(torch.zeros(1, 2, 20).double(), None),
            ValueError,
            "head 'span' has no pooler",
        ),
    ],
    ids=range(10),
)
def test_what_cannot_be_meant_is_refused(act, error, sentence):
    with pytest.raises(error, match=sentence):
        act()


def test_a_choice_reads_its_own_row():
    model = tiny("bert", "multiple_choice")
    batch = example("bert", "multiple_choice", model)
    swapped = {name: ids.flip(1) for name, ids in batch.items()}
    torch.testing.assert_close(model(**batch).flip(1), model(**swapped), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_embeddings_do_not_depend_on_the_padding_side(pooling):
    model = tiny("bert", None)
    ids = torch.randint(1, 97, (1, 5))
    alone = model.embed(ids, pooling=pooling)
    for left, right in [(3, 0), (0, 4)]:
        padded = torch.nn.functional.pad(ids, (left, right))
        mask = torch.nn.functional.pad(torch.ones_like(ids), (left, right))
        there = model.embed(padded, mask, pooling=pooling)
        torch.testing.assert_close(there, alone, rtol=1e-12, atol=1e-12)

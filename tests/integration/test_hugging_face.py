"""Our models against Hugging Face's: numbers, gradients, and folders read both ways.

Weights are large (deviation 0.3) and configs random, so that nothing hides behind small numbers;
everything is float64, where two right implementations differ by rounding only.
"""

import random

import pytest
import torch
import transformers

from zoo import keymap
from zoo.models import BERT, GPT2, load

CLASSES = {
    ("gpt2", "lm"): "GPT2LMHeadModel",
    ("gpt2", "sequence"): "GPT2ForSequenceClassification",
    ("gpt2", "token"): "GPT2ForTokenClassification",
    ("gpt2", None): "GPT2Model",
    ("bert", "masked_lm"): "BertForMaskedLM",
    ("bert", "next_sentence"): "BertForNextSentencePrediction",
    ("bert", "sequence"): "BertForSequenceClassification",
    ("bert", "token"): "BertForTokenClassification",
    ("bert", "span"): "BertForQuestionAnswering",
    ("bert", "multiple_choice"): "BertForMultipleChoice",
    ("bert", None): "BertModel",
}
OURS = {"gpt2": GPT2, "bert": BERT}
HEADS = pytest.mark.parametrize(("family", "head"), CLASSES, ids=lambda v: str(v))
SEEDS = pytest.mark.parametrize("seed", range(3))


def random_config(family, head, seed):
    draw = random.Random(f"{family}{seed}")
    heads, size = draw.choice([1, 2, 3, 5]), draw.choice([1, 2, 4, 6])
    shared = {
        "vocab_size": draw.randint(50, 120),
        "num_labels": 2 if head == "span" else draw.randint(1, 5),
        "pad_token_id": 0,
        "tie_word_embeddings": draw.random() < 0.7,
    }
    if family == "gpt2":
        return transformers.GPT2Config(
            n_positions=draw.randint(16, 30),
            n_embd=heads * size,
            n_layer=draw.randint(1, 4),
            n_head=heads,
            n_inner=draw.choice([None, 7, 24]),
            activation_function=draw.choice(["gelu_new", "gelu", "gelu_pytorch_tanh"]),
            layer_norm_epsilon=draw.choice([1e-5, 1e-2]),
            **shared,
        )
    return transformers.BertConfig(
        max_position_embeddings=draw.randint(16, 30),
        hidden_size=heads * size,
        num_hidden_layers=draw.randint(1, 4),
        num_attention_heads=heads,
        intermediate_size=draw.choice([7, 24]),
        type_vocab_size=draw.choice([1, 2, 3]),
        hidden_act=draw.choice(["gelu", "gelu_new", "quick_gelu"]),
        layer_norm_eps=draw.choice([1e-12, 1e-2]),
        **shared,
    )


def random_model(family, head, seed):
    """Make a Hugging Face model in float64 with large weights."""
    torch.manual_seed(seed)
    made = getattr(transformers, CLASSES[family, head])(random_config(family, head, seed))
    made = made.double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.3)
    return made


def random_batch(family, head, config, seed, side):
    """Make rows of different lengths, padded on `side`; ids are never the padding id."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [5, 9, 2] if side else [7, 7, 7]
    t = max(lengths)
    ids = torch.randint(1, config.vocab_size, (3, t), generator=generator)
    mask = torch.ones(3, t, dtype=torch.long)
    for row, length in enumerate(lengths):
        if length < t:
            where = slice(length, None) if side == "right" else slice(None, t - length)
            ids[row, where], mask[row, where] = config.pad_token_id, 0
    batch = {"input_ids": ids}
    if side:
        batch["attention_mask"] = mask
    if family == "bert":
        types = config.type_vocab_size
        batch["token_type_ids"] = torch.randint(0, types, (3, t), generator=generator)
    if head == "multiple_choice":
        batch = {name: torch.stack([x, x.flip(0)], 1) for name, x in batch.items()}
    return batch


def theirs_forward(model, head, batch):
    """Run Hugging Face's model with the positions that a mask implies."""
    batch = dict(batch)
    if "attention_mask" in batch:
        shape = batch["input_ids"].shape
        mask = batch["attention_mask"].flatten(0, -2)
        batch["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0).view(shape)
    if isinstance(model, transformers.GPT2PreTrainedModel):
        batch["use_cache"] = False
    output = model(**batch)
    if head == "span":
        return torch.stack([output.start_logits, output.end_logits], -1)
    return output.last_hidden_state if head is None else output.logits


def real(output, head, batch):
    """Keep the rows that stand for real tokens."""
    if "attention_mask" not in batch or head in ("sequence", "next_sentence", "multiple_choice"):
        return output
    return output[batch["attention_mask"].bool()]


@HEADS
@SEEDS
@pytest.mark.parametrize("side", [None, "right", "left"])
def test_outputs_and_gradients_equal_theirs(tmp_path, family, head, seed, side):
    if (
        side == "left"
        and family == "bert"
        and head in ("next_sentence", "sequence", "multiple_choice")
    ):
        side = "right"  # theirs pools column 0, which is padding: the other tests cover ours
    theirs = random_model(family, head, seed)
    theirs.save_pretrained(tmp_path)
    ours = OURS[family].from_pretrained(tmp_path, dtype=torch.float64)
    assert ours.head_name == head
    batch = random_batch(family, head, theirs.config, seed, side)
    expected = real(theirs_forward(theirs, head, batch), head, batch)
    actual = real(ours(**batch), head, batch)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    weights = torch.randn(expected.shape, dtype=torch.float64)
    (expected * weights).sum().backward()
    (actual * weights).sum().backward()
    gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in ours.named_parameters()
    }
    keys = ours.spec.keys(ours.config)
    mine = keymap.to_theirs(keys, head, gradients, prefix=head is not None)
    expected_gradients = {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in theirs.named_parameters()
    }
    tied = set(expected_gradients) - set(mine)
    assert tied <= {"cls.predictions.decoder.bias"}
    for name, gradient in mine.items():
        torch.testing.assert_close(
            gradient,
            expected_gradients[name],
            rtol=1e-10,
            atol=1e-10,
            msg=lambda m, n=name: f"{n}: {m}",
        )


@HEADS
@SEEDS
def test_a_folder_that_we_save_they_load(tmp_path, family, head, seed):
    theirs = random_model(family, head, seed)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load(tmp_path / "theirs", dtype=torch.float64)
    ours.save_pretrained(tmp_path / "ours")
    kind = getattr(transformers, CLASSES[family, head])
    back, info = kind.from_pretrained(
        tmp_path / "ours", dtype=torch.float64, output_loading_info=True
    )
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    batch = random_batch(family, head, theirs.config, seed, None)
    back.eval()
    torch.testing.assert_close(
        theirs_forward(back, head, batch),
        theirs_forward(theirs, head, batch),
        rtol=1e-12,
        atol=1e-12,  # the same gelu has two names there, and two roundings
    )
    first, second = theirs.state_dict(), back.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    again = load(tmp_path / "ours", dtype=torch.float64)
    assert again.config == ours.config
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True)
    )


def test_left_padding_moves_no_real_token_of_gpt2(tmp_path):
    theirs = random_model("gpt2", "lm", 1)
    theirs.save_pretrained(tmp_path)
    ours = GPT2.from_pretrained(tmp_path, dtype=torch.float64)
    ids = torch.randint(1, ours.config.vocab, (2, 9))
    padded = torch.cat([torch.zeros(2, 4, dtype=torch.long), ids], 1)
    mask = (torch.arange(13) >= 4).long().expand(2, 13)
    moved = (ours(padded, mask)[:, 4:] - ours(ids)).abs().max()
    assert moved == 0
    theirs_moved = (
        (theirs(padded, attention_mask=mask).logits[:, 4:] - theirs(ids).logits).abs().max()
    )
    assert theirs_moved > 0.1  # the fault that this guards against is real

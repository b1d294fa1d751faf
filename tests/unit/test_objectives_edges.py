"""Objectives on models that give what they are told: labels by default, one row, the sign."""

import types

import pytest
import torch
import torch.nn.functional as F

from zoo.objectives import (
    IGNORE,
    at,
    masked_image,
    masked_token,
    next_token,
    reduced,
    span,
    targets_of,
)

D = torch.float64
IDS = torch.tensor([[3, 1, 4, 2], [2, 0, 1, 1]])
MASK = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 0]])


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=D, generator=torch.Generator().manual_seed(seed))


def test_the_tokens_themselves_are_the_labels_by_default():
    assert targets_of({"input_ids": IDS}).tolist() == IDS[:, 1:].tolist()
    masked = targets_of({"input_ids": IDS, "attention_mask": MASK})
    assert masked.tolist() == [[IGNORE, 4, 2], [0, 1, IGNORE]]


def test_labels_go_before_the_tokens():
    labels = IDS.flip(1)
    assert targets_of({"input_ids": IDS, "labels": labels}).tolist() == labels[:, 1:].tolist()


class Decoder:
    """A head of five tokens over hidden states that are given."""

    def __init__(self):
        self.hidden, self.head = randn(2, 4, 6), types.SimpleNamespace(weight=randn(5, 6, seed=1))

    def encode(self, **batch):
        return self.hidden


@pytest.mark.parametrize("smoothing", [None, 0.25])
def test_the_next_token_is_not_smoothed_unless_asked(smoothing):
    model, options = Decoder(), {} if smoothing is None else {"smoothing": smoothing}
    logits = (model.hidden[:, :-1] @ model.head.weight.t()).flatten(0, 1)
    want = F.cross_entropy(logits, IDS[:, 1:].flatten(), label_smoothing=smoothing or 0.0)
    torch.testing.assert_close(next_token(model, {"input_ids": IDS}, **options), want)


class Guesser(Decoder):
    """A head with a layer and a bias of its own, which notes how many tokens it reads."""

    def __init__(self):
        super().__init__()
        self.read = []
        self.head.bias, self.head.features = randn(5, seed=2), self.features

    def features(self, hidden):
        self.read.append(tuple(hidden.shape))
        return hidden.tanh()


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize(
    "labels",
    [[[3, -100, -100, 2], [-100, 0, -100, -100]], [[1, 2, 3, 4], [0, 1, 2, 3]], [[-100] * 4] * 2],
    ids=["some", "all", "none"],
)
def test_the_head_reads_the_tokens_that_count_and_no_others(labels, smoothing):
    model, labels = Guesser(), torch.tensor(labels)
    loss = masked_token(model, {"input_ids": IDS, "labels": labels}, smoothing=smoothing)
    kept = labels != IGNORE
    assert model.read == [(int(kept.sum()), 6)]
    logits = model.hidden[kept].tanh() @ model.head.weight.t() + model.head.bias
    want = F.cross_entropy(logits, labels[kept], label_smoothing=smoothing)
    torch.testing.assert_close(loss, want if kept.any() else loss.new_zeros(()))


@pytest.mark.parametrize(
    ("counted", "mean"), [([1, 0, 0], 5.0), ([1, 1, 0], 4.0), ([0, 0, 0], 0.0)]
)
def test_a_mean_is_over_what_counts(counted, mean):
    losses, counted = torch.tensor([5.0, 3.0, float("nan")]), torch.tensor(counted).bool()
    assert reduced(losses, counted, "mean").item() == mean
    assert reduced(losses, counted, "sum").item() == mean * int(counted.sum())


@pytest.mark.parametrize("classes", [1, 3])
def test_the_logit_of_a_label_is_read_and_none_where_it_does_not_count(classes):
    logits, labels = randn(2, 4, classes), torch.tensor([[0, IGNORE, 0, 0], [IGNORE, 0, 0, 0]])
    labels[0, 3] = classes - 1
    found = at(logits, labels, labels != IGNORE)
    assert found.shape == (2, 4)
    for row, column in (labels != IGNORE).nonzero().tolist():
        assert found[row, column] == logits[row, column, labels[row, column]]
    alone = at(logits[:, 0], labels[:, 0], labels[:, 0] != IGNORE)
    assert alone.shape == (2,) and alone[0] == logits[0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, D], ids=str)
def test_logits_are_read_in_float32_or_more(dtype):
    logits, labels = randn(2, 3).to(dtype), torch.tensor([1, 2])
    found = at(logits, labels, labels != IGNORE)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    assert found.tolist() == [logits[0, 1].item(), logits[1, 2].item()]


class Painter(torch.nn.Module):
    """Draw what is given, in patches of two by three."""

    config = types.SimpleNamespace(patch=(2, 3))

    def forward(self, pixel_values, bool_masked_pos):
        return randn(*pixel_values.shape, seed=1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("hidden", [[(0, 0, 1)], [(0, 1, 2), (1, 0, 0), (1, 1, 1)], []], ids=len)
def test_a_picture_is_judged_by_its_hidden_patches_alone(hidden, reduction):
    """Two rows of 4 x 9 pixels are 2 x 3 patches each; (row, patch down, patch across)."""
    pixels, masked = randn(2, 5, 4, 9), torch.zeros(2, 2, 3, dtype=torch.bool)
    drawn, total = randn(2, 5, 4, 9, seed=1), torch.zeros((), dtype=D)
    for row, down, across in hidden:
        masked[row, down, across] = True
        place = (row, slice(None), slice(2 * down, 2 * down + 2), slice(3 * across, 3 * across + 3))
        total = total + (drawn[place] - pixels[place]).abs().sum()
    batch = {"pixel_values": pixels, "bool_masked_pos": masked.flatten(1)}
    want = total if reduction == "sum" else total / max(1, 30 * len(hidden))
    torch.testing.assert_close(masked_image(Painter(), batch, reduction=reduction), want)


@pytest.mark.parametrize(("hidden", "mean"), [([], 0.0), ([5], 3.0), ([5, 0], 2.5)], ids=str)
def test_patches_of_one_number_are_counted_one_by_one(hidden, mean):
    """Grey pixels that are patches of their own; what is drawn is beside them by 3 and by 2."""

    class Dots(torch.nn.Module):
        config = types.SimpleNamespace(patch=(1, 1))

        def forward(self, pixel_values, bool_masked_pos):
            beside = torch.full((6,), 9.0)
            beside[5], beside[0] = 3.0, -2.0
            return pixel_values + beside.view(1, 1, 2, 3)

    masked = torch.zeros(1, 6, dtype=torch.bool)
    masked[0, hidden] = True
    batch = {"pixel_values": torch.ones(1, 1, 2, 3), "bool_masked_pos": masked}
    assert masked_image(Dots(), batch).item() == mean
    assert masked_image(Dots(), batch, reduction="sum").item() == mean * len(hidden)


class Finder(torch.nn.Module):
    """Give the scores of first and last tokens as they are in the batch."""

    def forward(self, input_ids, attention_mask=None):
        return input_ids


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("real", [None, 4], ids=["whole", "padded"])
def test_the_ends_of_an_answer_are_smoothed_over_the_real_tokens(real, smoothing):
    scores, labels = randn(2, 6, 2), torch.tensor([[1, 3], [0, 2]])
    batch = {"input_ids": scores, "labels": labels}
    if real:
        batch["attention_mask"] = (torch.arange(6) < real).long().expand(2, -1)
    seen = scores[:, : real or 6].transpose(1, 2).flatten(0, 1)
    want = F.cross_entropy(seen, labels.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(span(Finder(), batch, smoothing=smoothing), want)

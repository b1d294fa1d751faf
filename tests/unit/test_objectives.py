"""Every objective's sum, mean and count agree; smoothing and mixing are torch's soft targets."""

import math

import pytest
import torch
from torch.nn import functional as F

from unit.models.tiny import LEARNED, labelled, tiny
from zoo.objectives import (
    COUNTS,
    IGNORE,
    OBJECTIVES,
    SMOOTHED,
    classification,
    inputs_of,
    pair_loss,
    targets_of,
)

CLASSED = [(family, head) for family, head in LEARNED if head in SMOOTHED]
SMOOTH = 0.1


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def ragged(family, head):
    """Make a model and a batch in which neither every token nor every label counts."""
    model = tiny(family, head)
    batch = labelled(family, head, model)
    if "input_ids" in batch and head != "match":
        mask = torch.ones_like(batch["input_ids"])
        mask[0, ..., 7:] = 0
        mask[-1, ..., :2] = 0  # the labels of a span lie where all is real
        batch["attention_mask"] = mask
    if "labels" in batch and head != "lm":
        batch["labels"] = batch["labels"].clone()
        batch["labels"].view(-1)[-1] = IGNORE
    return model, batch


def logits_and_labels(model, batch, head):
    """Give what the loss compares: (n, v) and (n,), of what counts alone."""
    logits, labels, mask = model(**inputs_of(batch)), batch["labels"], batch.get("attention_mask")
    if head == "lm":
        logits, labels = logits[:, :-1], targets_of(batch)
    if head == "span":
        logits = logits.masked_fill(mask[..., None] == 0, -math.inf).transpose(1, 2)
    logits, labels = logits.flatten(0, -2), labels.flatten()
    return logits[labels != IGNORE], labels[labels != IGNORE]


def smoothed(logits, labels, smoothing):
    """Give the targets that smoothing makes: what it takes goes to all that has a chance."""
    possible = (logits > -math.inf).to(logits.dtype)
    spread = smoothing * possible / possible.sum(-1, keepdim=True)
    return spread + (1 - smoothing) * F.one_hot(labels, logits.shape[-1]).to(spread)


def soft(logits, targets):
    """torch's cross entropy, where minus infinity times 0 is 0."""
    return F.cross_entropy(logits.clamp_min(-1e300), targets)


@pytest.mark.parametrize("smoothing", [0.0, SMOOTH])
@pytest.mark.parametrize(("family", "head"), CLASSED, ids=str)
def test_a_loss_is_torchs_cross_entropy_with_soft_targets(family, head, smoothing):
    model, batch = ragged(family, head)
    logits, labels = logits_and_labels(model, batch, head)
    expected = soft(logits, smoothed(logits, labels, smoothing))
    close(OBJECTIVES[head](model, batch, smoothing=smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, SMOOTH])
@pytest.mark.parametrize(("family", "head"), LEARNED, ids=str)
def test_the_sum_is_the_mean_times_the_count(family, head, smoothing):
    model, batch = ragged(family, head)
    options = {"smoothing": smoothing} if head in SMOOTHED else {}
    mean, total = (OBJECTIVES[head](model, batch, reduction=r, **options) for r in ("mean", "sum"))
    count = COUNTS[head](model, batch)
    assert count.dtype == torch.int64
    assert count.shape == ()
    close(total, mean * count)


@pytest.mark.parametrize(("family", "head"), LEARNED, ids=str)
def test_the_mean_without_smoothing_is_what_is_usual(family, head):
    model, batch = ragged(family, head)
    options = {"smoothing": 0.0} if head in SMOOTHED else {}
    usual = OBJECTIVES[head](model, batch)
    assert torch.equal(usual, OBJECTIVES[head](model, batch, reduction="mean", **options))
    if options:  # else equality would say nothing
        assert not torch.equal(usual, OBJECTIVES[head](model, batch, smoothing=1.0))
    if COUNTS[head](model, batch) > 1:
        assert not torch.equal(usual, OBJECTIVES[head](model, batch, reduction="sum"))


@pytest.mark.parametrize(
    ("family", "head", "count"),
    [
        ("gpt2", "lm", 6 + 2 * 10 + 8),  # of 11 tokens 7 are real in one row, 9 in one
        ("gpt2", "token", 43),
        ("gpt2", "sequence", 3),
        ("bert", "masked_lm", 16),  # every third of 11, in 4 rows
        ("bert", "span", 7),  # both ends
        ("bert", "multiple_choice", 1),
        ("bert", "next_sentence", 3),
        ("vit", "image", 3),
        ("vit", "masked_image", 11 * 3 * 3 * 5),  # 11 of 32 patches, of 3 channels
        ("clip", "match", 4),
    ],
    ids=str,
)
def test_a_count_is_what_counts(family, head, count):
    model, batch = ragged(family, head)
    assert COUNTS[head](model, batch) == count


def nothing(family, head):
    """Make a batch of which nothing counts."""
    model, batch = ragged(family, head)
    if head == "masked_image":
        return model, batch | {"bool_masked_pos": torch.zeros_like(batch["bool_masked_pos"])}
    return model, batch | {"labels": torch.full_like(batch["labels"], IGNORE)}


@pytest.mark.parametrize("smoothing", [0.0, SMOOTH])
@pytest.mark.parametrize(("family", "head"), [x for x in LEARNED if x[1] != "match"], ids=str)
def test_where_nothing_counts_the_loss_is_zero_and_so_are_its_gradients(family, head, smoothing):
    model, batch = nothing(family, head)
    options = {"smoothing": smoothing} if head in SMOOTHED else {}
    assert COUNTS[head](model, batch) == 0
    for reduction in ("mean", "sum"):
        model.zero_grad()
        loss = OBJECTIVES[head](model, batch, reduction=reduction, **options)
        loss.backward()
        assert loss.item() == 0
        assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


def test_every_objective_has_a_count():
    assert COUNTS.keys() == OBJECTIVES.keys()


def test_a_model_reads_no_answers():
    fields = ("input_ids", "labels", "other_labels", "share", "attention_mask")
    batch = {name: torch.zeros(1) for name in fields}
    assert set(inputs_of(batch)) == {"input_ids", "attention_mask"}


class Given(torch.nn.Module):
    """Logits that are handed in."""

    def forward(self, logits):
        return logits


LABELS = torch.tensor([0, 3, 2, IGNORE, 1])
OTHERS = torch.tensor([3, 3, 0, 2, 4])
SHARE = torch.tensor([0.75, 0.25, 1.0, 0.5, 0.0])


def mixed(dtype=torch.float64, **changes):
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    batch = {"logits": logits.to(dtype), "labels": LABELS, "other_labels": OTHERS, "share": SHARE}
    return batch | changes


def mixed_targets(smoothing):
    share = SHARE.double()[:, None]
    one, other = (F.one_hot(x.clamp_min(0), 6).double() for x in (LABELS, OTHERS))
    return (1 - smoothing) * (share * one + (1 - share) * other) + smoothing / 6


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, SMOOTH])
def test_a_mixed_row_has_two_labels(smoothing, reduction):
    batch = mixed()
    logits = batch["logits"].requires_grad_()
    kept = LABELS != IGNORE
    expected = F.cross_entropy(logits[kept], mixed_targets(smoothing)[kept], reduction=reduction)
    found = classification(Given(), batch, smoothing=smoothing, reduction=reduction)
    close(found, expected)
    slopes = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    close(*slopes)
    assert not slopes[0][3].any()  # a row that does not count


def test_the_shares_are_of_the_labels_and_of_the_others():
    """A share of 1 is the label alone, of 0 the other alone."""
    for share, labels in ((1.0, LABELS), (0.0, OTHERS.where(LABELS != IGNORE, IGNORE))):
        batch = mixed(share=torch.full((5,), share))
        plain = {"logits": batch["logits"], "labels": labels}
        close(classification(Given(), batch), classification(Given(), plain))


def test_a_row_that_does_not_count_may_hold_anything():
    batch = mixed()
    batch["logits"][3] = math.nan
    assert classification(Given(), batch).isfinite()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_a_mixed_loss_is_taken_in_float32(dtype):
    batch = mixed(dtype)
    found = classification(Given(), batch)
    assert found.dtype == torch.float32
    exact = classification(Given(), batch | {"logits": batch["logits"].double()})
    # a sum of 4 rows, of 6 exponentials each: no more than 16 roundings of numbers below 8
    assert abs(found.item() - exact.item()) < 16 * 8 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("bias", [None, -1.5], ids=["contrastive", "pairwise"])
def test_match_is_the_loss_of_its_features(bias):
    model = tiny("clip", "match", bias=bias)
    batch = labelled("clip", "match", model)
    images = model.encode_image(batch["pixel_values"])
    texts = model.encode_text(batch["input_ids"])
    logits = model.scale() * images @ texts.T
    if bias is None:
        own = torch.arange(4)
        expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    else:
        signs = 2 * torch.eye(4, dtype=torch.float64) - 1
        expected = F.softplus(-signs * (logits + model.logit_bias)).sum() / 4
    close(OBJECTIVES["match"](model, batch), expected)
    total = pair_loss(images, texts, model.scale(), model.logit_bias, reduction="sum")
    close(total, 4 * expected)

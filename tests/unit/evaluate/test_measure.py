"""Metrics of every head: the same however rows are cut, and as counted by hand."""

import math

import pytest
import torch

from unit.models.tiny import LEARNED, labelled, tiny
from zoo.evaluate.measure import JUDGES, measure
from zoo.objectives import IGNORE, OBJECTIVES
from zoo.tokenizers import Tokenizer

CUT = [(f, h) for f, h in LEARNED if h not in ("match", "multiple_choice")]


def rows_of(batch, start, stop):
    return {name: x[start:stop] for name, x in batch.items()}


def test_every_objective_has_a_judge():
    assert JUDGES.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize(("family", "head"), LEARNED)
def test_the_loss_is_that_of_the_objective(family, head):
    model = tiny(family, head).eval()
    batch = labelled(family, head, model)
    with torch.no_grad():
        expected = OBJECTIVES[head](model, batch).item()
    assert measure(model, head, [batch])["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("family", "head"), CUT)
def test_how_rows_are_cut_into_batches_changes_nothing(family, head):
    model = tiny(family, head).eval()
    batch = labelled(family, head, model)
    whole = measure(model, head, [batch])
    pieces = measure(model, head, [rows_of(batch, 0, 1), rows_of(batch, 1, 4)])
    assert pieces == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("family", "head"), CUT)
@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_its_weights(family, head, training):
    model = tiny(family, head, **({"dropout": 0.5} if family != "clip" else {})).train(training)
    batch = labelled(family, head, model)
    before = [p.clone() for p in model.parameters()]
    first, second = (measure(model, head, [batch]) for _ in range(2))
    assert first == second  # dropout is off while it measures
    assert model.training is training
    assert all(map(torch.equal, before, model.parameters()))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("head", ["sequence", "image"])
def test_accuracy_and_f1_are_counted(head):
    model = tiny("bert" if head == "sequence" else "vit", head).eval()
    batch = labelled("bert" if head == "sequence" else "vit", head, model)
    inputs = {n: x for n, x in batch.items() if n != "labels"}
    with torch.no_grad():
        chosen = model(**inputs).argmax(-1)
    right = measure(model, head, [batch | {"labels": chosen}])
    assert (right["accuracy"], right["macro_f1"]) == (1.0, 1.0)
    one_wrong = chosen.clone()
    one_wrong[0] = (chosen[0] + 1) % 3
    found = measure(model, head, [batch | {"labels": one_wrong}])
    assert found["accuracy"] == 0.75
    scores = []
    for kind in sorted({*chosen.tolist(), *one_wrong.tolist()}):
        hit = sum(a == b == kind for a, b in zip(chosen.tolist(), one_wrong.tolist(), strict=True))
        both = chosen.tolist().count(kind) + one_wrong.tolist().count(kind)
        scores.append(2 * hit / both)
    assert found["macro_f1"] == pytest.approx(sum(scores) / len(scores), rel=1e-12)


@pytest.mark.parametrize(("family", "head"), [("bert", "masked_lm"), ("bert", "token")])
def test_labels_that_do_not_count_are_not_counted(family, head):
    model = tiny(family, head).eval()
    batch = labelled(family, head, model)
    with torch.no_grad():
        chosen = model(**{n: x for n, x in batch.items() if n != "labels"}).argmax(-1)
    labels = torch.where(torch.arange(labels_width(batch)) % 2 == 0, chosen, IGNORE)
    assert measure(model, head, [batch | {"labels": labels}])["accuracy"] == 1.0


def labels_width(batch):
    return batch["labels"].shape[-1]


def test_a_span_is_right_when_both_ends_are():
    model = tiny("bert", "span").eval()
    batch = labelled("bert", "span", model)
    mask = torch.ones_like(batch["input_ids"])
    mask[:, -3:] = 0
    batch["attention_mask"] = mask
    with torch.no_grad():
        logits = model(**{n: x for n, x in batch.items() if n != "labels"})
    ends = logits[:, :-3].argmax(1)
    assert measure(model, "span", [batch | {"labels": ends}])["exact"] == 1.0
    moved = ends.clone()
    moved[1, 0] = (moved[1, 0] + 1) % 8
    assert measure(model, "span", [batch | {"labels": moved}])["exact"] == 0.75


def test_perplexity_and_bits_a_byte_come_from_the_loss():
    text = "the cat sat in the garden"
    tokenizer = Tokenizer.train([text * 3], "bpe", vocab=270)
    model = tiny("gpt2", "lm", vocab=tokenizer.vocab_size).eval()
    ids = torch.tensor([tokenizer.encode(text)[:9]])
    with torch.no_grad():
        loss = OBJECTIVES["lm"](model, {"input_ids": ids}).item()
    found = measure(model, "lm", [{"input_ids": ids}], tokenizer=tokenizer)
    size = len(tokenizer.decode(ids[0, 1:]).encode())
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-9)
    assert found["bits_per_byte"] == pytest.approx(loss * 8 / math.log(2) / size, rel=1e-9)


def test_padding_is_no_text():
    tokenizer = Tokenizer.train(["the cat sat"], "bpe", vocab=260)
    model = tiny("gpt2", "lm", vocab=tokenizer.vocab_size).eval()
    ids = torch.tensor([[40, 41, 42, 43]])
    alone = measure(model, "lm", [{"input_ids": ids}], tokenizer=tokenizer)
    padded = {
        "input_ids": torch.tensor([[40, 41, 42, 43, 7, 7]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0]]),
    }
    assert measure(model, "lm", [padded], tokenizer=tokenizer) == pytest.approx(alone, rel=1e-9)


def test_recall_is_over_all_pairs_both_ways():
    model = tiny("clip", "match").eval()
    batch = labelled("clip", "match", model)
    found = measure(model, "match", [rows_of(batch, 0, 2), rows_of(batch, 2, 4)])
    with torch.no_grad():
        cosine = (
            model.encode_text(batch["input_ids"]) @ model.encode_image(batch["pixel_values"]).mT
        )
    first = (cosine.argmax(1) == torch.arange(4)).double().mean().item()
    back = (cosine.argmax(0) == torch.arange(4)).double().mean().item()
    assert (found["text_to_image_recall@1"], found["image_to_text_recall@1"]) == (first, back)
    assert "text_to_image_recall@5" not in found  # of four there is no fifth


def test_nothing_to_measure_is_told():
    with pytest.raises(ValueError, match="nothing to measure"):
        measure(tiny("vit", "image"), "image", [])

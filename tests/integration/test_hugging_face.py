"""Our models against Hugging Face's: numbers, gradients, and folders read both ways."""

from dataclasses import replace

import pytest
import torch
import transformers
from safetensors.torch import load_file

from integration.published import (
    CLASSES,
    OURS,
    PLAIN,
    cases,
    ours_forward,
    random_batch,
    random_model,
    real,
    theirs_forward,
)
from zoo import keymap
from zoo.models import GPT2, load

ROWS = [
    pytest.param(family, head, case, id=f"{family}-{head}-{case.name}")
    for family, head in CLASSES
    for case in cases(family, head)
]
HEADS = pytest.mark.parametrize(("family", "head"), CLASSES, ids=lambda v: str(v))
SEEDS = pytest.mark.parametrize("seed", range(3))


def gradients(model):
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
    }


def published_gradients(theirs, folder):
    """Name their gradients as their files do, by saving a model that has them for weights."""
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros(()) if parameter.grad is None else parameter.grad)
    theirs.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.thinned(2)
@pytest.mark.parametrize(("family", "head", "case"), ROWS)
@SEEDS
def test_outputs_and_gradients_equal_theirs(tmp_path, family, head, case, seed):
    theirs = random_model(family, head, seed)
    theirs.save_pretrained(tmp_path)
    ours = OURS[family].from_pretrained(tmp_path, dtype=torch.float64)
    assert ours.head_name == head
    if case.interpolate:  # they resize positions without antialiasing
        ours = without_antialias(ours)
    batch = random_batch(family, head, theirs.config, seed, case)
    expected = real(theirs_forward(theirs, head, batch, case), family, head, batch)
    actual = real(ours_forward(ours, batch, case), family, head, batch)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    weights = torch.randn(expected.shape, dtype=torch.float64)
    (expected * weights).sum().backward()
    (actual * weights).sum().backward()
    keys = ours.spec.keys(ours.config)
    mine = keymap.to_theirs(keys, head, gradients(ours), prefix=head not in keys.bare)
    wanted = published_gradients(theirs, tmp_path / "gradients")
    assert mine.keys() == wanted.keys()
    for name, gradient in mine.items():
        torch.testing.assert_close(
            gradient, wanted[name], rtol=1e-10, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def without_antialias(model):
    """Build the same model with positions resized as Hugging Face does."""
    made = type(model)(replace(model.config, antialias=False), head=model.head_name).double()
    made.load_state_dict(model.state_dict())
    return made.eval()


@pytest.mark.thinned(2)
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
    batch = random_batch(family, head, theirs.config, seed, PLAIN)
    back.eval()
    torch.testing.assert_close(
        theirs_forward(back, head, batch, PLAIN),
        theirs_forward(theirs, head, batch, PLAIN),
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

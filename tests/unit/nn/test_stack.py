"""Blocks that run again in the backward pass: the same numbers, drops among them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from zoo.models import GPT2
from zoo.models.gpt2 import PRESETS
from zoo.nn import Dropout, DropPath, Linear
from zoo.nn.stack import through


class Block(nn.Module):
    """Adds something to the stream, in which a layer that draws has dropped a half."""

    def __init__(self, drop, runs):
        super().__init__()
        self.linear, self.drop, self.runs = Linear(6, 6), drop, runs
        nn.init.normal_(self.linear.weight)

    def forward(self, x, shift):
        self.runs.append(torch.is_grad_enabled())
        return x + self.drop(torch.tanh(self.linear(x))) + shift


def passed(kind, recompute):
    """Give the output, all gradients and how often a block ran, from one seed."""
    torch.manual_seed(3)
    runs = []
    blocks = nn.ModuleList(Block(kind(0.5), runs) for _ in range(3)).double().train()
    x = torch.randn(5, 4, 6, dtype=torch.float64, requires_grad=True)
    shift = torch.randn(6, dtype=torch.float64, requires_grad=True)
    y = through(blocks, x, shift, recompute=recompute)
    y.square().sum().backward()
    return [y.detach(), x.grad, shift.grad, *(p.grad for p in blocks.parameters())], len(runs)


@pytest.mark.parametrize("kind", [Dropout, DropPath], ids=lambda kind: kind.__name__)
def test_running_blocks_again_changes_no_bit(kind):
    kept, once = passed(kind, False)
    found, twice = passed(kind, True)
    assert all(torch.equal(a, b) for a, b in zip(kept, found, strict=True))
    assert (once, twice) == (3, 6)


def test_without_gradients_nothing_runs_again():
    runs = []
    blocks = [Block(Dropout(0.0), runs)]
    with torch.no_grad():
        y = through(blocks, torch.ones(1, 2, 6), torch.zeros(6), recompute=True)
    assert not y.requires_grad and runs == [False]


def test_a_hook_that_is_gone_by_the_second_run_changes_nothing():
    model = GPT2(replace(PRESETS["gpt2-tiny"], dropout=0.0, attention_dropout=0.0)).train()
    ids = torch.arange(1, 9)[None]
    model(ids).sum().backward()
    kept = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.recompute = True
    handle = model.blocks[1].norm1.register_forward_hook(lambda *_: None)
    y = model(ids)
    handle.remove()
    y.sum().backward()
    found = [p.grad for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(kept, found, strict=True))

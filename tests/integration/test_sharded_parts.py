"""Two processes that hold a share of each weight (FSDP2) average, group and blame as one does."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.fsdp import fully_shard

from integration.processes import run
from unit.models.tiny import labelled, tiny
from unit.train.test_blame import Bad
from zoo.objectives import next_token
from zoo.train import make_optimizer
from zoo.train.blame import find_fault
from zoo.train.ema import COUNT, EMA

STEPS = 3


class Loss(nn.Module):
    """A model with its objective, called as a whole: what is sharded gathers itself when called."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return next_token(self.model, batch)


def learn(wrap):
    """Take a few steps with averages; give these, and the weights, as whole tensors."""
    model = tiny("gpt2", "lm")
    batch = labelled("gpt2", "lm", model)
    loss = wrap(Loss(model))
    ema = EMA(model, 0.5)
    optimizer = make_optimizer(model, 1e-2, layer_decay=0.5)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(batch).backward()
        optimizer.step()
        ema.update()
    before = {name: whole(p) for name, p in model.named_parameters()}
    with ema.swapped():
        held = {f"held.{name}": whole(p) for name, p in model.named_parameters()}
    same = all(torch.equal(whole(p), before[name]) for name, p in model.named_parameters())
    again = EMA(model, 0.5)
    again.load(ema.state())
    averages = {f"average.{n}": whole(t) for n, t in again.state().items() if n != COUNT}
    numbers = {"same": torch.tensor(int(same)), "updates": again.state()[COUNT]}
    return held | averages | before | numbers


def whole(tensor):
    tensor = tensor.detach()
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor.clone()


def shard(loss):
    for block in loss.model.blocks:
        fully_shard(block)
    return fully_shard(loss)


def fault_of(wrap, model, batch):
    loss = wrap(Loss(model))
    fault = find_fault(model, lambda: loss(batch))
    held = all(p.grad is None for p in model.parameters())
    return None if fault is None else [fault.module, fault.kind, fault.where, held]


def faults(wrap):
    """Give what is blamed in a sound model, for an output and for a gradient."""
    sound = tiny("gpt2", "lm")
    batch = labelled("gpt2", "lm", sound)
    loud = tiny("gpt2", "lm")
    with torch.no_grad():
        loud.blocks[1].mlp.up.weight.fill_(1e308)
    bad = tiny("gpt2", "lm")
    bad.blocks[1].mlp.down = nn.Sequential(Bad(), bad.blocks[1].mlp.down)
    return [fault_of(wrap, model, batch) for model in (sound, loud, bad)]


def main(folder):
    dist.init_process_group("gloo")
    save_file(learn(shard), f"{folder}/{dist.get_rank()}.safetensors")
    Path(folder, f"{dist.get_rank()}.json").write_text(json.dumps(faults(shard)))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    run(folder, "integration.test_sharded_parts", f"main({str(folder)!r})")
    return folder


@pytest.mark.subproc
def test_averages_of_sharded_weights_are_those_of_whole_ones(written):
    expected = learn(lambda loss: loss)
    for rank in range(2):
        found = load_file(written / f"{rank}.safetensors")
        assert found.keys() == expected.keys()
        assert found["same"].item() == 1 and found["updates"].item() == STEPS
        for name, tensor in expected.items():
            torch.testing.assert_close(
                found[name], tensor, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.subproc
def test_sharded_models_are_blamed_as_whole_ones(written):
    expected = faults(lambda loss: loss)
    assert expected == [
        None,
        ["blocks.1.mlp.up", "Linear", "output", True],
        ["blocks.1.mlp.down.0", "Bad", "gradient", True],
    ]
    for rank in range(2):
        assert json.loads((written / f"{rank}.json").read_text()) == expected

"""A run's state where it meets python's own random, files, and processes that share it."""

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.fsdp import fully_shard

from integration.processes import run
from zoo.train.state import TrainState
from zoo.train.store import Store
from zoo.train.world import World


def made(seed, steps=0, shard=False):
    torch.manual_seed(seed)
    model = nn.Linear(3, 5)
    if shard:
        fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
    return TrainState(model, optimizer, step=steps)


def draws():
    return [random.random(), random.gauss(0, 1), random.getrandbits(70)]


@pytest.mark.parametrize("before", range(3))
def test_pythons_generator_goes_on_where_it_was(tmp_path, before):
    """One normal value leaves a spare one; the unit tier's check of annotations draws itself."""
    for _ in range(before):
        random.gauss(0, 1)
    state = made(0, 1)
    Store(tmp_path).save(1, state.tensors(), state.facts())
    expected = draws()
    made(1).restore(*Store(tmp_path).read())
    assert draws() == expected


def processes_main(folder):
    """Restore whole tensors into two processes that hold a share each, and take one step more."""
    with World.from_environment("fsdp") as world:
        facts, tensors = Store(folder).read()
        for used in (0, 1):
            state = made(1, used, shard=True)
            state.restore(facts, tensors)
            whole = {n: t for n, t in state.tensors().items() if hasattr(t, "full_tensor")}
            whole = {name: tensor.full_tensor() for name, tensor in whole.items()}
            if world.rank == 0:
                save_file(whole, f"{folder}/used{used}.safetensors")


@pytest.mark.subproc
def test_whole_tensors_are_shared_out_on_restoring(tmp_path):
    state = made(0, 2)
    Store(tmp_path).save(2, state.tensors(), state.facts())
    run(tmp_path, "integration.test_train_state", f"processes_main({str(tmp_path)!r})")
    for used in (0, 1):
        found = load_file(Path(tmp_path, f"used{used}.safetensors"))
        assert len(found) == 6  # weight and bias, and two moments of each
        assert all(torch.equal(found[name], state.tensors()[name]) for name in found)

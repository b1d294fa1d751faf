"""Two processes (gloo) take the contrastive loss of the whole batch, as one process does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from unit.models.tiny import tiny
from zoo.models import MODELS
from zoo.objectives import gather, match

ROWS = 6  # of the whole batch


class Loss(nn.Module):
    """A model with its objective: what DistributedDataParallel must see run."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, batch):
        return match(self.model, batch)


def gradients(model, batch, wrap=None):
    loss = Loss(model)
    wrapped = wrap(loss) if wrap else loss  # held: without the wrapper backward averages nothing
    value = wrapped(batch)
    value.backward()
    return {"loss": value.detach()} | {n: p.grad.clone() for n, p in model.named_parameters()}


def whole_batch(model):
    return MODELS["clip"].example(model.config, seed=5, batch=ROWS)


def made(bias, dtype):
    model = tiny("clip", "match", bias=bias).to(dtype)
    batch = whole_batch(model)
    return model, {n: x.to(dtype) if x.is_floating_point() else x for n, x in batch.items()}


def meet(folder):
    """Join the other process through a file; give this one's rank and how many there are."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    place = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    return rank, world


def rank_main(folder, bias, dtype):
    """Run one of the processes: its share of the rows, gradients averaged by DDP."""
    rank, world = meet(folder)
    model, batch = made(bias, dtype)
    share = {n: x.tensor_split(world)[rank] for n, x in batch.items()}
    found = gradients(model, share, DistributedDataParallel)
    dist.all_reduce(found["loss"])
    found["loss"] /= world
    save_file(found, f"{folder}/rank{rank}.safetensors")
    dist.destroy_process_group()


def uneven_main(folder):
    """Give the processes different numbers of rows; each must say so."""
    meet(folder)
    try:
        gather(torch.zeros(2 + dist.get_rank(), 3))
    except ValueError as error:
        Path(folder, f"rank{dist.get_rank()}.txt").write_text(str(error))
    dist.destroy_process_group()


def run(folder, call, world=2):
    """Run `call` of this file in fresh processes that find each other through a file."""
    code = f"import torch, test_parallel as t; torch.set_num_threads(1); t.{call}"
    here = Path(__file__).parent
    started = []
    for rank in range(world):
        env = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(world)}
        env["PYTHONPATH"] = str(here.parent)
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=here, env=env, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
    for process in started:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


@pytest.mark.subproc
@pytest.mark.parametrize("bias", [None, -1.5], ids=["contrastive", "pairwise"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_two_processes_give_the_gradients_of_one(tmp_path, bias, dtype):
    expected = gradients(*made(bias, dtype))
    exact = gradients(*made(bias, torch.float64))
    scale = made(bias, torch.float64)[0].scale().item()
    run(tmp_path, f"rank_main({str(tmp_path)!r}, {bias}, {dtype})")
    ranks = [load_file(tmp_path / f"rank{rank}.safetensors") for rank in range(2)]
    for name, gradient in expected.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        # what one process's own rounding costs bounds what another order of sums may; a gradient
        # is a sum over pairs whose terms, without their signs, come to at most twice the scale
        rounding = (gradient.double() - exact[name]).norm()
        rounding += torch.finfo(dtype).eps * max(2 * scale, float(exact[name].norm()))
        assert (ranks[0][name].double() - exact[name]).norm() <= 8 * rounding, name


@pytest.mark.subproc
def test_processes_with_different_rows_are_told(tmp_path):
    run(tmp_path, f"uneven_main({str(tmp_path)!r})")
    for rank in range(2):
        said = (tmp_path / f"rank{rank}.txt").read_text()
        assert said.startswith("processes hold [2, 3] rows; give each as many")

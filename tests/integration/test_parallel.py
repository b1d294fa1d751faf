"""Two processes (gloo) take the contrastive loss of the whole batch, as one process does."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from integration.processes import run
from unit.models.tiny import tiny
from zoo.models import MODELS
from zoo.objectives import gather, match

ROWS = 6  # of the whole batch
# SigLIP's bias, where there is one, and dtype
CASES = [(bias, dtype) for bias in (None, -1.5) for dtype in (torch.float64, torch.float32)]


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


def meet():
    """Join the other process; give this one's rank and how many there are."""
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def main(folder):
    """Run one of the processes: its share of the rows, gradients averaged by DDP."""
    rank, world = meet()
    for bias, dtype in CASES:
        model, batch = made(bias, dtype)
        share = {n: x.tensor_split(world)[rank] for n, x in batch.items()}
        found = gradients(model, share, DistributedDataParallel)
        dist.all_reduce(found["loss"])
        found["loss"] /= world
        save_file(found, f"{folder}/{bias}-{dtype}-{rank}.safetensors")
    try:  # different numbers of rows; each must say so
        gather(torch.zeros(2 + rank, 3))
    except ValueError as error:
        Path(folder, f"rank{rank}.txt").write_text(str(error))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Give the folder of what two processes found: they start once for all cases."""
    folder = tmp_path_factory.mktemp("two")
    run(folder, "integration.test_parallel", f"main({str(folder)!r})")
    return folder


@pytest.mark.subproc
@pytest.mark.parametrize(("bias", "dtype"), CASES, ids=str)
def test_two_processes_give_the_gradients_of_one(written, bias, dtype):
    expected = gradients(*made(bias, dtype))
    exact = gradients(*made(bias, torch.float64))
    scale = made(bias, torch.float64)[0].scale().item()
    ranks = [load_file(written / f"{bias}-{dtype}-{rank}.safetensors") for rank in range(2)]
    for name, gradient in expected.items():
        assert torch.equal(ranks[0][name], ranks[1][name]), name
        # what one process's own rounding costs bounds what another order of sums may; a gradient
        # is a sum over pairs whose terms, without their signs, come to at most twice the scale
        rounding = (gradient.double() - exact[name]).norm()
        rounding += torch.finfo(dtype).eps * max(2 * scale, float(exact[name].norm()))
        assert (ranks[0][name].double() - exact[name]).norm() <= 8 * rounding, name


@pytest.mark.subproc
def test_processes_with_different_rows_are_told(written):
    for rank in range(2):
        said = (written / f"rank{rank}.txt").read_text()
        assert said.startswith("processes hold [2, 3] rows; give each as many")

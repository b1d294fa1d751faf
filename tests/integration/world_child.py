"""What the processes of test_world.py do; see there."""

import itertools
import json
import resource
import signal
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.fsdp import FSDPModule

from integration.learning import CASES, OTHERS, curve, follow, learner_of, made, micros_of
from zoo.checkpoint import CheckpointError
from zoo.objectives import OBJECTIVES
from zoo.train.ema import EMA
from zoo.train.meet import make_mesh
from zoo.train.shards import read_shards, write_shards
from zoo.train.state import TrainState
from zoo.train.store import Store
from zoo.train.world import World, WorldError

warnings.simplefilter("error")

WAYS = ((torch.float64, 1), (torch.float64, 2), (torch.float32, 1))  # dtype, micro batches
STOP, END = 2, 4  # saved before step 2; the last step is 3


def beside(world, mode, mesh=None):
    """Give the same processes in another mode."""
    return World(rank=world.rank, size=world.size, mode=mode, mesh=mesh)


def four(folder):
    """Four processes: save before step 2, note what was saved in one piece, and go on."""
    with World.from_environment("fsdp") as world:
        begin(folder, world, "four-gpt2", write=write_shards)  # a tied table
        # a scalar that FSDP2 leaves whole, and two copies of each share
        hybrid = beside(world, "fsdp", make_mesh(world.device, 4, 2))
        begin(folder, hybrid, "hybrid-clip", write=write_shards)
        shares = {name: held_by(each) for name, each in (("all", world), ("half", hybrid))}
        Path(folder, f"shares{world.rank}.json").write_text(json.dumps(shares))


def two(folder):
    """Two processes: everything that two can show."""
    with World.from_environment("fsdp") as fsdp:
        worlds = (fsdp, beside(fsdp, "ddp"))
        for world, case, (dtype, micros) in itertools.product(worlds, CASES, WAYS):
            found = curve(world, case, dtype, micros)
            if world.rank == 0:
                save_file(found, f"{folder}/{world.mode}-{case}-{dtype}-{micros}.safetensors")
        for world, name in itertools.product(worlds, ("four-gpt2", "hybrid-clip", "alone-gpt2")):
            go_on(folder, world, name)
        begin(folder, worlds[1], "ddp-gpt2", write=None)
        said = {f"{act.__name__}-{world.mode}": act(world) for act in ACTS for world in worlds}
        said["unwritable"] = unwritable(folder, fsdp)
        Path(folder, f"said{fsdp.rank}.json").write_text(json.dumps(said))


def long(folder):
    """Four processes: every head, however they are arranged; and blocks that are compiled."""
    warnings.simplefilter("default")  # the compiler's own
    with World.from_environment("fsdp") as fsdp:
        hybrid = beside(fsdp, "fsdp", make_mesh(fsdp.device, 4, 2))
        worlds = {"fsdp": fsdp, "ddp": beside(fsdp, "ddp"), "hybrid": hybrid}
        for (name, world), case in itertools.product(worlds.items(), CASES | OTHERS):
            found = curve(world, case, torch.float64, 2)
            keep(folder, world, f"long-{name}-{case}", found)
        for name, case in itertools.product(("fsdp", "ddp"), ("gpt2", "clip")):
            found = curve(worlds[name], case, torch.float64, 2, compile=True)
            keep(folder, fsdp, f"compiled-{name}-{case}", found)


def state_of(world, case):
    learner = learner_of(world, made(case, torch.float64), case, ema=lambda m: EMA(m, 0.9))
    return learner, TrainState(learner.model, learner.optimizer, ema=learner.ema)


def begin(folder, world, name, write):
    """Take two steps, save, and take two more; keep what is whole in `name`-*.safetensors."""
    case = name.partition("-")[2]
    learner, state = state_of(world, case)
    follow(world, learner, case, steps=STOP)
    state.step = STOP
    store = Store(Path(folder, name), world=world)
    store.save(STOP, state.tensors(), state.facts(), write=write)
    keep(folder, world, f"{name}-saved", whole(state))
    keep(folder, world, f"{name}-rest", {"curve": follow(world, learner, case, start=2, steps=END)})


def go_on(folder, world, name):
    """Read what others saved into other weights; keep what was read, and the steps after it."""
    case = name.partition("-")[2]
    learner, state = state_of(world, case)
    follow(world, learner, case, steps=1)
    store = Store(Path(folder, name), world=world)
    state.restore(*store.read(into=state.room, read=read_shards))
    assert state.step == STOP
    mark = f"{name}-{world.mode}{world.size}"
    keep(folder, world, f"{mark}-read", whole(state))
    keep(folder, world, f"{mark}-rest", {"curve": follow(world, learner, case, start=2, steps=END)})


def whole(state):
    """Give a state's tensors in one piece, but for the generators, which are each process's own."""
    found = {n: t for n, t in state.tensors().items() if not n.startswith("generator.")}
    return {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in found.items()}


def keep(folder, world, name, tensors):
    if world.rank == 0:
        save_file({n: t.clone() for n, t in tensors.items()}, f"{folder}/{name}.safetensors")


def held_by(world):
    """Give how many numbers of the parameters are here, how many there are, and in what groups."""
    learner = learner_of(world, made("gpt2", torch.float64), "gpt2")
    parts = [p.to_local().numel() for p in learner.parameters]
    groups = [name for name, m in learner.wrapped.named_modules() if isinstance(m, FSDPModule)]
    return [sum(parts), sum(p.numel() for p in learner.parameters), groups]


def totals(world):
    """Add up 1 and 2, and leave them as they are."""
    own = torch.tensor([world.rank + 1])
    return [world.total(own).item(), own.item()]


def agreement(world):
    """Ask twice: the last process says yes, then nobody does."""
    return [world.agree(world.rank == 1), world.agree(False)]


def not_finite(world):
    """Give the norm that `clip` finds when one process's share holds a NaN, then infinity."""
    learner = learner_of(world, made("clip", torch.float64), "clip")
    norms = []
    for bad in (float("nan"), float("inf")):
        learner.optimizer.zero_grad()
        learner.backward(micros_of(world, "clip", learner.model, 0, 1))
        gradient = learner.model.image.class_token.grad
        part = gradient.to_local() if hasattr(gradient, "to_local") else gradient
        part[-1:] = bad
        norms.append(str(world.clip(learner.parameters, 1.0)))
    return norms


def quiet(world):
    """Take one micro batch that is not the last: tell whether gradients are this process's own."""
    learner = learner_of(world, made("gpt2", torch.float64), "gpt2")
    batch = micros_of(world, "gpt2", learner.model, 0, 1)[0]
    with world.syncing(learner.wrapped, last=False):
        learner.act(OBJECTIVES["lm"], batch).backward()
    gradient = learner.model.tokens.weight.grad
    return gradient is None or not torch.equal(world.total(gradient) / world.size, gradient)


def published(world):
    """Count what is put together where."""
    model = learner_of(world, made("gpt2", torch.float64), "gpt2").model
    return len(world.whole(model)) / len(list(model.parameters()))


def gentle(world):
    """Clip at more than the norm: gradients stay; then at less: the norm becomes that."""
    learner = learner_of(world, made("clip", torch.float64), "clip")
    learner.backward(micros_of(world, "clip", learner.model, 0, 1))
    world.after_backward(learner.wrapped)
    first = world.clip(learner.parameters, 1e6)
    second = world.clip(learner.parameters, first / 2)
    return [
        abs(second - first) <= 1e-12 * first,
        round(world.clip(learner.parameters, 1.0) / first, 4),
    ]


def scalars(world):
    """Average a scalar's gradient that only one process has; leave one that nobody has."""
    model = nn.Module()
    model.seen, model.unseen = (nn.Parameter(torch.tensor(0.0)) for _ in range(2))
    if world.rank == 1:
        model.seen.grad = torch.tensor(3.0)
    world.after_backward(model)
    return [None if p.grad is None else p.grad.item() for p in model.parameters()]


def judged(world):
    """Evaluate without gradients, then list what is not as the optimizer knows it."""
    learner = learner_of(world, made("gpt2", torch.float64), "gpt2")
    known = {id(p) for p in learner.parameters}
    with torch.no_grad():
        learner.act(OBJECTIVES["lm"], micros_of(world, "gpt2", learner.model, 0, 1)[0])
    odd = [name for name, p in learner.model.named_parameters() if id(p) not in known]
    follow(world, learner, "gpt2", steps=1)
    return odd


def recomputed(world):
    """Tell whether activation checkpointing changes a bit, with dropout on."""
    found = []
    for recompute in (False, True):
        model = made("gpt2", torch.float64, dropout=0.2, attention_dropout=0.1)
        model.recompute = recompute
        torch.manual_seed(world.rank)
        found.append(follow(world, learner_of(world, model, "gpt2"), "gpt2"))
    return torch.equal(*found)


def low_precision(world):
    """Compute in bfloat16: what blocks see, what is kept, and how far the loss moves."""
    low = World(rank=world.rank, size=2, mode=world.mode, dtype=torch.bfloat16, mesh=world.mesh)
    losses, seen = [], set()
    for each, dtype in ((world, torch.float32), (low, torch.bfloat16)):
        learner = learner_of(each, made("gpt2", torch.float32), "gpt2", dtype=dtype)
        losses.append(follow(each, learner, "gpt2")[-1, 0])
    block = learner.model.blocks[0]
    block.register_forward_pre_hook(lambda m, *_: seen.add(str(m.norm1.weight.dtype)))
    follow(low, learner, "gpt2", steps=1)
    # the mean of two numbers of bfloat16 is often none, so it was taken in a wider type
    wide = [p.grad.to_local() for p in learner.model.parameters() if hasattr(p, "to_local")]
    wider = any(not torch.equal(x, x.bfloat16().float()) for x in wide)
    kept = {str(p.dtype) for p in learner.model.parameters()}
    states = {str(s["exp_avg"].dtype) for s in learner.optimizer.state.values()}
    return [sorted(seen), sorted(kept | states), wider, abs(losses[1] / losses[0] - 1).item()]


def other_seeds(world):
    """Wrap weights that are not the same everywhere."""
    torch.manual_seed(world.rank)
    try:
        world.wrap(nn.Linear(3, 2))
    except WorldError as error:
        return str(error)


def idle(world):
    """Train where the model says that a parameter is not read."""

    class Idle(nn.Linear):
        unread = ("bias",)

        def forward(self, x):
            return x @ self.weight.T

    torch.manual_seed(0)
    model = Idle(3, 2)
    wrapped = world.wrap(model)
    for _ in range(3):
        model.zero_grad()
        wrapped(torch.ones(1, 3)).sum().backward()
    return [name for name, p in model.named_parameters() if p.grad is None]


def unwritable(folder, world):
    """Save where one process cannot write more than 20 bytes; all must be told."""
    place = Path(folder, "unwritable")
    place.mkdir(exist_ok=True)
    world.barrier()
    if world.rank == 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (20, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
    tensors = dict(learner_of(world, made("gpt2", torch.float64), "gpt2").model.named_parameters())
    try:
        write_shards(place, tensors)
    except CheckpointError as error:
        said = str(error).replace(str(place), "FOLDER")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return said


ACTS = (
    totals,
    agreement,
    quiet,
    published,
    not_finite,
    gentle,
    scalars,
    judged,
    recomputed,
    low_precision,
    other_seeds,
    idle,
)

"""The check of a resume: what is complete, and what forgets."""

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec, Trainer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.body(x)).relu()))


class Counting(Net):
    """The training step asks a plain attribute how far it is."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        self.seen += 1
        return super().forward(x) * (1 + 0.1 * self.seen)


def batch(size):
    return {"x": torch.randn(size, 4), "labels": torch.randint(2, (size,))}


def step(model, optimizer, scheduler, batch):
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(batch["x"]), batch["labels"]).backward()
    optimizer.step()
    if scheduler is not None:
        scheduler.step()


def parts(model, optimizer, scheduler):
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler}


def save(model, optimizer, scheduler):
    return {n: copy.deepcopy(x.state_dict()) for n, x in parts(model, optimizer, scheduler).items()}


def loading(*names):
    def load(state, model, optimizer, scheduler):
        for name, part in parts(model, optimizer, scheduler).items():
            if name in names:
                part.load_state_dict(state[name])

    return load


def adam(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


ALL = loading("model", "optimizer", "scheduler")


def told(build=Net, optimizer=adam, save=save, load=ALL, step=step):
    trainer = Trainer(
        optimizer=optimizer,
        scheduler=lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7),
        step=step,
        save=save,
        load=load,
    )
    spec = ModelSpec(build=build, batch=batch, trainer=trainer)
    (outcome,) = check_model(spec, only=("resume",)).outcomes
    assert outcome.status != "error", outcome.reason
    return outcome


def live(model, optimizer, scheduler):
    return {n: x.state_dict() for n, x in parts(model, optimizer, scheduler).items()}


def as_bytes(model, optimizer, scheduler):
    file = io.BytesIO()
    torch.save(live(model, optimizer, scheduler), file)
    return file.getvalue()


def from_bytes(state, model, optimizer, scheduler):
    ALL(torch.load(io.BytesIO(state), weights_only=True), model, optimizer, scheduler)


SOUND = {
    "everything is saved": {},
    "live tensors are saved, and written at once": {"save": live},
    "bytes are saved": {"save": as_bytes, "load": from_bytes},
}


@pytest.mark.parametrize("changes", SOUND.values(), ids=SOUND)
def test_a_complete_state_passes(changes):
    assert told(**changes).status == "passed"


def only_parameters(model, optimizer, scheduler):
    state = save(model, optimizer, scheduler)
    names = dict(model.named_parameters())
    state["model"] = {n: x for n, x in state["model"].items() if n in names}
    return state


def not_strictly(state, model, optimizer, scheduler):
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])


def and_a_step_more(state, model, optimizer, scheduler):
    ALL(state, model, optimizer, scheduler)
    optimizer.step()
    scheduler.step()


MISTAKES = {
    "the model is not loaded": ({"load": loading("optimizer", "scheduler")}, "weights of the"),
    "the optimizer is not loaded": (
        {"load": loading("model", "scheduler")},
        "the optimizer's state: ",
    ),
    "the scheduler is not loaded": (
        {"load": loading("model", "optimizer")},
        "where the scheduler stands",
    ),
    "buffers are not saved": (
        {"save": only_parameters, "load": not_strictly},
        "buffers of the model: norm.running_mean",
    ),
    "the scheduler steps while loading": ({"load": and_a_step_more}, "where the scheduler stands"),
    "a plain attribute is forgotten": ({"build": Counting}, "all was there after load()"),
}


@pytest.mark.parametrize(("changes", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_forgotten_is_named(changes, said):
    outcome = told(**changes)
    assert [(f.kind, f.severity) for f in outcome.findings] == [("resume", "fail")]
    assert said in outcome.findings[0].evidence


def test_what_is_half_a_copy_is_told():
    def half(model, optimizer, scheduler):
        return save(model, optimizer, scheduler) | {"model": model.state_dict()}

    (found,) = told(save=half).findings
    assert (found.kind, found.severity) == ("resume", "info")


def test_a_load_that_raises_is_a_crash():
    def broken(state, model, optimizer, scheduler):
        model.load_state_dict({})

    assert told(load=broken).findings[0].kind == "crash"


def never_zeroed(model, optimizer, scheduler, batch):
    model.train()
    F.cross_entropy(model(batch["x"]), batch["labels"]).backward()
    optimizer.step()
    scheduler.step()


def test_gradients_that_are_left_are_not_told_as_a_resume():
    assert told(step=never_zeroed).status == "passed"

"""The checks of a training loop: a sound one, and the same with one mistake each."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec, Trainer

LR, CLIP = 1e-2, 0.5
CHECKS = ("zero_grad", "optimizer", "scheduler", "clipping", "evaluate", "train_mode")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        return self.head(self.body(x))


def batch(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def loss_of(model, batch):
    return F.cross_entropy(model(batch["x"]), batch["labels"])


def rate(step):
    return LR * min(1.0, (step + 1) / 4)


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=LR)


def make_scheduler(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step) / LR)


def step(model, optimizer, scheduler, batch):
    model.train()
    optimizer.zero_grad()
    value = loss_of(model, batch)
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    scheduler.step()
    return value.item()


def evaluate(model, batches):
    before = model.training
    model.eval()
    right = rows = 0
    with torch.no_grad():
        for one in batches:
            right += (model(one["x"]).argmax(-1) == one["labels"]).sum().item()
            rows += len(one["x"])
    model.train(before)
    return right / rows


SOUND = Trainer(
    optimizer=make_optimizer,
    scheduler=make_scheduler,
    step=step,
    evaluate=evaluate,
    clip=CLIP,
    schedule=rate,
)


def told(only=CHECKS, build=Net, facts=(), **changes):
    trainer = dataclasses.replace(SOUND, **changes)
    spec = ModelSpec(
        build=build,
        batch=batch,
        loss=lambda output, batch: F.cross_entropy(output, batch["labels"]),
        trainer=trainer,
        **dict(facts),
    )
    report = check_model(spec, only=only)
    assert not [o for o in report.outcomes if o.status == "error"], report
    return report


def zeroed_at_the_end(model, optimizer, scheduler, batch):
    model.train()
    loss_of(model, batch).backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    scheduler.step()
    model.zero_grad(set_to_none=False)


def through_a_scaler(model, optimizer, scheduler, batch):
    model.train()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer.zero_grad()
    scaler.scale(loss_of(model, batch)).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()


def two_groups(model):
    few = [p for p in model.parameters() if p.ndim < 2]
    many = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": many, "lr": LR}, {"params": few, "lr": 2 * LR, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups)


class FrozenBody(Net):
    def __init__(self):
        super().__init__()
        self.body.requires_grad_(False)


def only_free(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=LR)


def by_epoch(model, optimizer, scheduler, batch):
    model.train()
    optimizer.zero_grad()
    loss_of(model, batch).backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()


def eval_without_a_graph(model, batches):
    before = model.training
    model.train(False)
    with torch.inference_mode():
        values = [loss_of(model, one).item() * len(one["x"]) for one in batches]
    model.train(before)
    return sum(values) / sum(len(one["x"]) for one in batches)


OTHER_SOUND = {
    "as it is": {},
    "gradients set to zero at the end": {"step": zeroed_at_the_end},
    "a gradient scaler": {"step": through_a_scaler},
    "two groups with rates of their own": {"optimizer": two_groups},
    "a frozen body": {"optimizer": only_free, "build": FrozenBody},
    "a frozen body that is declared": {
        "optimizer": lambda model: torch.optim.SGD(model.head.parameters(), lr=LR),
        "facts": {"frozen": ["body.*"]},
    },
    "no scheduler, and one rate": {
        "scheduler": None,
        "schedule": lambda step: LR,
        "step": lambda m, o, s, b: by_epoch(m, o, s, b),
    },
    "inference mode": {"evaluate": eval_without_a_graph},
    "no clipping, and none declared": {"clip": None},
}


@pytest.mark.parametrize("changes", OTHER_SOUND.values(), ids=OTHER_SOUND)
def test_a_sound_loop_passes(changes):
    report = told(**changes)
    assert [f for f in report.findings if f.severity != "info"] == []
    assert {o.status for o in report.outcomes} <= {"passed", "skipped"}


def variant(**parts):
    """Write a step with some of its lines left out or moved."""

    def one(model, optimizer, scheduler, batch):
        def clip():
            nn.utils.clip_grad_norm_(model.parameters(), parts.get("limit", CLIP))

        if parts.get("train", True):
            model.train()
        if parts.get("zero", True):
            optimizer.zero_grad()
        if parts.get("scheduler") == "before":
            scheduler.step()
        if parts.get("clip") == "before backward":
            clip()
        value = loss_of(model, batch)
        if parts.get("backward", True):
            value.backward()
        if parts.get("zero") == "after backward":
            optimizer.zero_grad()
        if parts.get("clip", "right") == "right":
            clip()
        if parts.get("clip") == "by value":
            nn.utils.clip_grad_value_(model.parameters(), CLIP)
        if parts.get("clip") == "the head alone":
            nn.utils.clip_grad_norm_(model.head.parameters(), CLIP)
        if parts.get("step", True):
            (parts.get("maker", lambda m: optimizer))(model).step()
        if parts.get("clip") == "after":
            clip()
        for _ in range(parts.get("ticks", 0 if parts.get("scheduler") else 1)):
            scheduler.step()
        return value.item()

    return one


def stale_optimizer(model):
    return torch.optim.SGD([*model.body.parameters(), *nn.Linear(9, 3).parameters()], lr=LR)


def scaled_clip(model, optimizer, scheduler, batch):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    optimizer.zero_grad()
    scaler.scale(loss_of(model, batch)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    scaler.step(optimizer)
    scaler.update()
    scheduler.step()


def no_eval(model, batches):
    with torch.no_grad():
        return sum(loss_of(model, one).item() for one in batches)


def never_back(model, batches):
    model.eval()
    return no_eval(model, batches)


def always_train(model, batches):
    model.eval()
    value = no_eval(model, batches)
    model.train()
    return value


def dropout_stays_on(model, batches):
    model.eval()
    model.body[3].train()
    value = no_eval(model, batches)
    model.train()
    return value


def learns_from_it(model, batches):
    model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    loss_of(model, batches[0]).backward()
    optimizer.step()
    model.train()


MISTAKES = {
    "gradients are never set to zero": ("zero-grad", {"step": variant(zero=False)}),
    "gradients are set to zero after backward": (
        "zero-grad",
        {"step": variant(zero="after backward")},
    ),
    "no backward pass": ("optimizer", {"step": variant(backward=False)}),
    "no step of the optimizer": ("optimizer", {"step": variant(step=False)}),
    "a new optimizer in every step": (
        "optimizer",
        {"step": variant(maker=lambda m: torch.optim.Adam(m.parameters(), lr=LR))},
    ),
    "the optimizer lacks the biases": (
        "optimizer",
        {"optimizer": lambda m: torch.optim.SGD([m.head.weight, m.body[0].weight], lr=LR)},
    ),
    "the optimizer holds an old head": ("optimizer", {"optimizer": stale_optimizer}),
    "the optimizer holds another model": (
        "optimizer",
        {"optimizer": lambda m: torch.optim.SGD(Net().parameters(), lr=LR)},
    ),
    "what is declared frozen decays": ("optimizer", {"facts": {"frozen": ["body.0.*"]}}),
    "the rate stays 0": (
        "scheduler",
        {
            "scheduler": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 0.0),
            "schedule": None,
        },
    ),
    "the scheduler steps first": ("scheduler", {"step": variant(scheduler="before")}),
    "the scheduler steps twice": ("scheduler", {"step": variant(ticks=2)}),
    "the scheduler never steps": ("scheduler", {"step": variant(ticks=0)}),
    "another schedule": (
        "scheduler",
        {"schedule": lambda step: LR * min(1.0, (step + 1) / 3)},
    ),
    "a schedule that differs after fifty steps": (
        "scheduler",
        {"schedule": lambda step: rate(step) * (1.0 if step < 50 else 0.1)},
    ),
    "the scheduler belongs to another optimizer": (
        "scheduler",
        {"scheduler": lambda o: make_scheduler(torch.optim.SGD([torch.ones(1)], lr=LR))},
    ),
    "the rate falls below 0": (
        "scheduler",
        {
            "scheduler": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda s: 1 - s / 20),
            "schedule": None,
        },
    ),
    "no clipping": ("clipping", {"step": variant(clip="none")}),
    "clipping before backward": ("clipping", {"step": variant(clip="before backward")}),
    "clipping after the step": ("clipping", {"step": variant(clip="after")}),
    "clipping by value": ("clipping", {"step": variant(clip="by value")}),
    "clipping of the head alone": ("clipping", {"step": variant(clip="the head alone")}),
    "clipping at another limit": ("clipping", {"step": variant(limit=2.0)}),
    "clipping what is still scaled": ("clipping", {"step": scaled_clip}),
    "no eval mode": ("eval-mode", {"evaluate": no_eval}),
    "train mode not given back": ("eval-mode", {"evaluate": never_back}),
    "dropout is on in evaluation": ("eval-mode", {"evaluate": dropout_stays_on}),
    "evaluation that trains": ("eval-mode", {"evaluate": learns_from_it}),
    "no train mode after an evaluation": (
        "eval-mode",
        {"evaluate": never_back, "step": variant(train=False)},
    ),
}


BESIDE = {  # the check that must tell, and those that could tell something else first
    "zero-grad": ("zero_grad", "optimizer"),
    "optimizer": ("zero_grad", "optimizer", "scheduler"),
    "scheduler": ("optimizer", "scheduler"),
    "clipping": ("clipping",),
    "eval-mode": ("evaluate", "train_mode"),
}


@pytest.mark.parametrize(("kind", "changes"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_stopped_and_named(kind, changes):
    report = told(BESIDE[kind], **changes)
    assert report.failures, report
    assert report.failures[0].kind == kind
    assert all(f.where == "" for f in report.failures)


def test_a_step_that_raises_is_a_crash():
    def broken(model, optimizer, scheduler, batch):
        raise RuntimeError("nothing works")

    report = told(step=broken)
    assert [(f.kind, f.severity) for f in report.failures] == [("crash", "fail")]
    assert "nothing works" in report.failures[0].evidence
    assert "test_training.py" in report.failures[0].line


def test_an_evaluation_that_raises_is_a_crash():
    def broken(model, batches):
        return model(batches[0]["labels"])

    assert told(("evaluate",), evaluate=broken).failures[0].kind == "crash"


def test_a_mean_of_means_is_a_warning():
    def means(model, batches):
        before = model.training
        model.eval()
        value = no_eval(model, batches) / len(batches)
        model.train(before)
        return value

    found = told(("evaluate",), evaluate=means).findings
    assert [(f.kind, f.severity) for f in found] == [("eval-mode", "warn")]
    assert "whatever their sizes" in found[0].evidence


def test_a_loss_with_its_graph_is_told():
    def kept(model, optimizer, scheduler, batch):
        optimizer.zero_grad()
        value = loss_of(model, batch)
        value.backward()
        optimizer.step()
        return value

    found = told(("optimizer",), step=kept).findings
    assert [(f.kind, f.severity) for f in found] == [("state-carried", "info")]


def test_a_step_in_eval_mode_is_a_warning():
    def asleep(model, optimizer, scheduler, batch):
        model.eval()
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()

    found = told(("train_mode",), step=asleep, evaluate=None).findings
    assert [(f.kind, f.severity) for f in found] == [("eval-mode", "warn")]


def test_an_optimizer_that_steps_every_few_calls_is_left_alone():
    calls = []

    def rarely(model, optimizer, scheduler, batch):
        calls.append(1)
        loss_of(model, batch).backward()
        if len(calls) % 5 == 0:
            optimizer.step()
            optimizer.zero_grad()

    outcome = told(("optimizer",), step=rarely).outcomes[0]
    assert outcome.status == "skipped"
    assert "every few calls" in outcome.reason


def test_without_a_trainer_there_is_nothing_to_check():
    report = check_model(ModelSpec(build=Net, batch=batch), only=CHECKS)
    assert {o.status for o in report.outcomes} == {"skipped"}

"""The check of a batch in pieces: sound ways, and mistakes with the weights that they give."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec, Trainer

IGNORE, CLIP = -100, 0.5


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(6, 11)

    def forward(self, ids):
        return self.head(self.drop(self.embed(ids)))


def batch(size):
    labels = torch.randint(11, (size, 7))
    keep = torch.arange(7) < torch.randint(2, 8, (size, 1))
    return {"ids": torch.randint(11, (size, 7)), "labels": labels.masked_fill(~keep, IGNORE)}


def total(model, batch):
    return F.cross_entropy(
        model(batch["ids"]).flatten(0, 1),
        batch["labels"].flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )


def tokens(batch):
    return (batch["labels"] != IGNORE).sum()


def by_tokens(model, batch):
    return total(model, batch) / tokens(batch)


def by_rows(model, batch):
    return total(model, batch) / len(batch["ids"])


def contrastive(model, batch):
    x = F.normalize(model(batch["ids"]).mean(1), dim=-1)
    return F.cross_entropy(x @ x.T * 5, torch.arange(len(x)))


def update(model, optimizer, scheduler):
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    scheduler.step()


def stepping(loss):
    def step(model, optimizer, scheduler, batch):
        model.train()
        optimizer.zero_grad()
        loss(model, batch).backward()
        update(model, optimizer, scheduler)

    return step


def pieces_with(loss, weigh, *, each=None, ends=update):
    def accumulate(model, optimizer, scheduler, pieces):
        model.train()
        optimizer.zero_grad()
        for piece in pieces:
            if each is not None:
                each(model, optimizer, scheduler)
            (loss(model, piece) * weigh(piece, pieces)).backward()
        ends(model, optimizer, scheduler)

    return accumulate


def shared_rows(piece, pieces):
    return len(piece["ids"]) / sum(len(p["ids"]) for p in pieces)


def shared_tokens(piece, pieces):
    return tokens(piece) / sum(tokens(p) for p in pieces)


def alike(piece, pieces):
    return 1 / len(pieces)


def undivided(piece, pieces):
    return 1.0


def nothing(model, optimizer, scheduler):
    pass


def told(loss, accumulate):
    trainer = Trainer(
        optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        scheduler=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5),
        step=stepping(loss),
        accumulate=accumulate,
        clip=CLIP,
    )
    spec = ModelSpec(build=Net, batch=batch, trainer=trainer)
    (outcome,) = check_model(spec, only=("trainer_accumulation",)).outcomes
    assert outcome.status != "error", outcome.reason
    return outcome


SOUND = {
    "a mean over tokens": (by_tokens, pieces_with(by_tokens, shared_tokens)),
    "a mean over rows": (by_rows, pieces_with(by_rows, shared_rows)),
    "a sum": (total, pieces_with(total, undivided)),
}


@pytest.mark.parametrize(("loss", "accumulate"), SOUND.values(), ids=SOUND)
def test_pieces_that_weigh_what_they_count_pass(loss, accumulate):
    assert told(loss, accumulate).status == "passed"


def zero(model, optimizer, scheduler):
    optimizer.zero_grad()


def tick(model, optimizer, scheduler):
    scheduler.step()


def clip(model, optimizer, scheduler):
    for p in model.parameters():
        if p.grad is not None:
            p.grad.mul_(0.5)


MISTAKES = {
    "no division": (by_rows, pieces_with(by_rows, undivided), "not divided"),
    "tokens count alike in pieces of any length": (
        by_tokens,
        pieces_with(by_tokens, alike),
        "every piece weighs the same",
    ),
    "gradients set to zero for each piece": (
        by_rows,
        pieces_with(by_rows, shared_rows, each=zero),
        "only the last one counts",
    ),
    "a sum that is divided": (total, pieces_with(total, alike), "wrong number"),
    "gradients scaled between pieces": (
        by_rows,
        pieces_with(by_rows, shared_rows, each=clip),
        "not those of the whole batch",
    ),
    "another loss": (by_rows, pieces_with(by_tokens, shared_tokens), "something else"),
    "a step in every piece": (
        by_rows,
        pieces_with(by_rows, shared_rows, each=update),
        "nothing is accumulated",
    ),
}


@pytest.mark.parametrize(("loss", "accumulate", "said"), MISTAKES.values(), ids=MISTAKES)
def test_pieces_that_weigh_something_else_are_stopped(loss, accumulate, said):
    outcome = told(loss, accumulate)
    assert [(f.kind, f.severity) for f in outcome.findings] == [("accumulation", "fail")]
    assert said in outcome.findings[0].explanation


def test_pieces_that_only_fit_when_they_are_as_large_as_each_other_are_a_warning():
    (found,) = told(by_rows, pieces_with(by_rows, alike)).findings
    assert (found.kind, found.severity) == ("accumulation", "warn")


def test_a_scheduler_that_steps_in_every_piece_is_stopped():
    (found,) = told(by_rows, pieces_with(by_rows, shared_rows, each=tick)).findings
    assert (found.kind, found.severity) == ("scheduler", "fail")


def test_a_loss_of_rows_against_rows_is_left_alone():
    outcome = told(contrastive, pieces_with(contrastive, shared_rows))
    assert outcome.status == "skipped"
    assert "other rows" in outcome.reason


def test_an_accumulation_without_a_step_is_left_alone():
    assert told(by_rows, pieces_with(by_rows, shared_rows, ends=nothing)).status == "skipped"


def test_an_accumulation_that_raises_is_a_crash():
    def broken(model, optimizer, scheduler, pieces):
        raise KeyError("labels")

    assert told(by_rows, broken).findings[0].kind == "crash"

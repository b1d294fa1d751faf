"""The rows kept back are judged alike on any number of processes."""

import copy
from types import SimpleNamespace

import pytest
import torch

from unit.train.learning import learner, noisy
from zoo.train.ema import EMA
from zoo.train.judge import part_of, plain_batches, valid_loss
from zoo.train.world import World


@pytest.mark.parametrize("rows", [1, 4, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_parts_of_all_processes_weigh_each_row_once(rows, size):
    weights = torch.zeros(rows, dtype=torch.float64)
    for rank in range(size):
        own, weight = part_of(rows, World(rank=rank, size=size))
        assert 0 < len(weights[own]) <= rows  # FSDP2 needs all processes in every forward
        weights[own] += weight
    torch.testing.assert_close(weights, torch.ones(rows, dtype=torch.float64))


BATCHES = {
    "all": (10, 4, False, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
    "some": (5, 4, False, [[0, 1, 2, 3], [4]]),
    "whole ones": (10, 4, True, [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "the only one": (3, 4, True, [[0, 1, 2]]),
    "more than there are": (99, 5, False, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]),
}


@pytest.mark.parametrize("what", BATCHES)
def test_rows_come_in_their_order(what):
    rows, size, whole, expected = BATCHES[what]
    batches = [*plain_batches(range(10), rows=rows, size=size, seed=3, whole=whole)]
    assert [chosen.tolist() for chosen, _ in batches] == expected
    seeds = [generator.initial_seed() for _, generator in batches]
    again = plain_batches(range(10), rows=rows, size=size, seed=3, whole=whole)
    assert [generator.initial_seed() for _, generator in again] == seeds
    assert len({*seeds}) == len(seeds)


class Kept:
    """Rows of tokens, and which of them were asked for."""

    def __init__(self, ids):
        self.ids, self.asked = ids, []

    def __len__(self):
        return len(self.ids)

    def batch(self, chosen, generator, own):
        self.asked.append(chosen[own].tolist())
        ids = self.ids[chosen][own]
        return {"input_ids": ids, "labels": ids}


def run_of(valid, *, ema=None, rows=5, size=2):
    made = learner("gpt2", "lm", noisy("gpt2", "lm"), ema=ema)
    keep, train = SimpleNamespace(rows=rows), SimpleNamespace(batch=size, seed=3)
    return SimpleNamespace(
        course=SimpleNamespace(valid=valid, head="lm"),
        world=World(),
        learner=made,
        config=SimpleNamespace(keep=keep, train=train),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("averages", [True, False])
def test_the_loss_of_rows_kept_back_is_their_mean_without_dropout(averages, training):
    """Of five rows in batches of two; with averages it is theirs, and the model is as it was."""
    ids = torch.arange(8 * 6).view(8, 6) * 7 % 90
    valid = Kept(ids)
    ema = (lambda model: EMA(model, 0.5)) if averages else None
    run = run_of(valid, ema=ema)
    model = run.learner.model.train(training)
    published = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.25)
        if not averages:
            published = copy.deepcopy(model)
        logits = published.eval()(ids[:5])[:, :-1]
    wanted = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:5, 1:].flatten())
    assert valid_loss(run) == pytest.approx(float(wanted), rel=1e-9)
    assert valid.asked == [[0, 1], [2, 3], [4]]
    assert model.training is training
    assert all(p.grad is None for p in model.parameters())


def test_a_judge_that_fails_leaves_the_model_as_it_was():
    run = run_of(Kept(torch.full((2, 6), 10**6)))
    run.learner.model.train()
    with pytest.raises((IndexError, ValueError)):
        valid_loss(run)
    assert run.learner.model.training


def test_without_rows_kept_back_there_is_no_loss():
    assert valid_loss(run_of(None)) is None

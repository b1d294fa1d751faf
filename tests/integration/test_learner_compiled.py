"""A compiled learner takes the steps of a plain one, with dropout on, whole and in pieces."""

import pytest
import torch
from torch._dynamo.utils import counters

from unit.models.tiny import MAIN, labelled
from unit.train.learning import learner, noisy, rows, single

pytestmark = pytest.mark.compile

SHALLOW = {
    "bert": {"depth": 1},
    "clip": {"image_depth": 1, "text_depth": 1},
    "gpt2": {"depth": 1},
    "vit": {"depth": 1},
}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    counters.clear()


def steps(family, compile, size):
    head = MAIN[family]
    model = noisy(family, head, **SHALLOW[family]).float()
    batch = single(labelled(family, head, model))
    one = learner(family, head, model, compile=compile)
    torch.manual_seed(5)
    return [one.step(rows(batch, size), 1e-2)[:2] for _ in range(3)]


@pytest.mark.thinned(2)
@pytest.mark.parametrize(("family", "size"), [("bert", 4), ("clip", 2), ("gpt2", 4), ("vit", 4)])
def test_a_compiled_learner_takes_the_same_steps(family, size):
    plain = steps(family, False, size)
    assert not counters["stats"]["unique_graphs"]
    compiled = steps(family, "aot_eager", size)
    assert counters["stats"]["unique_graphs"]
    # the same operations, decomposed: the last bits of sums may differ
    assert compiled == [pytest.approx(step, rel=2**-14) for step in plain]


LENGTHS = (11, 9, 7, 10, 9)


def steps_of_lengths(family, compile):
    """Take a step over a padded batch of each length; count the graphs made by the end of each."""
    head = MAIN[family]
    model = noisy(family, head, **SHALLOW[family]).float()
    whole = single(labelled(family, head, model))
    one = learner(family, head, model, compile=compile)
    torch.manual_seed(5)
    taken, graphs = [], []
    for length in LENGTHS:
        batch = {name: x[:, :length].contiguous() for name, x in whole.items()}
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        batch["attention_mask"][0, length // 2 :] = 0
        taken.append(one.step([batch], 1e-2)[:2])
        graphs.append(counters["stats"]["unique_graphs"])
    return taken, graphs


@pytest.mark.thinned(2)
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_steps_over_padded_batches_of_many_lengths_take_two_graphs(family):
    """One for the first length, as most trainings have no other, and one for all that follow."""
    plain, _ = steps_of_lengths(family, False)
    compiled, graphs = steps_of_lengths(family, "aot_eager")
    assert graphs == [1, 2, 2, 2, 2]
    assert compiled == [pytest.approx(step, rel=2**-14) for step in plain]


def test_the_backend_that_is_named_compiles():
    with pytest.raises(RuntimeError, match="no_such_backend"):
        steps("gpt2", "no_such_backend", 4)

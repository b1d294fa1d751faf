"""A step over pieces is the whole batch's, changes nothing where it fails, and keeps its dtype."""

import math

import pytest
import torch
from torch import nn

from unit.models.tiny import LEARNED, MAIN, example, labelled, tiny
from unit.train.learning import DECAY, held, learner, noisy, rows, same, single, spoilt
from zoo.objectives import IGNORE, OBJECTIVES
from zoo.train import TrainingError, make_optimizer, train_step
from zoo.train.ema import EMA
from zoo.train.learner import Learner, Result

EACH = pytest.mark.parametrize(("family", "head"), LEARNED, ids=str)


@EACH
def test_a_step_in_one_piece_is_train_step_to_the_bit(family, head):
    one, other = learner(family, head), tiny(family, head)
    batch = labelled(family, head, other)
    optimizer = make_optimizer(other, 1e-2)
    for rate in (1e-2, 3e-3, 2e-3):
        expected = train_step(other, batch, OBJECTIVES[head], optimizer, rate=rate)
        assert one.step([batch], rate) == Result(*expected, skipped=False)
    weights = zip(one.model.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_loss_and_the_norm_do_not_depend_on_the_pieces():
    results = []
    for size in (4, 2, 1):
        one = learner("gpt2", "lm")
        batch = labelled("gpt2", "lm", one.model)
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        batch["attention_mask"][1, 4:] = 0
        results.append(one.step(rows(batch, size), 1e-2)[:2])
    assert results[1:] == [pytest.approx(results[0], rel=1e-12)] * 2


class Point(nn.Module):
    """One weight vector; the loss of the objective `token` is that of its two logits."""

    def __init__(self, *values):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(values, dtype=torch.float64))
        self.head = nn.Linear(1, 1, bias=False).double()
        nn.init.ones_(self.head.weight)
        self.stepped = 0

    def forward(self, x):
        return x * self.weight * self.head.weight[0]

    def after_step(self):
        self.stepped += 1


POINT = {"x": torch.tensor([[3.0, 4.0]], dtype=torch.float64), "labels": torch.tensor([0])}


def point_gradient():
    """Give the gradients at Point(2, 1) by hand: logits 6 and 4, p = sigmoid(-2) of the second."""
    p = 1 / (1 + math.exp(2))
    return torch.tensor([-3 * p, 4 * p], dtype=torch.float64), (-6 * p + 4 * p)


@pytest.mark.parametrize("clip", [1e-3, 0.25, 99.0])
def test_a_step_follows_the_gradient_clipped_by_the_norm_over_all_weights(clip):
    model = Point(2.0, 1.0)
    one = Learner(model, torch.optim.SGD(model.parameters(), lr=9.0), "token", clip=clip)
    gradient, of_head = point_gradient()
    norm = math.sqrt(gradient.square().sum() + of_head**2)
    found = one.step([POINT], 0.5)
    assert found == Result(pytest.approx(math.log1p(math.exp(-2))), pytest.approx(norm))
    share = 0.5 * min(1.0, clip / (norm + 1e-6))  # torch's 1e-6
    expected = torch.tensor([2.0, 1.0]).double() - share * gradient
    torch.testing.assert_close(model.weight.detach(), expected, rtol=1e-12, atol=1e-12)
    assert model.head.weight.item() == pytest.approx(1 - share * of_head, rel=1e-12)


def test_gradients_are_clipped_to_one_unless_told_otherwise():
    assert learner("gpt2", "lm").clip == 1.0


def test_a_groups_scale_multiplies_the_rate():
    model = Point(2.0, 1.0)
    groups = [{"params": [model.weight], "scale": 0.25}, {"params": [model.head.weight]}]
    one = Learner(model, torch.optim.SGD(groups, lr=9.0), "token", clip=99.0)
    one.step([POINT], 0.5)
    assert [group["lr"] for group in one.optimizer.param_groups] == [0.125, 0.5]
    moved = torch.tensor([2.0, 1.0]) - 0.125 * point_gradient()[0]
    torch.testing.assert_close(model.weight.detach(), moved, rtol=1e-12, atol=1e-12)


def test_a_step_brings_parameters_back_and_takes_the_average_then():
    model = tiny("clip", "match")
    ema = EMA(model, 0.0)  # the average is the last weights
    one = Learner(model, torch.optim.SGD(model.parameters(), lr=0.0), "match", ema=ema)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    one.step([example("clip", "match", model)], 0.0)
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert torch.equal(ema.state()["logit_scale"], model.logit_scale)


def test_optimizer_and_average_may_be_made_of_the_model():
    model = tiny("gpt2", "lm")
    one = Learner(
        model, lambda m: torch.optim.SGD(m.parameters()), "lm", ema=lambda m: EMA(m, DECAY)
    )
    one.step([labelled("gpt2", "lm", model)], 1e-2)
    assert one.optimizer.param_groups[0]["params"][0] is next(model.parameters())
    assert one.ema.updates == 1


def test_a_gradient_left_from_before_does_not_count():
    one, other = learner("gpt2", "lm"), learner("gpt2", "lm")
    batch = labelled("gpt2", "lm", one.model)
    for parameter in one.model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    assert one.step([batch], 1e-2) == other.step([batch], 1e-2)


@pytest.mark.parametrize(
    ("head", "options", "sentence"),
    [
        ("chat", {}, "no objective 'chat'; there are"),
        ("match", {"smoothing": 0.1}, "smoothing 0.1: the labels of 'match' are no classes"),
        ("lm", {"optimizer": lambda m: torch.optim.SGD([m.norm.weight])}, "does not hold tokens."),
        ("lm", {"ema": lambda m: EMA(tiny("gpt2", "lm"), DECAY)}, "another model's tokens.weight"),
        ("lm", {"dtype": torch.bfloat16, "kind": torch.bfloat16}, "tokens.weight is torch.bf"),
        ("lm", {"dtype": torch.float16, "kind": torch.float16}, "keeps weights in float32: call"),
    ],
    ids=["objective", "smoothing", "optimizer", "average", "bfloat16", "float16"],
)
def test_what_cannot_be_learnt_is_refused(head, options, sentence):
    model = tiny("gpt2", "lm").to(options.pop("kind", torch.float32))
    optimizer = options.pop("optimizer", lambda m: make_optimizer(m, 1e-2))
    with pytest.raises(ValueError, match=sentence):
        Learner(model, optimizer, head, **options)


def test_weights_that_are_not_trained_need_no_optimizer():
    model = tiny("gpt2", "lm")
    model.blocks.requires_grad_(False)
    one = learner("gpt2", "lm", model)
    one.step([labelled("gpt2", "lm", model)], 1e-2)
    fresh = tiny("gpt2", "lm")
    assert torch.equal(model.blocks[0].mlp.up.weight, fresh.blocks[0].mlp.up.weight)
    assert not torch.equal(model.norm.weight, fresh.norm.weight)


@pytest.mark.parametrize("size", [4, 2], ids="{} rows a piece".format)
def test_a_batch_of_which_nothing_counts_costs_nothing(size):
    one = learner("gpt2", "token")
    batch = labelled("gpt2", "token", one.model)
    batch["labels"] = torch.full_like(batch["labels"], IGNORE)
    assert one.step(rows(batch, size), 1e-2) == Result(0.0, 0.0)


def test_no_batch_is_refused():
    with pytest.raises(ValueError, match="at least one batch"):
        learner("gpt2", "lm").step([], 1e-2)


@pytest.mark.parametrize("size", [4, 2], ids="{} rows a piece".format)
@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize(
    ("family", "head"), [("vit", "image"), ("vit", "masked_image"), ("clip", "match")], ids=str
)
def test_a_number_that_is_not_finite_changes_no_bit(family, head, bad, size):
    model = tiny(family, head)
    one = learner(family, head, model, ema=EMA(model, DECAY))
    batch = labelled(family, head, model)
    one.step(rows(batch, size), 1e-2)
    before, updates = held(one), one.ema.updates
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) and") as caught:
        one.step(rows(spoilt(batch, bad), size), 1e-2)
    assert not math.isfinite(caught.value.loss)
    assert same(held(one), before)
    assert one.ema.updates == updates
    assert math.isfinite(one.step(rows(batch, size), 1e-2).loss)  # and the run can go on
    assert not same(held(one), before)


def test_an_infinite_gradient_of_a_finite_loss_changes_no_bit():
    model = Point(2.0, 1.0)
    model.weight.register_hook(lambda gradient: gradient * math.inf)
    one = Learner(model, torch.optim.AdamW(model.parameters()), "token")
    before = held(one)
    with pytest.raises(TrainingError, match=r"the loss is 0.126.* norm (nan|inf)") as caught:
        one.step([POINT], 1e-2)
    assert caught.value.loss == pytest.approx(math.log1p(math.exp(-2)))
    assert not math.isfinite(caught.value.norm)
    assert same(held(one), before)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("size", [4, 1], ids="{} rows a piece".format)
def test_smoothing_reaches_the_objective(smoothing, size):
    one = learner("bert", "sequence", smoothing=smoothing)
    batch = labelled("bert", "sequence", one.model)
    expected = OBJECTIVES["sequence"](one.model, batch, smoothing=smoothing).item()
    assert one.step(rows(batch, size), 1e-2).loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [4, 2], ids="{} rows a piece".format)
@pytest.mark.parametrize("family", sorted(MAIN))
def test_recomputing_activations_changes_no_bit_with_dropout_on(family, size):
    head = MAIN[family]
    found = []
    for recompute in (False, True):
        model = noisy(family, head)
        model.recompute = recompute
        one = learner(family, head, model)
        batch = labelled(family, head, model)
        torch.manual_seed(5)
        results = [one.step(rows(batch, size), 1e-2) for _ in range(2)]
        found.append((results, held(one), torch.get_rng_state()))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])
    assert torch.equal(found[0][2], found[1][2])


def rounding(model, batch, head, unit):
    """Bound what rounding every weight and what goes in and out of every module does to the loss.

    To first order a change of x by at most unit |x| costs unit sum |x dL/dx|.
    """
    seen = {id(p): p for p in model.parameters()}

    def note(module, inputs, output):
        for x in (*inputs, output):
            if isinstance(x, torch.Tensor) and x.requires_grad:
                x.retain_grad()
                seen[id(x)] = x

    hooks = [
        m.register_forward_hook(note) for m in model.modules() if not isinstance(m, type(model))
    ]
    loss = OBJECTIVES[head](model, batch)
    loss.backward()
    for hook in hooks:
        hook.remove()
    cost = sum((x * x.grad).abs().sum().item() for x in seen.values() if x.grad is not None)
    model.zero_grad()
    return loss.item(), unit * cost


@pytest.mark.parametrize(
    ("dtype", "unit"), [(torch.bfloat16, 2**-9), (torch.float16, 2**-12)], ids=str
)
@EACH
def test_a_loss_under_autocast_is_float32s_but_for_its_rounding(family, head, dtype, unit):
    model = tiny(family, head)
    batch = labelled(family, head, model)
    exact, bound = rounding(model, batch, head, unit)
    one = learner(family, head, model.float(), dtype=dtype)
    loss = one.step([single(batch)], 1e-3).loss
    assert 0 < abs(loss - exact) < bound
    assert bound < exact / 4  # it does bound
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}

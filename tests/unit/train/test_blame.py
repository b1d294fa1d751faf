import copy
import re

import pytest
import torch
from torch import nn
from torch.autograd import Function

from unit.models.tiny import LEARNED, MAIN, labelled, tiny
from zoo.models import MODELS
from zoo.objectives import OBJECTIVES
from zoo.train.blame import Fault, find_fault

INF, NAN = float("inf"), float("nan")


class BackwardOfZero(Function):
    """The identity, whose backward divides nothing by nothing."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return dy * 0 / 0


class Bad(nn.Module):
    def forward(self, x):
        return BackwardOfZero.apply(x)


class LogOfNegative(nn.Module):
    def forward(self, x):
        return (-x.abs() - 1).log()


def ready(family, head):
    model = tiny(family, head).train()
    return model, labelled(family, head, model)


def blamed(model, inputs, head, **options):
    return find_fault(model, lambda: OBJECTIVES[head](model, inputs), **options)


def fill(name, value, index=()):
    """Make a fault: a parameter's number, by the parameter's name."""

    def plant(model, _batch):
        with torch.no_grad():
            model.get_parameter(name)[index] = value

    return plant


def put(name, module):
    """Make a fault: a module before the one of this name."""

    def plant(model, _batch):
        parent, _, own = name.rpartition(".")
        old = model.get_submodule(name)
        setattr(model.get_submodule(parent), own, nn.Sequential(module(), old))

    return plant


def spoil(field, index, value):
    def plant(_model, batch):
        batch[field][index] = value

    return plant


def both(*plants):
    def plant(model, batch):
        for one in plants:
            one(model, batch)

    return plant


def even_norm(name):
    """Make a fault: a norm without eps of a row whose numbers are all the same."""

    def plant(model, _batch):
        norm = model.get_submodule(name)
        norm.eps = 0.0
        norm.register_forward_pre_hook(lambda _, args: (args[0] * 0,))

    return plant


FAULTS = [
    # what, (family, head), how it is planted, module, class, where, what it says
    ("a row of the token table", ("gpt2", "lm"), fill("tokens.weight", INF, (7, 2)),
     "tokens", "Embedding", "parameter", r"weight has 1 Inf of 1940 values, the first at \(7, 2\)"),
    ("a bias", ("bert", "masked_lm"), fill("blocks.1.mlp.up.bias", NAN, 3),
     "blocks.1.mlp.up", "Linear", "parameter", r"bias has 1 NaN of 36 values, the first at \(3,\)"),
    ("a scale", ("clip", "match"), fill("logit_scale", NAN),
     "", "CLIP", "parameter", r"logit_scale has NaN$"),
    ("a weight that explodes", ("vit", "image"), fill("blocks.1.mlp.up.weight", 1e308),
     "blocks.1.mlp.up", "Linear", "output", r"of 1296 values"),
    ("products that explode", ("gpt2", "lm"), fill("blocks.2.attn.qkv.weight", 1e200),
     "blocks.2.attn", "Attention", "output", r"what it hands to its own out has \d+ NaN of 880"),
    ("a text tower", ("clip", "match"), fill("text.blocks.2.mlp.down.weight", 1e308),
     "text.blocks.2.mlp.down", "Linear", "output", r"Inf"),
    ("a norm without eps", ("bert", "sequence"), even_norm("blocks.1.norm2"),
     "blocks.1.norm2", "LayerNorm", "output", r"880 NaN of 880 values, the first at \(0, 0, 0\)"),
    ("a norm of a tower", ("clip", "match"), even_norm("image.norm_in"),
     "image.norm_in", "LayerNorm", "output", r"720 NaN of 720 values"),
    ("sums outside of every call", ("gpt2", "lm"),
     both(fill("tokens.weight", 1e308), fill("positions.weight", 1e308)),
     "drop", "Dropout", "input", r"Inf of 880 values.* computed outside of .* by GPT2"),
    ("the backward of a module", ("bert", "masked_lm"), put("blocks.1.mlp.down", Bad),
     "blocks.1.mlp.down.0", "Bad", "gradient", r"of what it read, \d+ NaN of 1584 values"),
    ("a backward in a tower", ("clip", "match"), put("image.blocks.0.attn.out", Bad),
     "image.blocks.0.attn.out.0", "Bad", "gradient", r"of what it read, \d+ NaN of 720 values"),
    ("a backward below nothing", ("vit", "image"), put("blocks.0.norm1", Bad),
     "blocks.0.norm1.0", "Bad", "gradient", r"NaN"),
    ("a logarithm", ("vit", "image"), put("head", LogOfNegative),
     "head.0", "LogOfNegative", "output", r"80 NaN of 80 values"),
    ("a logarithm in GPT-2", ("gpt2", "token"), put("blocks.0.mlp", LogOfNegative),
     "blocks.0.mlp.0", "LogOfNegative", "output", r"880 NaN of 880 values"),
    ("a pixel", ("vit", "image"), spoil("pixel_values", (2, 1, 3, 4), NAN),
     "", "ViT", "input", r"1 NaN of 1440 values, .* \(2, 1, 3, 4\), and no module"),
    ("a pixel for a tower", ("clip", "match"), spoil("pixel_values", (3, 0, 0, 1), INF),
     "image.patch", "Patches", "input", r"1 Inf of 1440 values, the first at \(3, 0, 0, 1\)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "plant", "module", "kind", "place", "text"),
    [row[1:] for row in FAULTS],
    ids=[row[0] for row in FAULTS],
)
def test_a_planted_fault_is_named(where, plant, module, kind, place, text):
    model, batch = ready(*where)
    plant(model, batch)
    fault = blamed(model, batch, where[1])
    assert (fault.module, fault.kind, fault.where) == (module, kind, place)
    assert re.search(text, fault.what), fault.what
    assert fault.what in fault.sentence()


@pytest.mark.parametrize(("family", "head"), LEARNED)
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
def test_a_sound_model_has_no_fault(family, head, recompute):
    model, batch = ready(family, head)
    model.recompute = recompute
    assert blamed(model, batch, head, batch=batch) is None


@pytest.mark.parametrize(("family", "head"), MAIN.items())
def test_recomputed_blocks_are_blamed_as_others_are(family, head):
    model, batch = ready(family, head)
    name = "image.blocks.1" if family == "clip" else "blocks.1"
    put(f"{name}.mlp.up", Bad)(model, batch)
    model.recompute = True
    fault = blamed(model, batch, head)
    assert fault.where == "gradient"
    assert fault.module in (f"{name}.mlp.up.0", name)


def test_the_batch_is_named_by_field_and_place():
    model, batch = ready("vit", "image")
    batch["pixel_values"][2, 1, 3, 4] = NAN
    fault = blamed(model, batch, "image", batch=batch)
    text = "1 NaN of 1440 values, the first at (2, 1, 3, 4)"
    assert fault == Fault("pixel_values", "batch", "input", text)
    assert fault.sentence() == f"the batch is not finite: pixel_values has {text}"


class Twice(nn.Module):
    """Call one module twice, with a tuple and a dict between."""

    def __init__(self, factor):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.pair = Pair()
        self.factor = factor
        self.register_buffer("mask", torch.tensor([0.0, -INF, 0.0]))

    def forward(self, x):
        x = self.first(x)
        pair, named = self.pair(x)
        y = self.first(pair[1] * self.factor)
        return (y + named["b"]).softmax(-1) + self.mask.exp()


class Pair(nn.Module):
    def forward(self, x):
        return (x, x + 1), {"a": None, "b": x * 2}


def test_a_module_called_twice_and_outputs_in_tuples_and_dicts_are_heard():
    assert find_fault(Twice(2.0), lambda: torch.ones(())) is None
    model = Twice(2.0)
    x = torch.ones(4, 3)
    assert find_fault(model, lambda: model(x).sum()) is None
    model = Twice(INF)
    fault = find_fault(model, lambda: model(x).sum())
    assert (fault.module, fault.kind, fault.where) == ("", "Twice", "output")
    assert "what it hands to its own first has 12 Inf of 12 values" in fault.what


def test_the_objective_itself_is_blamed_when_every_module_was_finite():
    model = nn.Sequential(nn.Linear(3, 2))
    fault = find_fault(model, lambda: (-model(torch.ones(4, 3)).square() - 1).log().sum())
    assert fault == Fault("", "loss", "loss", "NaN; the last was the model")
    assert fault.sentence().startswith("the loss is not finite, and what every module gave is: NaN")
    alone = find_fault(model, lambda: torch.tensor(INF))
    assert alone == Fault("", "loss", "loss", "Inf")


def test_the_backward_of_the_objective_is_told_from_that_of_a_module():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    fault = find_fault(model, lambda: (model(torch.ones(4, 3)) * 0).sqrt().sum())
    assert (fault.module, fault.kind, fault.where) == ("", "loss", "gradient")
    assert "what comes from it to the model has 8 NaN of 8 values" in fault.what
    assert "is at the loss itself" in fault.sentence()


class Between(nn.Module):
    """Do harm in the backward pass between two modules, in a call of its own or not."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)
        self.second = nn.Linear(2, 2)

    def forward(self, x):
        return self.second(BackwardOfZero.apply(self.first(x)))


def test_a_backward_between_modules_is_laid_to_the_call_around_or_to_the_nearest():
    model, x = Between(), torch.ones(4, 3)
    inside = find_fault(model, lambda: model(x).sum())
    assert (inside.module, inside.kind, inside.where) == ("", "Between", "gradient")
    assert "what comes from it to its own first has 8 NaN of 8 values" in inside.what
    outside = find_fault(model, lambda: model.forward(x).sum())
    assert (outside.module, outside.kind, outside.where) == ("first", "Linear", "gradient")
    assert "computed outside of every module's call, has 8 NaN" in outside.what


class Box:
    """What holds a tensor and is none: no gradient of it is heard."""

    def __init__(self, x):
        self.x = x


class Boxing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 2)

    def forward(self, x):
        return Box(self.first(x))


class Unboxing(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Boxing()

    def forward(self, x):
        return BackwardOfZero.apply(self.inner(x).x)


def test_a_backward_is_laid_to_the_nearest_call_around_whose_gradient_came():
    model = Unboxing()
    found = find_fault(model, lambda: model(torch.ones(4, 3)).sum())
    assert (found.module, found.kind, found.where) == ("", "Unboxing", "gradient")
    assert "what comes from it to its own first has 8 NaN of 8 values" in found.what


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x + BackwardOfZero.apply(self.weight)


def test_a_parameter_whose_own_gradient_is_bad_is_named():
    model = nn.Sequential(nn.Linear(2, 3), Sum())
    fault = find_fault(model, lambda: model(torch.ones(4, 2)).sum())
    text = "of its weight, 3 NaN of 3 values, the first at (0,)"
    assert fault == Fault("1", "Sum", "gradient", text)


def test_of_several_parameters_the_one_nearest_to_the_loss_is_named():
    model = nn.ModuleDict({"late": Sum(), "early": Sum()})
    fault = find_fault(model, lambda: model["late"](model["early"](torch.ones(4, 3))).sum())
    assert fault.module == "late"


def test_gradients_whose_common_norm_overflows_are_said_so():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    with torch.no_grad():
        model[1].weight.fill_(1e-3)
    fault = find_fault(model, lambda: model(torch.ones(4, 2) * 1e-3).sum() * 1e30)
    assert (fault.module, fault.where) == ("1", "gradient")
    assert fault.what == "of its bias, the largest: all are finite, but not their norm"


def test_infinity_that_is_masked_out_is_no_fault():
    class Masked(nn.Module):
        def forward(self, x):
            return torch.where(torch.tensor([True, False]), x, -INF)

    model = nn.Sequential(nn.Linear(3, 2), Masked(), nn.Softmax(-1))
    assert find_fault(model, lambda: model(torch.ones(4, 3))[:, 0].sum()) is None


def test_a_part_that_runs_without_gradients_is_heard_and_not_disturbed():
    def run(first, second):
        hidden = second(torch.ones(4, 3))
        with torch.no_grad():
            same = first(hidden)
        return same.mul_(2).sum()  # torch refuses this for a view that was made without gradients

    for first, named in ((nn.Identity(), None), (LogOfNegative(), "0")):
        model = nn.Sequential(first, nn.Linear(3, 2))
        fault = find_fault(model, lambda model=model: run(*model))
        assert (fault and fault.module) == named


def test_a_gradient_that_reaches_no_parameter_is_no_fault():
    model = nn.Sequential(Bad(), nn.Linear(3, 2))
    x = torch.ones(4, 3, requires_grad=True)
    assert find_fault(model, lambda: model(x).sum()) is None
    assert bool(x.grad.isnan().all())


def test_everything_is_as_before():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), LogOfNegative())
    x = torch.ones(5, 3)
    model[0](x).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    held = [None if g is None else g.clone() for g in gradients]
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    assert find_fault(model, lambda: model(x).sum()) is not None
    with pytest.raises(RuntimeError, match="no such run"):
        find_fault(model, raiser(model, x))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
    assert all(g is None or torch.equal(g, h) for g, h in zip(gradients, held, strict=True))
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    for part in model.modules():
        assert not part._forward_hooks and not part._forward_pre_hooks
    assert all(not p._backward_hooks for p in model.parameters())


def raiser(model, x):
    def run():
        model(x)
        raise RuntimeError("no such run")

    return run


def test_every_family_has_planted_faults():
    assert {row[1][0] for row in FAULTS} == set(MODELS)

"""Custom backward passes alone: sound ones, and one with a mistake each."""

import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * x.cos()


class Halved(Sine):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 0.5 * dy * x.cos()


class Apart(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.sin()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * x.cos()


class Kept(torch.autograd.Function):
    """The cosine of forward hangs on no graph."""

    @staticmethod
    def forward(ctx, x):
        ctx.cosine = x.cos()
        return x.sin()

    @staticmethod
    def backward(ctx, dy):
        return dy * ctx.cosine


class KeptOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.cosine = x.cos()
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        return dy * ctx.cosine


class WritesBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy.mul_(x.cos())


class ViewsBack(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy.view(-1).view(x.shape) * x.cos()


class Counts(torch.autograd.Function):
    """Changes what it kept: the second backward pass differs."""

    @staticmethod
    def forward(ctx, x):
        ctx.cosine = x.cos()
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        found = dy * ctx.cosine
        ctx.cosine = ctx.cosine * 2
        return found


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dz):
        x, y = ctx.saved_tensors
        return dz * y, dz * x


class Minds(Product):
    """The second gradient hangs on whether the first is asked for."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dz):
        x, y = ctx.saved_tensors
        return dz * y, dz * (x if ctx.needs_input_grad[0] else 2 * x)


class OneGiven(Product):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, dz):
        return dz * ctx.saved_tensors[1], None


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, ds, dc):
        (x,) = ctx.saved_tensors
        ds = torch.zeros_like(x) if ds is None else ds
        dc = torch.zeros_like(x) if dc is None else dc
        return ds * x.cos() - dc * x.sin()


class BothNeeded(Both):
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, ds, dc):
        (x,) = ctx.saved_tensors
        return ds * x.cos() - dc * x.sin()


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.left, self.right = nn.Linear(5, 6), nn.Linear(5, 6)
        self.act = Act(function)

    def forward(self, x):
        return self.act(self.left(x), self.right(x))


class Act(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, y):
        if issubclass(self.function, Product):
            return self.function.apply(x, y)
        if issubclass(self.function, Both):
            s, c = self.function.apply(x)
            return s * y + c
        return self.function.apply(x) * y


def batch(size):
    return {"x": torch.randn(size, 5)}


def spec(function, **facts):
    return ModelSpec(build=lambda: Net(function), batch=batch, **facts)


def findings(given):
    report = check_model(given, only=["functions"])
    assert report.outcomes[-1].status != "error", report.outcomes[-1].reason
    return [(f.severity, f.kind, f.where) for f in report.outcomes[-1].findings]


SOUND = [Sine, Apart, KeptOnce, Product, Both]
BROKEN = {
    Halved: ("wrong-gradient", "autograd says"),
    OneGiven: ("wrong-gradient", "for input 1"),
    WritesBack: ("wrong-gradient", "changed the numbers of the gradient that it was given"),
    ViewsBack: ("wrong-gradient", "raised RuntimeError"),
    Counts: ("wrong-gradient", "a second time"),
    Minds: ("wrong-gradient", "when only that input asks for one"),
    BothNeeded: ("wrong-gradient", "when only output 0 was used"),
    Kept: ("double-backward", "second derivative"),
}


@pytest.mark.parametrize("function", SOUND, ids=lambda f: f.__name__)
def test_a_sound_function_passes(function):
    assert findings(spec(function, custom_functions=[function])) == []


@pytest.mark.parametrize("function", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_function_fails_in_the_module_that_calls_it(function):
    kind, words = BROKEN[function]
    given = spec(function, custom_functions=[function])
    assert findings(given) == [("fail", kind, "act")]
    found = check_model(given, only=["functions"]).failures[0]
    assert words in found.evidence
    assert f"{function.__name__}.backward" in found.line


def test_a_second_derivative_that_nobody_asked_for_is_a_warning():
    assert findings(spec(Kept)) == [("warn", "double-backward", "act")]


def test_a_function_may_be_named_with_inputs_of_its_own():
    rows = torch.linspace(-1, 1, 12).view(3, 4)
    given = ModelSpec(
        build=lambda: nn.Linear(5, 2),
        batch=lambda size: {"input": torch.randn(size, 5)},
        custom_functions=[(Halved, (rows,)), (Sine, (rows,))],
    )
    assert findings(given) == [("fail", "wrong-gradient", "")]


def test_what_is_declared_straight_through_is_not_looked_at():
    assert findings(spec(Halved, straight_through=True)) == []
    assert findings(spec(Halved, straight_through=["act"])) == []


def test_the_class_is_as_it_was_afterwards():
    before = dict(vars(Halved))
    findings(spec(Halved))
    assert dict(vars(Halved)) == before


def test_a_model_without_a_function_has_nothing_to_try():
    given = ModelSpec(
        build=lambda: nn.Linear(5, 2), batch=lambda size: {"input": torch.randn(size, 5)}
    )
    assert check_model(given, only=["functions"]).outcomes[-1].status == "skipped"

"""Every public op on tensors without values: what it makes itself lies where its inputs lie."""

import torch

from unit.ops.op_cases import each_way


def on_meta(sample, *, grad=True):
    """The sample with all tensors but a seed on the meta device, and its floating leaves."""

    def move(x):
        if not isinstance(x, torch.Tensor) or (not x.ndim and not x.is_floating_point()):
            return x
        return x.detach().to("meta").requires_grad_(grad and x.is_floating_point())

    return tuple(map(move, sample.args)), {k: move(x) for k, x in sample.kwargs.items()}


def floats_of(args, kwargs):
    given = [x for x in (*args, *kwargs.values()) if isinstance(x, torch.Tensor)]
    return [x for x in given if x.is_floating_point()]


def looks(tensors):
    return [(x.shape, x.dtype, x.device.type) for x in tensors]


@each_way
def test_values_and_gradients_lie_where_the_inputs_lie(info, sample):
    args, kwargs = on_meta(sample)
    leaves = floats_of(args, kwargs)
    y = info.op(*args, **kwargs)
    expected = sample.call(info.op)
    assert looks([y]) == [(expected.shape, expected.dtype, "meta")]
    dy = torch.empty_like(y)
    grads = torch.autograd.grad(y, leaves, dy, retain_graph=True)
    again = torch.autograd.grad(y, leaves, dy, create_graph=True)
    assert looks(grads) == looks(again) == looks(leaves)


@each_way
def test_tangents_and_mapped_calls_lie_where_the_inputs_lie(info, sample):
    args, kwargs = on_meta(sample, grad=False)
    floats = tuple(floats_of(args, kwargs))
    tangents = tuple(torch.empty_like(x) for x in floats)

    def call(*given):
        left = iter(given)
        place = lambda x: next(left) if any(x is f for f in floats) else x  # noqa: E731
        return info.op(*map(place, args), **{k: place(x) for k, x in kwargs.items()})

    y, t = torch.func.jvp(call, floats, tangents)
    assert looks([t]) == looks([y]) and y.device.type == "meta"
    mapped = torch.vmap(call)(*(torch.stack([x, x]) for x in floats))
    assert looks([mapped]) == [((2, *y.shape), y.dtype, "meta")]

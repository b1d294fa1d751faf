"""The parts of the losses by themselves: labels, rows, chunks, buffers, shapes alone."""

import importlib
import math

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import ops
from zoo.ops._loss_chunks import (
    add_product_,
    chunk_buffers,
    chunk_logits,
    chunk_losses,
    counted_rows,
    forward_shapes,
    linear_cross_entropy_forward,
    narrow,
)
from zoo.ops._pairs import Formed, formed_shapes
from zoo.ops.cross_entropy import (
    CHUNK,
    chunks,
    cross_entropy_backward,
    cross_entropy_forward,
    residual,
    row_losses,
    safe,
    weigh,
)
from zoo.ops.linear_cross_entropy import dense_backward, linear_cross_entropy_jvp, scale_
from zoo.testing.opinfo import f64, randint, randn

PAIRS = {name: importlib.import_module(f"zoo.ops.{name}") for name in
         ("contrastive", "pairwise_sigmoid")}  # fmt: skip
LOW = [torch.bfloat16, torch.float16]
META = torch.device("meta")


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def looks(tensors):
    return [(x.shape, x.dtype, x.device.type) for x in tensors]


def rounded_once(x, exact, dtype):
    """One rounding to a low dtype after work in float32."""
    assert x.dtype == dtype
    bound = torch.finfo(dtype).eps / 2 * exact.abs() + 1e-5 * (1 + exact.abs().max())
    return bool(((x.double() - exact).abs() <= bound).all())


# labels and rows


def test_labels_that_count_can_index_and_others_point_at_the_first_column():
    labels = torch.tensor([[4, -100, 2], [0, 1, -100]])
    assert safe(labels, -100).tolist() == [[[4], [0], [2]], [[0], [1], [0]]]
    assert safe(labels, 4).tolist()[0][0] == [0]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_rows_of_any_number_of_axes_have_losses_and_residuals(smoothing):
    x, at = randn(2, 3, 5).requires_grad_(), randint(5, 2, 3)
    losses = row_losses(x, at[..., None], x.logsumexp(-1), smoothing)
    expected = F.cross_entropy(x.mT, at, label_smoothing=smoothing, reduction="none")
    close(losses, expected)
    close(residual(x, at[..., None], smoothing), torch.autograd.grad(expected.sum(), x)[0])


def test_a_column_that_is_ruled_out_costs_nothing():
    """Logits of minus infinity, as masks of a vocabulary make them: no mean is taken over them."""
    logits = torch.tensor([[1.0, -math.inf, 2.0], [0.5, 0.1, -math.inf]], requires_grad=True)
    labels = torch.tensor([2, 0])
    loss = ops.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels))
    (dx,) = torch.autograd.grad(loss, logits)
    assert dx.isfinite().all() and (dx[logits.isinf()] == 0).all()
    x, weight, bias = torch.zeros(2, 1), torch.zeros(3, 1), logits[0].detach()
    fused = ops.linear_cross_entropy(x, weight, labels, bias)
    torch.testing.assert_close(fused, F.cross_entropy(bias.expand(2, 3), labels))


def test_a_single_class_may_be_ignored():
    x, labels = randn(3, 1).requires_grad_(), torch.tensor([0, -100, 0])
    for loss in (ops.cross_entropy(x, labels), ops.linear_cross_entropy(x, f64([[2.0]]), labels)):
        assert loss == 0 and (torch.autograd.grad(loss, x)[0] == 0).all()


def test_pieces_of_logits_hold_about_as_many_numbers_and_a_row_at_least():
    starts = [(2, 0, 3), (3, 2 * CHUNK, 1), (3, CHUNK, 1), (3, CHUNK + 1, 1), (5, CHUNK // 2, 2)]
    for rows, width, size in starts:
        pieces = chunks(rows, width)
        wanted = [slice(i, min(rows, i + size)) for i in range(0, rows, size)]
        assert pieces == (wanted if width else [slice(0, rows)])
    assert chunks(CHUNK + 1, 1) == [slice(0, CHUNK), slice(CHUNK, CHUNK + 1)]
    assert chunks(CHUNK + 1, 0) == chunks(CHUNK + 1, 1) and chunks(0, 5) == []


def test_the_gradient_of_logits_lies_densely_whatever_they_did():
    x, labels = randn(4, 3).T, torch.tensor([0, 1, 2])
    loss, lse = cross_entropy_forward(x, labels, -100, 0.0, "mean")
    with torch.no_grad():
        dx = cross_entropy_backward(torch.ones_like(loss), x, labels, lse, -100, 0.0, "mean")
    assert not x.is_contiguous() and dx.is_contiguous()


def test_the_log_sum_exp_is_kept_and_nothing_else():
    x, labels = randn(2, 3, 5), randint(5, 2, 3)
    _, lse = cross_entropy_forward(x, labels, -100, 0.0, "mean")
    close(lse, x.logsumexp(-1).flatten())
    assert lse.untyped_storage().nbytes() == lse.nbytes


# chunks of the linear layer and the loss


def test_rows_that_count_are_named_only_where_some_do_not():
    assert counted_rows(torch.tensor([1, -100, 0]), -100).tolist() == [0, 2]
    assert counted_rows(torch.tensor([1, 2, 0]), -100) is None
    assert counted_rows(torch.tensor([1, -100], device=META), -100) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *LOW], ids=str)
def test_a_chunk_works_in_the_room_it_is_given(dtype):
    x, weight, bias = (t.to(dtype) for t in (randn(3, 4), randn(6, 4), randn(6)))
    room = chunk_buffers(x, weight, 5)
    assert [t.shape for t in room] == [(3, 6)] * 2 == [t.shape for t in chunk_buffers(x, weight, 3)]
    assert chunk_buffers(x, weight, 2)[0].shape == (2, 6)
    wider = torch.float32 if dtype in LOW else dtype
    assert [t.dtype for t in room] == [dtype, wider] and (room[0] is room[1]) == (dtype == wider)
    for b in (None, bias):
        z = chunk_logits(x[:2], weight, b, room)
        assert z.data_ptr() == room[1].data_ptr() and z.shape == (2, 6) and z.dtype == wider
        assert torch.equal(z, F.linear(x[:2], weight, b).to(wider))
    g = narrow(z, room)
    assert g.data_ptr() == room[0].data_ptr() and g.dtype == dtype and g.shape == (2, 6)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_losses_of_a_chunk_leave_the_residual_in_the_place_of_the_logits(smoothing):
    x, at = randn(4, 6), randint(6, 4)
    z = x.clone()
    losses, g = chunk_losses(z, at[:, None], smoothing)
    assert g.data_ptr() == z.data_ptr()
    close(losses, F.cross_entropy(x, at, label_smoothing=smoothing, reduction="none"))
    close(g, residual(x, at[:, None], smoothing))


@pytest.mark.parametrize("dtype", [torch.float64, *LOW], ids=str)
def test_products_add_up_and_the_first_finds_anything(dtype):
    a, b = randn(2, 3).to(dtype), randn(3, 4).to(dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    total, product = torch.full((2, 4), torch.nan, dtype=wide), torch.mm(a, b).to(wide)
    add_product_(total, a, b, first=True)
    assert torch.equal(total, product)
    add_product_(total, a, b, first=False)
    torch.testing.assert_close(total, 2 * product)


@pytest.mark.parametrize("needs", [[True] * 3, [False, True, False], [True, False, False]])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_the_compiler_is_told_the_shapes_that_the_chunks_give(dtype, needs):
    x, weight, bias = (t.to(dtype) for t in (randn(2, 3, 4), randn(6, 4), randn(6)))
    for labels in (randint(6, 2, 3), torch.full((2, 3), -100)):
        args = (x, weight, labels, bias, needs, -100, 0.1, "mean", 4)
        formed = linear_cross_entropy_forward(*args)
        assert looks(forward_shapes(*args)) == looks(formed)
        assert [f.numel() > 0 for f in formed[1:]] == needs
    on_meta = (x.to(META), weight.to(META), labels.to(META), bias.to(META), needs)
    assert all(t.device == META for t in forward_shapes(*on_meta))
    everywhere = linear_cross_entropy_forward(*on_meta, -100, 0.1, "mean", 4)
    assert looks(everywhere) == looks(forward_shapes(*on_meta))


@pytest.mark.parametrize("rows", [1, 2, 8])
def test_low_rows_are_multiplied_low_and_added_up_in_float32(rows):
    """Against the same chunks in float64: one rounding of g and of w x, none of the sums."""
    x, weight, bias = (t.bfloat16() for t in (randn(8, 4), randn(6, 4), randn(6)))
    labels = torch.tensor([0, 5, -100, 2, 1, 3, -100, 4])
    options = ([True] * 3, -100, 0.1, "sum", rows)
    low = linear_cross_entropy_forward(x, weight, labels, bias, *options)
    z = F.linear(x, weight, bias).double()
    w, at = weigh(labels, -100, "sum", z.dtype), safe(labels, -100)
    g = residual(z, at, 0.1) * w[:, None]
    exact = g @ weight.double(), g.T @ x.double(), g.sum(0)
    assert [t.dtype for t in low] == [torch.float32, torch.bfloat16, torch.float32, torch.float32]
    for actual, wanted in zip(low[1:], exact, strict=True):
        torch.testing.assert_close(actual.double(), wanted, rtol=0, atol=8 * 2**-8)
    torch.testing.assert_close(low[3].double(), exact[2], rtol=0, atol=1e-5)  # never rounded low


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_the_formulas_keep_low_dtypes_and_round_once(dtype):
    x, weight, bias = (t.to(dtype) for t in (randn(2, 3, 4), randn(6, 4), randn(6)))
    tangents = tuple(randn(*t.shape, seed=4).to(dtype) for t in (x, weight, bias))
    labels, dy = randint(6, 2, 3), torch.tensor(1.5)
    z = F.linear(x, weight, bias).double()  # the logits themselves are low
    g = residual(z, labels[..., None], 0.1) / 6
    dx, dw, dc = dense_backward(dy, x, weight, labels, bias, -100, 0.1, "mean")
    rows = 1.5 * g.reshape(6, 6)
    assert rounded_once(dx, 1.5 * g @ weight.double(), dtype) and dx.shape == x.shape
    assert rounded_once(dw, rows.T @ x.double().reshape(6, 4), dtype)
    assert rounded_once(dc, rows.sum(0), dtype)
    tx, tw, tc = (t.double() for t in tangents)
    moved = F.linear(tx, weight.double(), tc) + F.linear(x.double(), tw)
    options = (-100, 0.1, "mean", 4)
    value = linear_cross_entropy_jvp(x, weight, labels, bias, tangents, options)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), (g * moved).sum(), rtol=1e-5, atol=1e-5)


def test_gradients_are_scaled_in_their_own_place_and_by_one_not_at_all():
    g = randn(3, 2)
    before = g.clone()
    assert scale_(g, f64(1.0)) is g and torch.equal(g, before) and g._version == 0
    assert scale_(g, f64(2.0)) is g and torch.equal(g, 2 * before)
    assert scale_(g.to(META), torch.empty((), device=META)).device == META


class Products(TorchDispatchMode):
    """Count the products of matrices made inside."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.number += name in ("mm", "addmm", "addmm_", "mv")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["linear_cross_entropy", *PAIRS])
def test_a_forward_without_grad_forms_no_gradients(name):
    x, y, scale = (t.requires_grad_() for t in (randn(4, 3), randn(4, 3, seed=1), f64(2.0)))
    calls = {
        "linear_cross_entropy": lambda: ops.linear_cross_entropy(x, y, torch.tensor([0, 3, 1, 2])),
        "contrastive": lambda: ops.contrastive(x, y, scale),
        "pairwise_sigmoid": lambda: ops.pairwise_sigmoid(x, y, scale, f64(-1.0)),
    }
    with torch.no_grad(), Products() as products:
        calls[name]()
    assert products.number == 1
    with Products() as products:
        calls[name]()
    assert products.number == 3


# losses over pairs


@pytest.mark.parametrize("needs", [[True] * 4, [False, True, False, False], [False] * 4,
                                   [False, False, True, False], [True, False, False, True]],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_the_compiler_is_told_the_shapes_that_the_pairs_give(name, dtype, needs):
    x, y, scale = randn(5, 3).to(dtype), randn(5, 3, seed=1).to(dtype), torch.tensor(2.0).to(dtype)
    if name == "contrastive":
        args, run = (x, y, scale, needs[:3], 2, 4), PAIRS[name].contrastive_forward
    else:
        args, run = (x, y, scale, scale, needs, 2), PAIRS[name].pairwise_sigmoid_forward
    given = PAIRS[name].forward_shapes(*args)
    assert looks(given) == looks(run(*args))
    moved = [a.to(META) if isinstance(a, torch.Tensor) else a for a in args]
    assert looks(PAIRS[name].forward_shapes(*moved)) == [(t.shape, t.dtype, "meta") for t in given]
    assert looks(run(*moved)) == looks(PAIRS[name].forward_shapes(*moved))


def test_what_is_formed_grows_only_where_it_is_wanted():
    x, y, g = randn(4, 3), randn(4, 3, seed=1), randn(4, 4, seed=2)
    for needs in ([True, False, False], [False, False, True], [False, True, False], [False] * 3):
        formed = Formed(x, y, needs)
        for part in (slice(0, 3), slice(3, 4)):
            formed.add(g[part], part)
        dx, dy, ds = formed.gradients(f64(2.0), 0.5)
        assert [dx.numel() > 0, dy.numel() > 0] == [needs[0] or needs[2], needs[1]]
        if dx.numel():
            close(dx, g @ y)
            close(ds, ((g @ y) * x).sum() / 2)
        else:
            assert ds == 0 and ds.shape == ()
        if dy.numel():
            close(dy, g.T @ x)
    assert len(formed_shapes(x, y, [True] * 3)) == 4


def test_labels_can_be_mapped_over():
    """Their values cannot be looked at then, on whatever device they are."""
    x, weight = randn(4, 3), randn(5, 3)
    labels = torch.tensor([[0, 1, 2, -100], [4, -100, 4, 3]])
    logits = x @ weight.T
    each = torch.vmap(lambda at: ops.cross_entropy(logits, at))(labels)
    close(each, torch.stack([F.cross_entropy(logits, at) for at in labels]))
    close(torch.vmap(lambda at: ops.linear_cross_entropy(x, weight, at))(labels), each)

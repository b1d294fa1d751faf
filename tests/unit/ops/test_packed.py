"""Products by packed weights against float64, within what rounding of weights and rows can do."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, jvp, vmap

from zoo import ops
from zoo.ops import packed as packing
from zoo.ops.packed import FORMS, Packed, fits, packed_linear, product_of, quietly, ways

U = 2.0**-24  # of float32
HAVE = {form: ways(form) for form in FORMS}  # found once, which also hears the kernels' warnings
WAYS_OF = [(form, way) for form in FORMS for way in HAVE[form]]
NAMED = [f"{form}-{way.__name__}" for form, way in WAYS_OF]

# name -> (outputs, inputs, scale of the weight, scale of the rows)
SIZES = {
    "one-by-one": (1, 1, 1.0, 1.0),
    "odd": (7, 5, 1.0, 1.0),
    "no-multiple-of-a-block": (33, 65, 0.02, 3.0),
    "long-rows": (3, 515, 1.0, 1.0),
    "wide": (130, 16, 1.0, 1.0),
    "small-weights": (9, 24, 1e-6, 1.0),  # below float16's normal numbers
    "large-weights": (9, 24, 1e4, 1.0),
    "small-rows": (9, 24, 1.0, 1e-12),
    "rows-too-small-for-the-kernel-to-divide": (9, 24, 1.0, 1e-3),
    "large-rows": (9, 24, 1.0, 1e12),
    "huge-rows": (9, 24, 1.0, 1e36),
}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# name -> rows of k numbers
ROWS = {
    "one-row": lambda k: drawn(1, k),
    "none": lambda k: drawn(0, k),
    "three-rows": lambda k: drawn(3, k),
    "four-rows": lambda k: drawn(4, k),
    "many-rows": lambda k: drawn(70, k),
    "three-axes": lambda k: drawn(2, 3, k),
    "one-row-in-three-axes": lambda k: drawn(1, 1, k),
    "expanded": lambda k: drawn(1, k).expand(5, k),
    "transposed": lambda k: drawn(k, 6).mT,
    "every-second": lambda k: drawn(6, 2 * k)[:, ::2],
    "zeros": lambda k: torch.zeros(3, k),
    "one-row-of-zeros": lambda k: torch.zeros(1, k),
    "all-below-zero": lambda k: -drawn(4, k).abs() - 1,
    "all-above-zero": lambda k: drawn(1, k).abs() + 1,
    "of-very-different-size": lambda k: drawn(4, k) * torch.tensor([1e-6, 1.0, 9.0, 0.0])[:, None],
}


def rounded_weight(weight, form):
    """Give what the form stores, worked out here in float64."""
    weight = weight.double()
    if form == "float16":
        return weight.half().double()
    if form == "int8":
        step = (weight.abs().amax(1, keepdim=True) / 127).clamp_min(1e-300)
        return step * (weight / step).round()
    return weight


def bound_of(x, weight, bias, way, form):
    """Bound the distance from the float64 product, row by row and output by output."""
    x, exact = x.double(), weight.double()
    stored = rounded_weight(weight, form)
    k = x.shape[-1]
    moved = x.abs() @ (stored - exact).abs().mT  # by the rounding of the weight alone
    size = x.abs() @ stored.abs().mT + (0 if bias is None else bias.double().abs())
    if form != "int8":
        return moved + (k + 3) * U * size
    levels = 127 if way is packing.Int8Coarse else 255
    low, high = x.amin(-1, True), x.amax(-1, True)
    if x.numel() == k:  # zero belongs to the range; it is put on a whole step, so a step may be off
        step = (high.clamp_min(0) - low.clamp_max(0)) / levels
    else:
        step = (high - low) / levels / 2
    total = stored.abs().sum(1)
    # a step of the weight is a float32 number, and a tie may fall to either side of it
    size = size + (low.abs() + high.abs()) * total
    return moved + step * total + (k + 12) * U * size * 2


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("form", "way"), WAYS_OF, ids=NAMED)
def test_a_product_is_as_near_as_its_form_allows(form, way, rows, bias):
    for n, k, scale, stretch in SIZES.values():
        weight, shift = scale * drawn(n, k, seed=1), scale * drawn(n, seed=2) if bias else None
        weight[n // 2] = 0  # a channel of zeros
        x = stretch * ROWS[rows](k)
        y = quietly(lambda w=weight: way(w))(x, weight, shift)
        exact = nn.functional.linear(
            x.double(), weight.double(), None if shift is None else shift.double()
        )
        assert y.shape == exact.shape and y.dtype == torch.float32
        assert bool(((y.double() - exact).abs() <= bound_of(x, weight, shift, way, form)).all())


@pytest.mark.parametrize(("form", "way"), WAYS_OF, ids=NAMED)
def test_the_bound_is_no_wider_than_it_must_be(form, way):
    """Weights of another form would be seen: what is computed comes near to what is allowed."""
    weight, x = drawn(40, 24, seed=3), drawn(95, 24, seed=4)
    y = quietly(lambda: way(weight))(x, weight, None).double()
    used = (y - x.double() @ weight.double().mT).abs() / bound_of(x, weight, None, way, form)
    assert 0.02 < float(used.max()) <= 1


@pytest.mark.parametrize(
    ("way", "rows", "copied"),
    [
        (packing.Blocked, 3, False),
        (packing.Blocked, 4, True),
        (packing.Blocked, 383, True),
        (packing.Blocked, 384, False),
        (packing.Half, 1, True),
        (packing.Half, 95, True),
        (packing.Half, 96, False),
        (packing.HalfObject, 95, True),
        (packing.HalfObject, 96, False),
        (packing.Int8, 1, True),
        (packing.Int8, 2000, True),
    ],
)
def test_copies_are_used_for_as_many_rows_as_they_are_faster_for(way, rows, copied):
    weight, x = drawn(5, 8), drawn(rows, 2, 8)[:, 0]
    weight[:, ::2] = 0  # CPUs without VNNI add two neighbours' products of int8 in 16 bits
    y = quietly(lambda: way(weight))(x, 3 * weight, None)  # told apart by another weight
    assert torch.allclose(y, x @ weight.mT if copied else 3 * x @ weight.mT, atol=0.2)
    assert not torch.allclose(y, 3 * x @ weight.mT if copied else x @ weight.mT, atol=0.2)


@pytest.mark.parametrize(("form", "way"), WAYS_OF, ids=NAMED)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_a_row_that_is_not_finite_stays_so_and_stays_alone(form, way, bad, rows):
    weight, x = drawn(6, 16), drawn(rows, 16, seed=1)
    product = quietly(lambda: way(weight))
    without = product(x, weight, None)
    x[0, 5] = bad
    y = product(x, weight, None)
    assert not y[0].isfinite().any()
    assert y[1:].isfinite().all()
    assert torch.equal(y[1:], without[1:])


@pytest.mark.parametrize(("form", "way"), WAYS_OF, ids=NAMED)
def test_a_row_is_the_same_whatever_the_others_are(form, way):
    """Each has a range of its own; sums of int8 are whole numbers."""
    weight, x = drawn(6, 16), drawn(9, 16, seed=1)
    product = quietly(lambda: way(weight))
    others = x.clone()
    others[1:] *= 1e4
    assert torch.equal(product(x, weight, None)[0], product(others, weight, None)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("the largest of float16", True),
        ("beyond float16", None),
        ("infinity", False),
        ("minus infinity", False),
        ("NaN", False),
        ("float64", False),
        ("nothing", False),
        ("on the meta device", False),
        ("made in inference mode", False),
    ],
)
def test_a_form_takes_only_numbers_that_it_can_hold(form, name, held):
    weight = drawn(4, 6)
    values = {
        "the largest of float16": 65504.0,
        "beyond float16": -65536.0,
        "infinity": torch.inf,
        "minus infinity": -torch.inf,
        "NaN": torch.nan,
    }
    if name in values:
        weight[1, 2] = values[name]
    if name == "float64":
        weight = weight.double()
    if name == "nothing":
        weight = weight[:0]
    if name == "on the meta device":
        weight = weight.to("meta")
    if name == "made in inference mode":
        with torch.inference_mode():
            weight = weight.clone()
    expected = form != "float16" if held is None else held
    assert fits(weight, form) is expected
    assert (product_of(weight, form) is not None) is expected


def layer(seed=0, out=6, inner=16, **options):
    made = nn.Linear(inner, out, **options)
    with torch.no_grad():
        made.weight.copy_(drawn(out, inner, seed=seed))
    return made


def plain(x, made):
    return ops.linear(x, made.weight, made.bias)


def packs(x, made, packed):
    """Tell whether the packed product was taken; its int8 numbers are no others'."""
    y = packed_linear(x, made.weight, made.bias, packed)
    return not torch.equal(y, plain(x, made))


X = drawn(3, 16, seed=7)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("inference mode", True),
        ("no grad", True),
        ("gradients of frozen weights", True),
        ("gradients", False),
        ("gradients of the rows", False),
        ("float64", False),
        ("bfloat16", False),
        ("autocast", False),
        ("a vector", False),
        ("a subclass", False),
    ],
)
def test_copies_are_used_where_no_derivative_can_be_wanted(name, taken):
    made, x, packed = layer(), X, Packed("int8")
    if name in ("float64", "bfloat16"):
        dtype = getattr(torch, name)
        made, x = made.to(dtype), X.to(dtype)
    if name.startswith("gradients of"):
        made.requires_grad_(False)
    if name == "gradients of the rows":
        x = X.clone().requires_grad_()
    if name == "a vector":
        x = X[0]
    if name == "a subclass":
        x = nn.Parameter(X, requires_grad=False)
    modes = {"gradients": torch.enable_grad, "inference mode": torch.inference_mode}
    wanted = torch.enable_grad if name.startswith("gradients") else torch.no_grad
    with modes.get(name, wanted)():
        if name == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                assert packed_linear(x, made.weight, made.bias, packed).dtype == torch.bfloat16
            return
        assert packs(x, made, packed) is taken


@pytest.mark.parametrize("transform", ["vmap", "jvp", "dual numbers", "functional_call", "trace"])
def test_under_a_transform_the_weight_itself_is_used(transform):
    made = layer().requires_grad_(False)
    packed = Packed("int8")

    def call(x):
        return packed_linear(x, made.weight, made.bias, packed)

    expected = plain(X, made)
    if transform == "vmap":
        assert torch.equal(vmap(call)(X[None])[0], expected)
    elif transform == "jvp":
        assert torch.equal(jvp(call, (X,), (X,))[1], X @ made.weight.mT)
    elif transform == "dual numbers":
        with forward_ad.dual_level(), torch.no_grad():
            y = call(forward_ad.make_dual(X, X))
            assert torch.equal(forward_ad.unpack_dual(y).tangent, X @ made.weight.mT)
    elif transform == "trace":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shapes that the ops look at are traced as they are
            assert torch.equal(torch.jit.trace(call, (X,))(X), expected)
    else:
        other = {"weight": made.weight * 2, "bias": made.bias}
        twin = type(
            "Twin",
            (nn.Linear,),
            {"forward": lambda s, x: packed_linear(x, s.weight, s.bias, packed)},
        )
        module = twin(16, 6)
        module.load_state_dict(made.state_dict())
        with torch.no_grad():
            module(X)
            doubled = functional_call(module, other, (X,))
            assert torch.equal(doubled, Packed("int8").of(other["weight"])(X, None, made.bias))


# what somebody may do to a weight; `None`: the weight is left to the layer as it is
CHANGES = {
    "in place": lambda made: made.weight.mul_(2),
    "one element": lambda made: made.weight[3, 4].fill_(9.0),
    "a view": lambda made: made.weight.detach()[1:].zero_(),
    "other data": lambda made: setattr(made.weight, "data", made.weight.data * 3),
    "another parameter": lambda made: setattr(made, "weight", nn.Parameter(made.weight * 3)),
    "loaded": lambda made: made.load_state_dict(layer(seed=5).state_dict()),
    "assigned": lambda made: made.load_state_dict(layer(seed=5).state_dict(), assign=True),
    "to half and back": lambda made: made.half().float(),
    "many at once": lambda made: torch._foreach_mul_([made.weight], 2.0),
    "an optimizer": lambda made: stepped(made),
    "a fused optimizer": lambda made: stepped(made, fused=True),
}


def stepped(made, **options):
    with torch.enable_grad():
        loss = plain(X, made).square().sum()
    loss.backward()
    torch.optim.AdamW(made.parameters(), lr=0.1, **options).step()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES)
def test_a_weight_that_changes_is_packed_again(change, form):
    made, packed, x = layer(), Packed(form), drawn(9, 16, seed=8)
    with torch.no_grad():
        before = packed_linear(x, made.weight, made.bias, packed)
        CHANGES[change](made)
        after = packed_linear(x, made.weight, made.bias, packed)
        fresh = packed_linear(x, made.weight, made.bias, Packed(form))
    assert torch.equal(after, fresh) and not torch.equal(after, before)


def test_a_bias_that_changes_is_seen():
    made, packed = layer(), Packed("int8")
    with torch.no_grad():
        before = packed_linear(X, made.weight, made.bias, packed)
        made.bias.add_(1)
        assert torch.allclose(packed_linear(X, made.weight, made.bias, packed), before + 1)


def test_a_weight_is_packed_once_while_it_stays():
    made, packed = layer(), Packed("int8")
    with torch.no_grad():
        first = packed.of(made.weight)
        packed_linear(X, made.weight, made.bias, packed)
        assert packed.of(made.weight) is first


def test_a_weight_whose_memory_became_anothers_is_not_taken_for_it():
    """The packed one is held, so that its address cannot be given away."""
    made, packed = layer(out=300, inner=300), Packed("float16")
    with torch.no_grad():
        for seed in range(8):
            made.weight = nn.Parameter(drawn(300, 300, seed=seed))
            expected = Packed("float16").of(made.weight)(X[:, :1].expand(3, 300), None, None)
            assert torch.equal(
                packed.of(made.weight)(X[:, :1].expand(3, 300), None, None), expected
            )


def test_a_form_that_cannot_hold_a_weight_any_more_leaves_it_alone():
    made, packed = layer(), Packed("float16")
    with torch.no_grad():
        assert packed.of(made.weight) is not None
        made.weight[0, 0] = 1e6
        assert packed.of(made.weight) is None
        y = packed_linear(X, made.weight, made.bias, packed)
        assert torch.equal(y, plain(X, made))


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_copy_makes_its_own(way):
    made, packed = layer(), Packed("int8")
    with torch.no_grad():
        product = packed.of(made.weight)
        twin = way(packed)
        assert twin.form == "int8" and twin.made is None
        assert torch.equal(
            twin.of(made.weight)(X, made.weight, None), product(X, made.weight, None)
        )


def test_rows_that_do_not_fit_are_refused_in_the_words_of_the_plain_op():
    made, packed = layer(), Packed("int8")
    with torch.no_grad(), pytest.raises(ValueError, match="the last axis of x must be 16"):
        packed_linear(drawn(2, 15), made.weight, made.bias, packed)


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="weights 'int4'; expected one of"):
        Packed("int4")

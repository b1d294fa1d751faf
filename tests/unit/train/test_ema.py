import pytest
import torch
from torch import nn

from unit.models.tiny import MAIN, labelled, tiny
from zoo.objectives import OBJECTIVES
from zoo.train import make_optimizer, train_step
from zoo.train.ema import COUNT, EMA


def model_of(dtype=torch.float64):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 5)).to(dtype)
    model[0].bias.requires_grad_(False)
    return model


def move(model, step):
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))


def bits(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[name].nan_to_num(7.0), other[name].nan_to_num(7.0)) for name in one
    )


def test_the_average_is_the_sum_that_the_decays_say():
    """Written out: the first updates at n = 0, 1, 2 keep 1/10, 2/11, 3/12, and 0.2 at most."""
    model = model_of()
    ema = EMA(model, 0.2)
    expected = model[0].weight.detach().clone()
    for n, keep in enumerate([1 / 10, 2 / 11, 0.2, 0.2]):
        assert ema.rate() == pytest.approx(keep, abs=1e-15)
        move(model, n)
        ema.update()
        expected = keep * expected + (1 - keep) * model[0].weight.detach()
    torch.testing.assert_close(ema.averages["0.weight"], expected, rtol=1e-12, atol=1e-12)


def test_an_average_of_what_does_not_move_is_its_bits():
    model = model_of(torch.float32)
    ema = EMA(model, 0.999)
    for _ in range(5):
        ema.update()
    assert all(torch.equal(ema.averages[n], p) for n, p in ema.parameters.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_averages_of_low_precision_weights_are_float32(dtype):
    model = nn.Linear(30, 20).to(dtype)
    ema = EMA(model, 0.999)
    assert {a.dtype for a in ema.averages.values()} == {torch.float32}
    wide = {n: p.detach().float() for n, p in model.named_parameters()}
    ema.updates = 10**6  # past the warm-up
    with torch.no_grad():
        model.weight.add_(0.5)
    ema.update()
    expected = wide["weight"].lerp(model.weight.detach().float(), 1 - 0.999)
    assert torch.equal(ema.averages["weight"], expected)
    assert torch.equal(ema.averages["bias"], wide["bias"])
    # a step of a thousandth, which the weight's own dtype would round away
    assert not torch.equal(expected, wide["weight"])
    with ema.swapped():
        assert model.weight.dtype == dtype
        assert torch.equal(model.weight, expected.to(dtype))


def test_a_model_of_two_dtypes_is_averaged_in_both():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 5).bfloat16())
    ema = EMA(model, 0.5)
    move(model, 1)
    ema.update()
    for name, p in model.named_parameters():
        assert ema.averages[name].dtype == torch.float32
        assert (ema.averages[name] - p.float()).abs().max() < (p.float().abs().max() + 1) * 0.11


def test_what_is_frozen_and_buffers_are_the_models_own():
    model = model_of()
    ema = EMA(model, 0.5)
    assert "0.bias" not in ema.averages
    assert not any("running" in name for name in ema.averages)
    move(model, 1)
    model[1].running_mean.fill_(4.0)
    with ema.swapped():
        assert torch.equal(model[1].running_mean, torch.full((2,), 4.0, dtype=torch.float64))


def test_a_tied_parameter_is_averaged_once():
    model = tiny("gpt2", "lm")
    ema = EMA(model, 0.5)
    assert "tokens.weight" in ema.averages and "head.weight" not in ema.averages
    move(model, 1)
    ema.update()
    with ema.swapped():
        assert model.head.weight is model.tokens.weight
        assert torch.equal(model.head.weight, ema.averages["tokens.weight"])


class Stop(Exception):
    pass


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_model_has_its_bits_back_whatever_happens(dtype):
    model = model_of(dtype)
    ema = EMA(model, 0.5)
    move(model, 1)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    before = bits(model)
    with ema.swapped():
        assert not same(bits(model), before)
        assert torch.equal(model[2].weight, ema.averages["2.weight"].to(dtype))
    assert same(bits(model), before)
    with pytest.raises(Stop), ema.swapped():
        raise Stop
    assert same(bits(model), before)
    with ema.swapped(), ema.swapped():
        pass
    assert same(bits(model), before)
    ema.update()  # no swap is left open


def test_an_update_while_the_model_holds_the_averages_is_refused():
    ema = EMA(model_of(), 0.5)
    with ema.swapped(), pytest.raises(RuntimeError, match="update after the `with`"):
        ema.update()
    assert ema.updates == 0


def test_updating_takes_no_memory_and_moves_no_average():
    model = nn.Sequential(nn.Linear(30, 20), nn.Linear(20, 7).bfloat16())
    ema = EMA(model, 0.5)
    places = [average.data_ptr() for average in ema.averages.values()]
    spare = ema.spare[0].data_ptr()
    ema.update()
    with torch.profiler.profile(profile_memory=True) as profile:
        ema.update()
    taken = [e for e in profile.events() if e.cpu_memory_usage > 64]
    assert not taken, [(e.name, e.cpu_memory_usage) for e in taken]
    assert [average.data_ptr() for average in ema.averages.values()] == places
    assert ema.spare[0].data_ptr() == spare


def test_a_state_put_back_goes_on_to_the_same_bits():
    model = model_of(torch.float32)
    ema = EMA(model, 0.9)
    for step in range(4):
        move(model, step)
        ema.update()
    state = {name: tensor.clone() for name, tensor in ema.state().items()}
    assert state[COUNT].item() == 4
    other = model_of(torch.float32)
    again = EMA(other, 0.9)
    again.load(state)
    for one, averages in ((model, ema), (other, again)):
        move(one, 9)
        averages.update()
    assert ema.updates == again.updates == 5
    assert same(ema.averages, again.averages)
    assert same(bits(model) | ema.state(), bits(other) | again.state())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda state: state.pop("2.bias"), r"another model's averages: 2.bias"),
        (lambda state: state.pop(COUNT), r"another model's averages: .updates"),
        (lambda state: state.update(x=torch.ones(1)), r"another model's averages: x"),
        (
            lambda state: state.update({"2.bias": torch.ones(4, dtype=torch.float64)}),
            r"2.bias is torch.float64 \(4,\); the average is torch.float64 \(5,\)",
        ),
        (lambda state: state.update({"2.bias": torch.ones(5)}), r"2.bias is torch.float32 \(5,\)"),
    ],
    ids=["missing", "count", "more", "shape", "dtype"],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, sentence):
    model = model_of()
    ema = EMA(model, 0.9)
    before = {name: tensor.clone() for name, tensor in ema.state().items()}
    move(model, 3)
    state = {name: tensor + 1 for name, tensor in ema.state().items()}
    change(state)
    with pytest.raises(ValueError, match=sentence):
        ema.load(state)
    assert same(ema.state(), before)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_that_averages_nothing_is_refused(decay):
    with pytest.raises(ValueError, match=r"expected at least 0 and less than 1"):
        EMA(model_of(), decay)


def test_a_model_with_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing to track"):
        EMA(model_of().requires_grad_(False), 0.5)


@pytest.mark.parametrize(("family", "head"), MAIN.items())
def test_every_family_is_averaged_while_it_learns(family, head):
    model = tiny(family, head)
    batch = labelled(family, head, model)
    ema = EMA(model, 0.5)
    expected = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, 1e-3)
    for step in range(3):
        train_step(model, batch, OBJECTIVES[head], optimizer, rate=1e-3)
        keep = min(0.5, (1 + step) / (10 + step))
        ema.update()
        for name, p in model.named_parameters():
            expected[name] = keep * expected[name] + (1 - keep) * p.detach()
    for name, average in ema.averages.items():
        torch.testing.assert_close(average, expected[name], rtol=1e-12, atol=1e-12)
    assert ema.averages.keys() == expected.keys()

import json

import numpy as np
import pytest
import torch
from torch import nn

from zoo.checkpoint import CheckpointError
from zoo.models import GPT2, MODELS
from zoo.train import load_state, make_optimizer, save_state
from zoo.train.ema import EMA
from zoo.train.state import TrainState


class Small(nn.Module):
    """A buffer, a tied weight and a frozen one: what a state may not lose or write twice."""

    def __init__(self, width=3):
        super().__init__()
        self.up = nn.Linear(width, 5)
        self.down = nn.Linear(5, width, bias=False)
        self.tied = self.up
        self.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
        self.register_buffer("seen", torch.tensor(7))

    def forward(self, x):
        self.seen += 1
        return self.down(torch.dropout(self.up(x), 0.5, self.training)).square().sum()


def made(seed, **options):
    torch.manual_seed(seed)
    model = Small(**options)
    return model, make_optimizer(model, 0.1)


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).backward()
        optimizer.step()


def bits(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_run_goes_on_with_the_same_bits(tmp_path):
    model, optimizer = made(0)
    train(model, optimizer, 2)
    save_state(tmp_path, model, optimizer, step=2, notes={"seed": 0})
    train(model, optimizer, 3)

    again, its = made(1)
    assert load_state(tmp_path, again, its) == (2, {"seed": 0})
    train(again, its, 3)
    assert same(bits(model), bits(again))
    assert again.seen == 12


def test_saving_changes_nothing(tmp_path):
    model, optimizer = made(0)
    train(model, optimizer, 1)
    before, drawn = bits(model), torch.get_rng_state()
    save_state(tmp_path, model, optimizer, step=1)
    assert same(before, bits(model))
    assert torch.equal(drawn, torch.get_rng_state())


def test_a_state_before_the_first_step_has_no_moments(tmp_path):
    save_state(tmp_path, *made(0), step=0)
    model, optimizer = made(1)
    train(model, optimizer, 2)
    assert load_state(tmp_path, model, optimizer) == (0, {})
    assert same(bits(model), bits(made(0)[0]))
    assert not optimizer.state


def test_the_groups_numbers_come_back(tmp_path):
    model, optimizer = made(0)
    optimizer.param_groups[1]["lr"] = 0.1 + 0.2
    save_state(tmp_path, model, optimizer, step=0)
    again, its = made(1)
    load_state(tmp_path, again, its)
    assert its.param_groups[1]["lr"] == 0.1 + 0.2
    assert its.param_groups[0]["betas"] == (0.9, 0.95)


def test_a_later_state_takes_the_place_of_an_earlier_one(tmp_path):
    model, optimizer = made(0)
    for step in (1, 2):
        train(model, optimizer, 1)
        save_state(tmp_path, model, optimizer, step=step)
    again, its = made(1)
    assert load_state(tmp_path, again, its)[0] == 2
    assert same(bits(model), bits(again))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_a_models_tied_weights_are_written_once(tmp_path, family):
    spec = MODELS[family]
    model = spec.build(spec.presets[f"{family}-tiny"], spec.heads[0])
    save_state(tmp_path, model, make_optimizer(model, 0.1), step=0)
    header = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    names = json.loads(header[8 : 8 + length])
    assert "model.tokens.weight" in names
    assert "model.head.weight" not in names


def other_width(folder):
    save_state(folder, *made(0, width=4), step=0)


def other_model(folder):
    model = GPT2(MODELS["gpt2"].presets["gpt2-tiny"])
    save_state(folder, model, make_optimizer(model, 0.1), step=0)


def other_dtype(folder):
    model = made(0)[0].double()
    save_state(folder, model, make_optimizer(model, 0.1), step=0)


def other_groups(folder):
    model = made(0)[0]
    save_state(folder, model, torch.optim.SGD([model.up.weight], lr=0.1), step=0)


def a_checkpoint(folder):
    GPT2(MODELS["gpt2"].presets["gpt2-tiny"]).save_pretrained(folder)


def nothing(folder):
    folder.mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (other_width, r"model.up.weight is torch.float32 \(5, 4\); the model has .*\(5, 3\)"),
        (other_dtype, r"torch.float64 .*; the model has torch.float32"),
        (other_model, r"saved from another model: model.blocks"),
        (other_groups, r"an optimizer with other parameter groups"),
        (a_checkpoint, r"is not a training state"),
        (nothing, r"holds no model.safetensors"),
    ],
    ids=["width", "dtype", "model", "groups", "checkpoint", "nothing"],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(tmp_path, write, sentence):
    write(tmp_path)
    model, optimizer = made(1)
    train(model, optimizer, 1)
    before, drawn = bits(model), torch.get_rng_state()
    with pytest.raises(CheckpointError, match=rf"{tmp_path}.*{sentence}"):
        load_state(tmp_path, model, optimizer)
    assert same(before, bits(model))
    assert torch.equal(drawn, torch.get_rng_state())


def state_of(seed, steps=0, make=None, **options):
    """Give a run's state, after some steps."""
    torch.manual_seed(seed)
    model = Small()
    optimizer = (make or (lambda m: make_optimizer(m, 0.1)))(model)
    ema = EMA(model, 0.9) if options.pop("ema", False) else None
    for _ in range(steps):
        train(model, optimizer, 1)
        if ema:
            ema.update()
    return TrainState(model, optimizer, ema=ema, step=steps, **options)


def saved(state):
    """Give what a file would hold: copies, and facts that went through JSON."""
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    return json.loads(json.dumps(state.facts(), allow_nan=False)), tensors


def alike(one, other):
    """Compare all but python's random, which the check of annotations in this tier draws from."""
    words = {"generator.python"}
    left, right = ({n: t for n, t in held[1].items() if n not in words} for held in (one, other))
    return one[0] == other[0] and same(left, right)


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


OPTIMIZERS = {
    "AdamW": lambda m: torch.optim.AdamW(trained(m), lr=0.1),
    "AdamW with amsgrad": lambda m: torch.optim.AdamW(trained(m), lr=0.1, amsgrad=True),
    "fused AdamW in groups": lambda m: make_optimizer(m, 0.1),
    "a rate that is a tensor": lambda m: torch.optim.AdamW(
        trained(m), lr=torch.tensor(0.125), foreach=False
    ),
    "SGD": lambda m: torch.optim.SGD(trained(m), lr=0.1),
    "SGD with momentum": lambda m: torch.optim.SGD(trained(m), lr=0.1, momentum=0.9),
    "Adafactor": lambda m: torch.optim.Adafactor(trained(m), lr=0.1),
}


@pytest.mark.parametrize("take", [False, True], ids=["copied", "taken"])
@pytest.mark.parametrize("used", [0, 3], ids=["into a fresh one", "into a used one"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_any_optimizer_goes_on_with_the_same_bits(make, used, take):
    state = state_of(0, 2, make, ema=True, facts={"loader": [1, 2]})
    held = saved(state)
    again = state_of(1, used, make, ema=True)
    again.restore(*held, take=take)
    assert alike(saved(again), saved(state))
    assert (again.step, again.about) == (2, {"loader": [1, 2]})
    for one in (state, again):
        torch.manual_seed(5)
        train(one.model, one.optimizer, 2)
    assert same(bits(again.model), bits(state.model))


@pytest.mark.parametrize("used", [0, 3], ids=["into a fresh one", "into a used one"])
def test_a_state_is_read_into_the_room_that_it_will_have(used):
    state = state_of(0, 2, ema=True)
    facts, tensors = saved(state)
    again = state_of(1, used, ema=True)
    room = again.room(facts)
    assert room.keys() == tensors.keys()
    for name, tensor in room.items():
        tensor.copy_(tensors[name])
    places = {name: tensor.data_ptr() for name, tensor in again.tensors().items()}
    again.restore(facts, room)
    assert alike(saved(again), saved(state))
    own = [n for n in places if not n.startswith(("generator.", "ema.."))]
    assert [n for n in own if again.tensors()[n].data_ptr() != places[n]] == []


def test_tensors_are_the_runs_own_memory():
    state = state_of(0, 1, ema=True)
    tensors = state.tensors()
    own = dict(state.model.named_parameters()) | dict(state.model.named_buffers())
    assert all(tensors[f"model.{n}"].data_ptr() == t.data_ptr() for n, t in own.items())
    moment = state.optimizer.state[state.model.up.weight]["exp_avg"]
    assert tensors["optimizer.up.weight.exp_avg"].data_ptr() == moment.data_ptr()
    assert tensors["ema.up.weight"].data_ptr() == state.ema.averages["up.weight"].data_ptr()
    assert not any(tensor.requires_grad for tensor in tensors.values())


def test_a_state_that_was_given_stays_its_owners():
    """Without `take` runs that are restored from the same tensors share no memory."""
    facts, tensors = saved(state_of(0, 2))
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    state = state_of(1)
    state.restore(facts, tensors)
    train(state.model, state.optimizer, 1)
    assert same(tensors, before)


def test_a_rate_that_is_a_tensor_stays_the_same_one():
    """A captured graph reads it where it was."""
    make = OPTIMIZERS["a rate that is a tensor"]
    held = saved(state_of(0, 1, make))
    state = state_of(1, 0, make)
    rate = state.optimizer.param_groups[0]["lr"].zero_()
    state.restore(*held)
    assert state.optimizer.param_groups[0]["lr"] is rate
    assert rate == 0.125


def draws():
    """Draw from what is global; one normal value leaves a spare one for the next draw."""
    return [
        torch.rand(()).item(),
        torch.randn(3).sum().item(),
        np.random.random(),
        np.random.standard_normal(),
    ]


@pytest.mark.parametrize("before", range(3))
def test_torchs_and_numpys_generators_go_on_where_they_were(before):
    for _ in range(before):
        draws()
    state = state_of(0)
    held = saved(state)
    expected = [draws(), draws()]
    draws()
    state.restore(*held)
    assert [draws(), draws()] == expected


def test_a_scalers_numbers_come_back():
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=5)
    held = saved(state_of(0, scaler=scaler))
    fresh = torch.amp.GradScaler("cpu")
    state_of(1, scaler=fresh).restore(*held)
    assert fresh.state_dict() == scaler.state_dict()


def test_a_disabled_scaler_is_as_none():
    off = torch.amp.GradScaler("cpu", enabled=False)
    state_of(1).restore(*saved(state_of(0, scaler=off)))
    state_of(1, scaler=off).restore(*saved(state_of(0)))


def test_switches_of_the_machine_are_not_kept():
    held = saved(state_of(0, 1, lambda m: torch.optim.AdamW(trained(m), lr=0.1, fused=True)))
    again = state_of(1, 0, lambda m: torch.optim.AdamW(trained(m), lr=0.5, foreach=True))
    again.restore(*held)
    (group,) = again.optimizer.param_groups
    assert (group["fused"], group["foreach"], group["lr"]) == (None, True, 0.1)


class Wrapper(nn.Module):
    """What torch.compile and its checkpoint wrapper do to names."""

    def __init__(self, module, word):
        super().__init__()
        self.add_module(word, module)


@pytest.mark.parametrize("word", ["_orig_mod", "_checkpoint_wrapped_module"])
def test_what_torch_wraps_around_a_module_is_not_in_the_names(word):
    state = state_of(0, 1)
    torch.manual_seed(1)
    model = Small()
    optimizer = make_optimizer(model, 0.1)
    model.up = Wrapper(model.up, word)
    model.tied = model.up
    wrapped = TrainState(Wrapper(model, word), optimizer)
    wrapped.restore(*saved(state))
    assert alike(saved(wrapped), saved(state))


def no_ema(state):
    state.ema = None


def no_scaler(state):
    state.scaler = None


def another_moment(state):
    for kept in state.optimizer.state.values():
        kept["more"] = kept.pop("exp_avg")


def short(state):
    state.ema.averages["frozen"] = torch.zeros(2)


def no_change(state):
    pass


@pytest.mark.parametrize(
    ("change", "spoil", "sentence"),
    [
        (no_ema, {}, r"from a run with other averages \(EMA\): ema..updates \(only in the state\)"),
        (short, {}, r"other averages \(EMA\): ema.frozen \(not in the state\)"),
        (no_scaler, {}, "saved with a loss scaler and the run has none: take the same dtype"),
        (another_moment, {}, r"another optimizer: of up.weight it kept \['exp_avg', .*'more'"),
        (no_change, {"model.up.weight": None}, "the state lacks model.up.weight"),
        (no_change, {"generator.numpy": None}, "the state lacks generator.numpy"),
        (
            no_change,
            {"optimizer.up.bias.exp_avg": torch.zeros(4)},
            r"up.bias.exp_avg is torch.float32 \(4,\); the state's facts say torch.float32 \(5,\)",
        ),
        (
            no_change,
            {"model.seen": torch.tensor(1.0)},
            r"model.seen is torch.float32 \(\); the state's facts say torch.int64 \(\)",
        ),
    ],
    ids=["ema", "more averages", "scaler", "moments", "weight", "generator", "shape", "dtype"],
)
def test_what_does_not_fit_is_named_and_changes_nothing(change, spoil, sentence):
    options = {"make": OPTIMIZERS["AdamW"], "ema": True}
    facts, tensors = saved(state_of(0, 2, scaler=torch.amp.GradScaler("cpu"), **options))
    tensors = {n: t for n, t in (tensors | spoil).items() if t is not None}
    again = state_of(1, 1, scaler=torch.amp.GradScaler("cpu"), **options)
    change(again)
    before = saved(again)
    with pytest.raises(CheckpointError, match=sentence):
        again.restore(facts, tensors)
    assert alike(saved(again), before)


def test_an_optimizer_of_another_model_is_refused():
    model = Small()
    state = TrainState(model, make_optimizer(Small(), 0.1))
    with pytest.raises(CheckpointError, match=r"3 parameters that are not the model's, of shapes"):
        state.facts()


def test_an_optimizer_that_keeps_lists_is_refused():
    model = Small()
    optimizer = torch.optim.LBFGS(trained(model), max_iter=2)
    optimizer.step(lambda: model(torch.ones(2, 3)))
    with pytest.raises(CheckpointError, match=r"the optimizer keeps \w+ as '\w+' of \w"):
        TrainState(model, optimizer).tensors()


def test_another_generator_of_numpys_is_refused():
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(3))
    try:
        with pytest.raises(CheckpointError, match="numpy's global generator is PCG64; only MT199"):
            state_of(0).tensors()
    finally:
        np.random.set_bit_generator(before)


def test_views_of_one_buffer_are_saved_by_hand(tmp_path):
    model, optimizer = made(0)
    model.register_buffer("view", model.frozen.data)
    save_state(tmp_path, model, optimizer, step=0)
    again, its = made(1)
    again.register_buffer("view", torch.zeros(2))
    load_state(tmp_path, again, its)
    assert torch.equal(again.view, model.frozen)

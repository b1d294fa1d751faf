import json

import pytest
import torch
from torch import nn

from zoo.checkpoint import CheckpointError
from zoo.models import GPT2, MODELS
from zoo.train import load_state, make_optimizer, save_state


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
    before, random = bits(model), torch.get_rng_state()
    save_state(tmp_path, model, optimizer, step=1)
    assert same(before, bits(model))
    assert torch.equal(random, torch.get_rng_state())


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
    before, random = bits(model), torch.get_rng_state()
    with pytest.raises(CheckpointError, match=rf"{tmp_path}.*{sentence}"):
        load_state(tmp_path, model, optimizer)
    assert same(before, bits(model))
    assert torch.equal(random, torch.get_rng_state())

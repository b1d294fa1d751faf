"""The first step that goes wrong names its module and the line of its code."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.models import Decoder, token_batch
from zoo.testing.blame import Place, along, first_bad, first_wrong, record
from zoo.testing.stress import apart


def inputs():
    batch = token_batch(2)
    del batch["labels"]
    return batch


def differ(a, b):
    return apart(a, b) > 0


class Noisy(nn.Module):
    """A module that draws, inside a child, or in code of its own between children."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.first, self.second = Inner(where), Inner("")

    def forward(self, x):
        x = self.first(x)
        if self.where == "own code":
            x = x + torch.randn_like(x)
        if self.where == "a list":
            x = HIDDEN(x)
        x = self.second(x)
        return x if self.where != "end" else F.dropout(x)


class Inner(nn.Module):
    def __init__(self, where):
        super().__init__()
        self.where = where
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        x = self.layer(x)
        return F.dropout(x, 0.5) if self.where == "child" else x


HIDDEN = Inner("child")  # in no module's tree
NOISE = {
    "child": ("first", "F.dropout(x, 0.5)"),
    "own code": ("", "torch.randn_like(x)"),
    "end": ("", "F.dropout(x)"),
    "a list": ("(unregistered Inner)", "F.dropout(x, 0.5)"),
}


@pytest.mark.parametrize("where", NOISE)
def test_the_line_that_draws_is_found(where):
    torch.manual_seed(0)
    module, x = Noisy(where), torch.randn(2, 8)
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(record(module, lambda: module(x)))
    place = first_wrong(*runs, differ)
    module_path, text = NOISE[where]
    assert place.where == module_path
    assert text in place.line and place.line.startswith("test_blame.py:")


def test_without_ops_the_module_is_found_by_its_children_and_itself():
    torch.manual_seed(0)
    module, x = Noisy("own code"), torch.randn(2, 8)
    runs = [record(module, lambda: module(x), ops=False) for _ in range(2)]
    assert first_wrong(*runs, differ) == Place("", "", "Inner")


def test_two_equal_runs_have_no_wrong_step():
    module, batch = Decoder(), inputs()
    runs = [record(module, lambda: module(**batch)) for _ in range(2)]
    assert len(runs[0].steps) > 20
    assert first_wrong(*runs, differ) is None
    assert torch.equal(runs[0].output["logits"], module(**batch)["logits"])


def test_only_the_positions_that_matter_are_compared():
    module, batch = Decoder(), inputs()
    other = {**batch, "input_ids": batch["input_ids"].clone()}
    other["input_ids"][:, 4] = (other["input_ids"][:, 4] + 1) % 31
    runs = [record(module, lambda b=b: module(**b), ops=False) for b in (batch, other)]

    def before(x):
        return x[:, :4]

    def after(x):
        return x[:, 4:]

    def moved(a, b):
        return a.is_floating_point() and differ(a, b)

    assert first_wrong(*runs, along(1, 7, before, differ)) is None
    assert first_wrong(*runs, along(1, 7, after, moved)).where == "tokens"


def test_a_bad_number_is_found_where_it_is_made():
    module = Noisy("")
    with torch.no_grad():
        module.second.layer.weight[0, 0] = torch.nan
    made = record(module, lambda: module(torch.randn(2, 8)))
    assert first_bad(made, lambda x: bool(x.isnan().any())).where == "second.layer"


def test_hooks_are_gone_even_after_an_exception():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"):
        record(module, lambda: module(torch.randn(2, 3)))
    assert record(module, lambda: module(torch.randn(2, 2))).steps[0].at == ""
    assert not torch.nn.modules.module._global_forward_hooks


def test_runs_that_part_are_told_where():
    one, other = Noisy(""), Noisy("own code")
    x = torch.randn(2, 8)
    other.load_state_dict(one.state_dict())
    place = first_wrong(record(other, lambda: other(x)), record(one, lambda: one(x)), differ)
    assert "randn_like" in place.line

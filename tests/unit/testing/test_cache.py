"""The check of caches stops steps that disagree with the whole."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import Reader, decoder, findings, step, told
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

BUGS = {
    "keys of the past in the wrong order": ("cache swapped", ("layers.0",)),
    "a step that counts one place too many": ("cache place", ("positions", "")),
}


@pytest.mark.parametrize(("bug", "places"), BUGS.values(), ids=BUGS)
def test_a_step_that_disagrees_is_a_failure_at_its_module(bug: str, places: Any) -> None:
    ((kind, severity, where),) = told("cache", decoder(bug, padding_mask="attention_mask"))
    assert (kind, severity) == ("cache", "fail")
    assert where in places


def test_steps_that_agree_pass_on_padded_rows_too() -> None:
    assert not findings("cache", decoder())


def test_the_finding_says_which_step_is_the_first_to_differ() -> None:
    (found,) = findings("cache", decoder("cache place"))
    assert "step 1 (of 7)" in found.evidence
    assert "the steps before agree" in found.evidence


def test_a_step_that_raises_is_a_failure() -> None:
    def broken(model: Any, piece: Any, state: Any) -> Any:
        if state is not None:
            raise ValueError("the cache is full")
        return step(model, piece, state)

    (found,) = findings("cache", decoder(step=broken))
    assert "step 1 raised ValueError: the cache is full" in found.evidence


def test_a_model_without_steps_is_not_asked() -> None:
    (outcome,) = check_model(decoder(step=None), only=("cache",)).outcomes
    assert outcome.status == "skipped"


class Method(nn.Module):
    """A running mean, with a method that goes step by step."""

    def __init__(self, *, forgets: bool) -> None:
        super().__init__()
        self.forgets = forgets
        self.map = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(x.cumsum(1))

    def one(self, x: Tensor, total: Any) -> tuple[Tensor, Any]:
        total = x if total is None or self.forgets else total + x
        return self.map(total), total


@pytest.mark.parametrize(("forgets", "kinds"), [(True, ["cache"]), (False, [])])
def test_a_method_is_called_by_its_name(forgets: bool, kinds: list[str]) -> None:
    spec = ModelSpec(
        build=lambda: Method(forgets=forgets),
        batch=lambda size: {"x": torch.randn(size, 5, 3)},
        causal="x",
        step="one",
    )
    assert [f.kind for f in findings("cache", spec)] == kinds


class Past(nn.Module):
    """The decoder behind Hugging Face's names."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.reader = Reader(bug)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        logits, presents = self.reader.run(input_ids, attention_mask.bool(), past_key_values)
        return {"logits": logits, "past_key_values": presents}


@pytest.mark.parametrize(("bug", "kinds"), [("", []), ("cache swapped", ["cache"])])
def test_past_key_values_are_found_and_tried(bug: str, kinds: list[str]) -> None:
    facts = vars(decoder(step=None, output="logits"))
    spec = ModelSpec(**{**facts, "build": lambda: Past(bug)})
    assert [f.kind for f in findings("cache", spec)] == kinds

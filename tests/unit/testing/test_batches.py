"""The checks of rows stop models that mix them, in eval mode and in train mode."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unit.testing.influence_models import decoder, findings, told
from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

MIXERS = {
    "a mean over the batch": lambda x: x - x.mean(0),
    "a softmax over the batch": lambda x: x.softmax(0) * 3,
    "a reshape across the batch": lambda x: x.T.reshape(x.shape),
    "the row before": lambda x: x + x.roll(1, 0),
}


class Mixer(nn.Module):
    """Two linear maps with something between them."""

    def __init__(self, middle: Any) -> None:
        super().__init__()
        self.middle = middle
        self.inner, self.outer = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.middle(self.inner(x)))


def rows(size: int) -> dict[str, Tensor]:
    return {"x": torch.randn(size, 4)}


def spec(middle: Any, **facts: Any) -> ModelSpec:
    return ModelSpec(build=lambda: Mixer(middle), batch=rows, **facts)


@pytest.mark.parametrize("middle", MIXERS.values(), ids=MIXERS)
def test_rows_that_change_each_other_are_a_failure(middle: Any) -> None:
    assert told("batch_independence", spec(middle)) == [("batch-leak", "fail", "")]


def test_rows_that_may_change_each_other_are_let_be() -> None:
    mean = MIXERS["a mean over the batch"]
    (outcome,) = check_model(spec(mean, couples_batch=True), only=("batch_independence",)).outcomes
    assert outcome.status == "skipped"


def test_rows_that_come_back_in_another_order_are_a_failure() -> None:
    def by_place(x: Tensor) -> Tensor:
        return x + torch.arange(len(x), dtype=x.dtype)[:, None]

    (found,) = findings("batch_independence", spec(by_place))
    assert (found.kind, found.severity) == ("batch-leak", "fail")
    assert "order" in found.evidence


@pytest.mark.parametrize("make", [nn.Identity, lambda: nn.LayerNorm(6), lambda: nn.Dropout(0.4)])
def test_rows_that_keep_to_themselves_pass_in_both_modes(make: Any) -> None:
    plain = ModelSpec(build=lambda: Mixer(make()), batch=rows, couples_batch_train=False)
    assert not findings("batch_independence", plain)
    assert not findings("batch_independence_train", plain)


def test_a_decoder_passes() -> None:
    assert not findings("batch_independence", decoder())


def norm(**how: Any) -> Any:
    return lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, **how), nn.Linear(6, 2))


def sequence(size: int) -> dict[str, Tensor]:
    return {"input": torch.randn(size, 4)}


def test_a_norm_that_uses_the_batch_in_eval_mode_is_named() -> None:
    lost = ModelSpec(build=norm(track_running_stats=False), batch=sequence, couples_batch=False)
    assert told("batch_independence", lost) == [("batch-leak", "fail", "1")]


def test_a_norm_without_statistics_alone_may_be_meant() -> None:
    alone = ModelSpec(build=norm(track_running_stats=False), batch=sequence)
    assert told("batch_independence", alone) == [("batch-leak", "warn", "1")]


def test_an_ordinary_norm_couples_rows_in_train_mode_alone() -> None:
    plain = ModelSpec(build=norm(), batch=sequence)
    assert not findings("batch_independence", plain)
    assert not findings("batch_independence_train", plain)
    strict = ModelSpec(build=norm(), batch=sequence, couples_batch_train=False)
    assert told("batch_independence_train", strict) == [("batch-leak", "fail", "1")]


class DropPath(nn.Module):
    """Leaves a branch out: for each sample, or for all at once."""

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        self.together = together

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((1 if self.together else len(x), 1), 0.5)).to(x) / 0.5


@pytest.mark.parametrize(
    ("together", "said"), [(True, [("batch-leak", "fail", "middle")]), (False, [])]
)
def test_one_draw_for_the_whole_batch_is_a_failure(together: bool, said: list[Any]) -> None:
    dropped = spec(DropPath(together=together), train_noise=True)
    assert told("batch_independence_train", dropped) == said


class Pairs(nn.Module):
    """Compares every left row with every right row."""

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        self.together = together
        self.map = nn.Linear(4, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        a, b = self.map(left), self.map(right)
        return (a / (a.norm() if self.together else a.norm(dim=-1, keepdim=True))) @ b.T


@pytest.mark.parametrize(("together", "kinds"), [(True, ["batch-leak"]), (False, [])])
def test_an_entry_for_two_rows_depends_on_these_two_alone(together: bool, kinds: list[str]) -> None:
    def pairs(size: int) -> dict[str, Tensor]:
        return {"left": torch.randn(size, 4), "right": torch.randn(size, 4)}

    both = ModelSpec(build=lambda: Pairs(together=together), batch=pairs, couples_batch=True)
    assert [f.kind for f in findings("batch_independence", both)] == kinds


class WrongAxis(nn.Module):
    """Attention that takes the batch for time."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize(
    ("batch_first", "said"), [(True, []), (False, [("batch-leak", "fail", "")])]
)
def test_attention_over_the_batch_is_laid_to_who_built_it(
    batch_first: bool, said: list[Any]
) -> None:
    def given(size: int) -> dict[str, Tensor]:
        return {"x": torch.randn(size, 4, 6)}

    wrong = ModelSpec(build=lambda: WrongAxis(batch_first=batch_first), batch=given)
    assert told("batch_independence", wrong) == said

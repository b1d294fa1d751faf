"""What must change no number: sound models, and those that it changes."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Block(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 9), nn.Linear(9, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return x + self.drop(self.down(torch.tanh(self.up(self.norm(x)))))


class Net(nn.Module):
    def __init__(self, block=Block):
        super().__init__()
        self.enter = nn.Linear(6, 6)
        self.blocks = nn.ModuleList([block() for _ in range(2)])
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def rows(size):
    return {"x": torch.randn(size, 5, 6)}


def images(size):
    return {"x": torch.randn(size, 2, 6, 4)}


def told(check, build=Net, batch=rows):
    (outcome,) = check_model(ModelSpec(build=build, batch=batch), only=(check,)).outcomes
    assert outcome.status != "error", outcome.reason
    return outcome


class Vision(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Hardswish(inplace=True)
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


@pytest.mark.parametrize("check", ["grad_modes", "checkpointing", "memory_layout", "compile"])
def test_a_sound_model_passes(check):
    assert told(check).status == "passed"


@pytest.mark.parametrize("check", ["grad_modes", "checkpointing", "memory_layout"])
def test_a_sound_model_of_images_passes(check):
    assert told(check, Vision, images).status == "passed"


class AsksForGradients(Block):
    def forward(self, x):
        return super().forward(x) * (1.0 if torch.is_grad_enabled() else 1.01)


class AsksTheInput(Block):
    def forward(self, x):
        return super().forward(x) * (1.5 if x.is_leaf and x.requires_grad else 1.0)


class AsksForInference(Block):
    def forward(self, x):
        return super().forward(x) + 0.1 * torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("build", "where", "said"),
    [
        (lambda: Net(AsksForGradients), "blocks.0", "with gradients on"),
        (AsksTheInput, "", "inputs that require gradients"),
        (lambda: Net(AsksForInference), "", "inference_mode"),
    ],
    ids=["grad mode", "the input", "inference mode"],
)
def test_a_model_that_asks_how_gradients_are_kept_is_stopped(build, where, said):
    (found,) = told("grad_modes", build).findings
    assert (found.kind, found.severity, found.where) == ("train-eval", "fail", where)
    assert said in found.evidence


class Keeps(Block):
    """A cache that is made at the first call, in whatever mode that is."""

    def __init__(self):
        super().__init__()
        self.kept = None

    def forward(self, x):
        if self.kept is None:
            self.kept = torch.arange(6.0, dtype=x.dtype) * 0.1
        return super().forward(x) * self.kept


def test_a_cache_made_in_inference_mode_is_told():
    (found,) = told("grad_modes", lambda: Net(Keeps)).findings
    assert (found.kind, found.severity) == ("state-carried", "warn")


class WritesIntoItsInput(Block):
    def forward(self, x):
        y = self.norm(x).detach()
        x.data.mul_(2)
        return super().forward(x) + y


class CountsItsCalls(Block):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += torch.is_grad_enabled()
        return super().forward(x * (1.1 if self.calls > 1 else 1.0))


@pytest.mark.parametrize("block", [WritesIntoItsInput, CountsItsCalls])
def test_a_block_that_is_another_one_the_second_time_is_stopped(block):
    (found,) = told("checkpointing", lambda: Net(block)).findings
    assert (found.kind, found.severity, found.where) == ("checkpointing", "fail", "blocks.0")


class ReadsMemory(Net):
    def forward(self, x):
        flat = torch.as_strided(x, (x.shape[0], 5, 6), (30, 6, 1))  # as if it were contiguous
        return super().forward(flat)


class Views(Net):
    def forward(self, x):
        return super().forward(x.view(x.shape[0], 30).unflatten(1, (5, 6)))


def test_a_model_that_reads_memory_by_place_is_stopped():
    (found,) = told("memory_layout", ReadsMemory).findings
    assert (found.kind, found.severity) == ("shape", "fail")


def test_a_view_of_scattered_memory_is_told():
    (found,) = told("memory_layout", Views).findings
    assert (found.kind, found.severity) == ("shape", "info")
    assert "test_neutrality.py" in found.line


def test_small_models_are_not_shared_among_threads():
    assert told("threads").status == "skipped"


class AsksForTheCompiler(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        if torch.compiler.is_compiling():
            x = x * 1.5
        return self.head(x)


def test_a_model_that_is_another_one_when_compiled_is_stopped():
    (found,) = told("compile", AsksForTheCompiler).findings
    assert (found.kind, found.severity) == ("compile", "fail")


class Noisy(Net):
    def forward(self, x):
        return super().forward(x) + torch.rand(1, dtype=x.dtype, generator=self.source)

    def __init__(self):
        super().__init__()
        self.source = torch.Generator()


@pytest.mark.parametrize("check", ["grad_modes", "checkpointing", "memory_layout"])
def test_a_model_that_changes_by_itself_is_left_to_others(check):
    assert told(check, Noisy).status == "skipped"

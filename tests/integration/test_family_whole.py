"""Right models of the four families pass, however they are written; what fits none is refused."""

import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing import family_rows
from unit.testing.family_sources import edited, told
from unit.testing.family_variants import every
from unit.testing.models import Classifier
from unit.testing.records import check_model, hold
from zoo.testing.family import compare
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError

EVERY = every()
SOUND = {name: EVERY[name] for name in family_rows.SOUND}


@pytest.mark.parametrize(("family", "make"), SOUND.values(), ids=SOUND)
def test_a_right_model_is_the_familys(family, make):
    made = compare(make(), family)
    assert [(step.name, step.found) for step in made.wrong] == []
    assert len(made.steps) >= 6
    hold([str(made), *told(made)])


class RMS(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


ROTATE = """
def turned(x):
    n = x.shape[-1]
    speeds = 10000.0 ** (-torch.arange(0, n, 2.0) / n)
    angle = torch.arange(x.shape[-2])[:, None] * speeds
    a, b = x.chunk(2, -1)
    c, s = angle.cos(), angle.sin()
    return torch.cat((a * c - b * s, a * s + b * c), -1)


class Attention"""
NORMS = tuple((f"self.{n} = nn.LayerNorm(width)", f"self.{n} = nn.RMSNorm(width)") for n in
              ("ln_1", "ln_2", "ln_f"))  # fmt: skip
NO_PLACES = (
    (" + self.wpe(places)", ""),
    ("        self.wpe = nn.Embedding(context, width)\n", ""),
)
FOREIGN = {
    "RMS norms": (NORMS, "norms", "every norm is an RMS norm"),
    "rotary positions": (
        (
            *NO_PLACES,
            ("class Attention", ROTATE.removesuffix("class Attention") + "class Attention"),
            ("scores = q @ k", "q, k = turned(q), turned(k)\n        scores = q @ k"),
        ),
        "positions",
        "rotary positions",
    ),
}


@pytest.mark.parametrize(("edits", "step", "found"), FOREIGN.values(), ids=FOREIGN)
def test_another_family_is_named_in_one_step(edits, step, found):
    made = compare(edited("gpt2", edits), "gpt2")
    hold(told(made))
    assert [x.name for x in made.steps] == [step]
    assert found in made.steps[0].found


class Gated(nn.Module):
    """A block with a gated MLP."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(23, 12)
        self.n1, self.n2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.q, self.k, self.v, self.o = (nn.Linear(12, 12) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(12, 24), nn.Linear(12, 24), nn.Linear(24, 12)

    def forward(self, ids):
        x = self.table(ids)
        y = self.n1(x)
        w = (self.q(y) @ self.k(y).mT / math.sqrt(12)).softmax(-1)
        x = x + self.o(w @ self.v(y))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


IDS = {"batch": lambda size: {"ids": torch.randint(23, (size, 7))}}
REFUSED = {
    "a classifier of vectors": (Classifier, "gpt2", r"runs no transformer blocks.*linear map", {}),
    "a gated MLP": (Gated, "gpt2", r"MLPs are gated", IDS),
    "ids for a ViT": (edited("gpt2", ()), "vit", r"no input is a picture", {}),
    "a picture for a GPT-2": (edited("vit", ()), "gpt2", r"reads a picture and no ids", {}),
    "a ViT for a CLIP": (edited("vit", ()), "clip", r"a tower of texts, and 1 with blocks", {}),
    "no family": (edited("vit", ()), "llama", r"no family is called 'llama'; there are gpt2", {}),
    "a model that raises": (
        ModelSpec(build=Classifier, batch=lambda size: {"x": torch.randn(size, 99)}),
        "bert",
        r"mat1 and mat2|does not run",
        {},
    ),
}


@pytest.mark.parametrize(("given", "family", "says", "facts"), REFUSED.values(), ids=REFUSED)
def test_what_fits_no_family_is_refused(given, family, says, facts):
    with pytest.raises(SpecError, match=says) as refused:
        compare(given, family, **facts)
    hold(str(refused.value).splitlines())


def test_words_name_the_first_step_its_line_and_its_fix():
    made = compare(edited("gpt2", (("/ math.sqrt(k.size(-1))", ""),)), "gpt2")
    hold([re.sub(r"py:\d+", "py", str(made))])
    assert str(made).startswith(
        "gpt2 beside gpt2: 16 steps compared, 2 differ; the first one is attention of block 0\n\n"
        "1. attention of block 0 at h.0.attn: scores are multiplied by no scale, where it should "
        "be 1/sqrt(head size)\n   line:  family_gpt.py:"
    )
    assert "fix:   divide q @ k.T by sqrt(head size)" in str(made)


ERF = (("x * torch.sigmoid(1.702 * x)", "F.gelu(x)"),)


def test_what_is_published_but_seldom_meant_is_right_and_told():
    made = compare(edited("clip", ERF), "clip")
    assert not made.wrong
    assert len(made.rare) == 4
    hold(str(made).splitlines())
    assert "seldom meant: MLP of image block 0 at visual.blocks.0.mlp: GELU (erf)" in str(made)


VIEW = (("y.transpose(1, 2).reshape(b, t, d)", "y.reshape(b, t, d)"),)
UNSCALED = (("/ math.sqrt(k.size(-1))", ""),)
QUERIES = (("scores, dim=-1", "scores, dim=-2"),)
CHECKED = {
    "a slip of a declared family": ("gpt2", UNSCALED, {"family": "gpt2"}, ["fail", "fail"]),
    "a right model of a declared family": ("gpt2", (), {"family": "gpt2"}, []),
    "what is seldom meant": ("clip", ERF, {"family": "clip"}, ["warn"] * 4),
    "a view for a transpose, undeclared": ("gpt2", VIEW, {}, ["fail"]),
    "a softmax over queries, undeclared": ("gpt2", QUERIES, {}, ["warn"]),
    "no scale, undeclared": ("gpt2", UNSCALED, {}, []),
    "a right model, undeclared": ("bert", (), {}, []),
}


@pytest.mark.parametrize(("family", "edits", "facts", "severities"), CHECKED.values(), ids=CHECKED)
def test_the_check_fails_where_a_slip_is_certain(family, edits, facts, severities):
    report = check_model(edited(family, edits), only=("formula",), **facts)
    assert [finding.severity for finding in report.findings] == severities
    assert all(finding.kind == "formula" for finding in report.findings)
    assert report.outcomes[0].status != "error"

"""The family oracle: a module of someone's own beside what its family computes.

    from zoo.testing.family import compare
    print(compare(spec, "gpt2"))

Some slips no check can see, for nothing but the family says what is right: a missing 1/sqrt(d), a
missing activation, patches in another order. Here every op that reads a parameter is recorded with
what went in and what came out. Between two of them a model computes without parameters, so the
family's formula either gives the numbers that are seen there or it does not; where it does not, the
known slips are tried until one does. No names are needed, and no weights are copied: each step is
judged on what the module itself had there, so a slip shows once, where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.testing.engine import as_spec
from zoo.testing.family.families import STYLES, pictures, walk_family
from zoo.testing.family.heads import Foreign
from zoo.testing.family.layers import Layer, layers_of
from zoo.testing.family.parse import parse
from zoo.testing.family.run import Ran, foreign_norms, run_spec, said_of
from zoo.testing.family.steps import Step
from zoo.testing.family.walk import Walk
from zoo.testing.subject import SpecError, Subject

FAMILIES = ("gpt2", "bert", "vit", "clip")


@dataclass(frozen=True)
class Comparison:
    """All steps of a module beside its family's, in the order in which they ran."""

    name: str
    family: str
    steps: tuple[Step, ...]

    @property
    def wrong(self) -> tuple[Step, ...]:
        """The steps that are not the family's."""
        return tuple(step for step in self.steps if not step.ok)

    @property
    def rare(self) -> tuple[Step, ...]:
        """The steps that are right but seldom meant."""
        return tuple(step for step in self.steps if step.rare)

    def __str__(self) -> str:
        return in_words(self)


def in_words(made: Comparison) -> str:
    """Tell which steps differ, the first one first."""
    wrong = made.wrong
    steps = "1 step" if len(made.steps) == 1 else f"{len(made.steps)} steps"
    head = f"{made.name} beside {made.family}: {steps} compared"
    if not wrong:
        seldom = "".join(f"\nseldom meant: {x.name} at {x.where}: {x.found}" for x in made.rare)
        return f"{head}, every one is the family's{seldom}"
    lines = [f"{head}, {len(wrong)} differ; the first one is {wrong[0].name}"]
    if len(wrong) == 1:
        lines = [f"{head}, 1 differs: {wrong[0].name}"]
    for number, step in enumerate(wrong, 1):
        lines += ["", f"{number}. {step.name} at {step.where or 'the model itself'}: {step.found}"]
        lines += [f"   line:  {step.line}"] if step.line else []
        lines += [f"   off by {step.gap:.2g} of its largest number"] if step.gap else []
        lines += [f"   fix:   {step.fix}"]
    return "\n".join(lines)


def compare(given: Any, family: str, **facts: Any) -> Comparison:
    """Compare a module with a family: gpt2, bert, vit or clip.

    `given` is a ModelSpec, a module, or a function that builds one; `facts` are fields of
    ModelSpec. Raises SpecError where the module cannot be run or holds no transformer blocks.
    """
    if family not in FAMILIES:
        raise SpecError(f"no family is called {family!r}; there are {', '.join(FAMILIES)}")
    subject = Subject(as_spec(given, facts))
    with subject.guarded():
        return compare_subject(subject, family)


def compare_subject(subject: Subject, family: str | None, trials: int = 2) -> Comparison:
    """Compare a subject with a family, inside a guarded block. Raises SpecError as `compare`.

    None for a family means the one whose inputs it has; `trials` says how many slips of one
    attention at once are looked for.
    """
    ran = run_spec(subject)
    if family is None:
        family = "vit" if pictures(ran.inputs) is not None else "gpt2"
    with torch.no_grad():
        steps = tuple(steps_of(subject, ran, family, trials))
    return Comparison(subject.title, family, steps)


def steps_of(subject: Subject, ran: Ran, family: str, trials: int) -> list[Step]:
    """Compare step by step. Raises SpecError where there is nothing to compare."""
    shapes = {n: tuple(p.shape) for n, p in ran.weights.items()}
    layers = layers_of(ran.uses, shapes, ran.rows)
    strange = foreign_norms(layers)
    if strange is not None:
        return [strange]
    picture = pictures(ran.inputs)

    def starts(layer: Layer) -> bool:
        return picture is not None and reads_pixels(layer, picture)

    towers = parse(layers, norm_first=STYLES[family].norm_first, starts=starts)
    fits(subject, family, layers, len(towers), picture)
    walk = Walk(ran.module, ran.weights, ran.rows, STYLES[family], keeps=ran.keeps)
    walk.trials = trials
    walk.unread = frozenset(shapes) - {n for use in ran.uses for n in use.parameters}
    steps = [
        Step(
            "eval mode",
            False,
            noise.module,
            noise.line,
            noise.what,
            "pass training=self.training, or use torch.nn.Dropout, so that eval() turns it off",
        )
        for noise in ran.noise[:1]
    ]
    try:
        for step in walk_family(family, walk, towers, ran.inputs, ran.outputs):
            steps.append(step)
    except Foreign as found:
        return [found.step]
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError, KeyError) as error:
        last = steps[-1].name if steps else "the first step"
        steps.append(uncompared(last, error))
    return steps


def uncompared(last: str, error: Exception) -> Step:
    """Tell of a step whose numbers do not have the shapes that the family's have."""
    text = (str(error).splitlines() or [""])[0][:160]
    found = f"its shapes do not fit what the family computes there ({text})"
    return Step(f"what follows {last}", False, "", "", found, "compare it with the family's paper")


def reads_pixels(layer: Layer, picture: Tensor) -> bool:
    """Say whether a map reads the numbers of a picture."""
    if layer.kind != "map" or layer.x is None or layer.x.numel() != picture.numel():
        return False
    one, other = float(layer.x.sum()), float(picture.sum())
    return abs(one - other) <= 1e-9 * float(picture.abs().sum())


def fits(
    subject: Subject, family: str, layers: Sequence[Layer], towers: int, picture: Tensor | None
) -> None:
    """Raise SpecError for a module that has not the parts of a family, naming what was seen."""
    seen = said_of(layers)
    if not towers:
        raise SpecError(
            f"{subject.title} runs no transformer blocks that can be told: none has q, k, v, an "
            f"output map and an MLP of two maps in a row; it runs {seen}"
        )
    tables = sum(x.kind == "table" for x in layers)
    if family in ("vit", "clip") and picture is None:
        raise SpecError(
            f"{subject.title} is no {family}: no input is a picture (b, c, y, x); it runs {seen}"
        )
    if family == "clip" and (towers < 2 or not tables):
        raise SpecError(
            f"{subject.title} is no clip: it needs a tower of pictures and a tower of texts, and "
            f"{towers} with blocks ran; it runs {seen}"
        )
    if family in ("gpt2", "bert") and picture is not None and not tables:
        raise SpecError(
            f"{subject.title} is no {family}: it reads a picture and no ids; it runs {seen}"
        )


__all__ = ["FAMILIES", "Comparison", "Step", "compare", "compare_subject"]

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

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo.testing.engine import as_spec
from zoo.testing.family.families import STYLES, walk_family
from zoo.testing.family.layers import layers_of
from zoo.testing.family.parse import parse
from zoo.testing.family.steps import Step
from zoo.testing.family.uses import uses_of
from zoo.testing.family.walk import Walk
from zoo.testing.subject import SpecError, Subject

FAMILIES = ("gpt2", "bert", "vit", "clip")
ROWS = 2  # of the batch that is run: no sequence is as short


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

    def __str__(self) -> str:
        return in_words(self)


def in_words(made: Comparison) -> str:
    """Tell which steps differ, the first one first."""
    wrong = made.wrong
    head = f"{made.name} beside {made.family}: {len(made.steps)} steps compared"
    if not wrong:
        return f"{head}, every one is the family's"
    lines = [f"{head}, {len(wrong)} differ; the first one is {wrong[0].name}"]
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


def compare_subject(subject: Subject, family: str) -> Comparison:
    """Compare a subject with a family, inside a guarded block."""
    bench = subject.bench()
    batch = bench.batch(ROWS)
    mask = subject.facts.padding_mask
    if mask is not None and isinstance(batch.get(mask), Tensor):
        batch[mask] = batch[mask].new_full(batch[mask].shape, subject.facts.mask_keeps)
    uses, output = uses_of(bench.module, lambda: bench.run(batch))
    weights = {n: p.detach() for n, p in bench.module.named_parameters()}
    layers = layers_of(uses, {n: tuple(p.shape) for n, p in weights.items()})
    towers = parse(layers, norm_first=STYLES[family].norm_first)
    if not towers:
        raise SpecError(
            f"{subject.title} runs no transformer blocks that can be told: {len(layers)} "
            "parametrised ops, none of them q, k, v, an output map and an MLP in a row"
        )
    walk = Walk(bench.module, weights, ROWS, STYLES[family])
    main = subject.main(output)
    steps = tuple(walk_family(family, walk, towers, subject.arguments(batch), main))
    return Comparison(subject.title, family, steps)


__all__ = ["FAMILIES", "Comparison", "Step", "compare", "compare_subject"]

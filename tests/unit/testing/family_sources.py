"""Models of the four families as texts to edit, so that a slip or a variant is a diff."""

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from zoo.testing.family import Comparison, Step
from zoo.testing.spec import ModelSpec

FILES = {"gpt2": "family_gpt", "bert": "family_bert", "vit": "family_vit", "clip": "family_clip"}


def edited(family: str, edits: Sequence[tuple[str, str]]) -> ModelSpec:
    """Describe a family's model after edits; each must change something."""
    path = Path(__file__).with_name(f"{FILES[family]}.py")
    source = path.read_text(encoding="utf-8")
    for old, new in edits:
        if old not in source:
            raise ValueError(f"{old!r} is not in {path.name}")
        source = source.replace(old, new)
    made = ModuleType(FILES[family])
    exec(compile(source, str(path), "exec"), made.__dict__)
    return ModelSpec(build=made.build, batch=made.batch, name=family)


def said(step: Step) -> str:
    """Write a step down, every field but the number of its line."""
    kind = f"{'right' if step.ok else 'wrong'}{' rare' * step.rare}"
    line = re.sub(r"^([\w.]+):\d+", r"\1", step.line)
    place = f"{step.name}: {kind} at {step.where!r}, {line!r}"
    return f"{place}: {step.found!r}; {step.fix!r}; {step.gap:.4g}"


def told(made: Comparison) -> list[str]:
    """Write a comparison down: what is right in one line, what is wrong with every field."""
    right = [f"{x.name} at {x.where}" for x in made.steps if x.ok and not x.rare]
    wrong = [said(x) for x in made.steps if not x.ok or x.rare]
    return [f"{made.name} beside {made.family}", "; ".join(right), *wrong]


Row = tuple[tuple[tuple[str, str], ...], str, str, str]


def one(old: str, new: str, step: str, where: str, found: str) -> Row:
    """Make a row of one edit."""
    return ((old, new),), step, where, found

"""Models of the four families as texts to edit, so that a slip or a variant is a diff."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

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


Row = tuple[tuple[tuple[str, str], ...], str, str, str]


def one(old: str, new: str, step: str, where: str, found: str) -> Row:
    """Make a row of one edit."""
    return ((old, new),), step, where, found

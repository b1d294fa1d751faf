"""Run any module with every op of zoo replaced by its reference, on torch's own autograd.

Modules call ops through their room, `ops.gelu(x)`, so putting the references there is enough; one
comparison then covers the hand-derived backward of a whole model.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from zoo import ops
from zoo.ops.table import OPS


def _swapped() -> Iterator[None]:
    """Put the reference of every op in its place, and the op back at the end."""
    own = {name: getattr(ops, name) for name in OPS}
    for name, info in OPS.items():
        setattr(ops, name, info.reference)
    try:
        yield
    finally:
        for name, op in own.items():
            setattr(ops, name, op)


reference_ops = contextmanager(_swapped)

"""What people come for: text continued, embedded, filled in."""

from zoo.tasks.packaged import find
from zoo.tasks.text import Embedder, FillMask, Generator, Guess

TASKS = {"embed": Embedder, "fill": FillMask, "generate": Generator}

__all__ = ["TASKS", "Embedder", "FillMask", "Generator", "Guess", "find"]

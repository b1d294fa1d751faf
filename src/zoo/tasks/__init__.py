"""What people come for: text continued, embedded, filled in; pictures named and found."""

from zoo.checkpoint.packaged import find
from zoo.tasks.explain import Explainer
from zoo.tasks.image import ImageClassifier, ImageEmbedder
from zoo.tasks.match import Match, Matcher
from zoo.tasks.pictures import Label, Unreadable
from zoo.tasks.text import Embedder, FillMask, Generator, Guess
from zoo.tasks.text_classes import TextClassifier

TASKS = {
    "classify": ImageClassifier,
    "embed": Embedder,
    "explain": Explainer,
    "fill": FillMask,
    "generate": Generator,
    "match": Matcher,
    "classify text": TextClassifier,
}

__all__ = [
    "TASKS",
    "Embedder",
    "Explainer",
    "FillMask",
    "Generator",
    "Guess",
    "ImageClassifier",
    "ImageEmbedder",
    "Label",
    "Match",
    "Matcher",
    "TextClassifier",
    "Unreadable",
    "find",
]

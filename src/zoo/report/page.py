"""What the page says, as data: a page of models, a model of figures, a figure of numbers and words.

Nothing here knows HTML. A figure's `kind` names the macro of figures.html.j2 that draws its `data`;
text is plain text, whatever it holds, and is escaped where it is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

VERDICTS = ("ok", "worse", "none")  # none: there is nothing accepted to compare with


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number, and the ends of its 95 % interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric of a model: what it is now, what it must be, and what it was."""

    name: str
    estimate: Estimate
    rows: int | None = None
    share: bool = True  # told in percent
    bound: str = ""  # what the gate asks for, in words
    history: tuple[tuple[str, float], ...] = ()  # (version, value), oldest first


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of a bar chart."""

    label: str
    estimate: Estimate
    rows: int
    floor: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A bar chart from zero to `top`; in percent where `share`."""

    what: str  # what a bar counts: the head of its column
    bars: tuple[Bar, ...]
    top: float = 1.0
    share: bool = True
    most: int = 12  # what comes after is folded away


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows of like confidence: its mean, and how many of them were right."""

    confidence: float
    right: Estimate
    rows: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often a truth (row) was given which answer (column)."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row that is answered otherwise than by the accepted version."""

    id: str
    kind: str  # broke, mended, answer (another one), moved (its number)
    asked: str
    before: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page: a data URI, what it shows in words, its size in pixels."""

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A picture with lines below it; `mark` is `yes` (right), `no` (wrong) or nothing."""

    picture: Picture
    lines: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What was asked for and what was found, best first: pictures, or texts with their numbers."""

    asked: str
    picture: Picture | None = None
    tiles: tuple[Tile, ...] = ()
    texts: tuple[tuple[str, str, bool], ...] = ()  # (text, number, whether it is right)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A text, its class, and the class that it was given."""

    id: str
    text: str
    truth: str
    answer: str
    sure: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class Token:
    """A piece of a text and its heat, 0 to 1; `share` is what it stands for."""

    text: str
    heat: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Tokens that an answer rests on."""

    tokens: tuple[Token, ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One thing to see: what it shows in a sentence, its data, the command that makes it."""

    id: str
    title: str
    says: str
    kind: str
    data: Any = None
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A model's section, and its line of the table at the head."""

    name: str
    what: str
    story: str  # what its recipe says of it
    facts: tuple[tuple[str, str], ...]
    parameters: int
    size: int  # bytes of its weights
    main: tuple[Score, ...]
    rows: int
    accepted: str
    verdict: str
    sentences: tuple[str, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Whose work is shown or was learnt from."""

    what: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page."""

    parts: tuple[Part, ...]
    missing: tuple[str, ...] = ()  # sentences about what could not be shown
    made: str | None = None  # a date, as it was given
    versions: tuple[tuple[str, str], ...] = ()
    machine: tuple[tuple[str, str], ...] = ()
    licences: tuple[Licence, ...] = ()

    @property
    def worse(self) -> Sequence[Part]:
        return [part for part in self.parts if part.verdict == "worse"]

"""What a request for text says, and what it gets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Finish = Literal["stop", "length"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose tokens and when to stop. Raises ValueError for a value that means nothing."""

    max_new_tokens: int = 128
    temperature: int | float = 0.0  # 0: always the likeliest token
    top_k: int | None = None  # tokens
    top_p: int | float | None = None
    min_p: int | float | None = None
    repetition_penalty: int | float = (
        1.0  # more than 1: tokens seen, the prompt's too, become rarer
    )
    seed: int = 0  # of this request's own generator
    stop_tokens: Sequence[int] | None = None  # None: the tokenizer's eos; (): none
    stop_strings: Sequence[str] = ()
    beams: int = 1
    length_penalty: int | float = 1.0  # of beams: their score is logprob / tokens ** length_penalty

    def __post_init__(self) -> None:
        check_whole(self)
        check_real(self)
        check_stops(self)
        if self.beams > 1 and self.temperature:
            raise ValueError(
                f"beams {self.beams} with temperature {self.temperature}: beam search draws "
                "nothing; pass temperature=0 or beams=1"
            )


def check_whole(options: Sampling) -> None:
    for name in ("max_new_tokens", "top_k", "beams"):
        value = getattr(options, name)
        if name == "top_k" and value is None:
            continue
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} {value!r}; expected a whole number of at least 1")
    if type(options.seed) is not int or not 0 <= options.seed < 2**64:
        raise ValueError(f"seed {options.seed!r}; expected a whole number from 0 to 2**64 - 1")


def check_real(options: Sampling) -> None:
    """Check each number against its interval; (low, high, whether low itself is allowed)."""
    intervals = {
        "temperature": (0.0, math.inf, True),
        "top_p": (0.0, 1.0, False),
        "min_p": (0.0, 1.0, True),
        "repetition_penalty": (0.0, math.inf, False),
        "length_penalty": (-math.inf, math.inf, False),
    }
    for name, (low, high, closed) in intervals.items():
        value = getattr(options, name)
        if value is None and name in ("top_p", "min_p"):
            continue
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not low <= value <= high:
            raise ValueError(f"{name} {value!r}; expected a number from {low:g} to {high:g}")
        if value == low and not closed:
            raise ValueError(f"{name} {value!r}; expected a number above {low:g}")


def check_stops(options: Sampling) -> None:
    tokens, strings = options.stop_tokens, options.stop_strings
    if isinstance(strings, str):
        raise ValueError(f"stop_strings {strings!r}; expected a tuple of strings: ({strings!r},)")
    object.__setattr__(options, "stop_strings", tuple(strings))
    if not all(isinstance(s, str) and s for s in options.stop_strings):
        raise ValueError(f"stop_strings {strings!r}; expected strings that are not empty")
    if tokens is None:
        return
    if isinstance(tokens, int):
        raise ValueError(f"stop_tokens {tokens!r}; expected a tuple of ids: ({tokens!r},)")
    object.__setattr__(options, "stop_tokens", tuple(tokens))
    if not all(type(i) is int and i >= 0 for i in tokens):
        raise ValueError(f"stop_tokens {tokens!r}; expected ids of at least 0")


@dataclass(frozen=True)
class Generation:
    """One answer.

    `ids` are all tokens that were chosen, a stop token and those of a stop string among them;
    `text` is what comes before either, None without a tokenizer. `logprob` is the sum of the log
    probabilities that the model itself gave to `ids`, before temperature, penalty and filters.
    `drafted` tokens were guessed ahead, of which `accepted` are in `ids`; 0 without a draft.
    """

    ids: list[int]
    text: str | None
    finish: Finish
    logprob: float
    drafted: int = 0  # tokens
    accepted: int = 0  # tokens

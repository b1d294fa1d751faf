"""What the judges of all tasks share: batches, ties, and numbers that are none.

Rows of like length share a batch, so that little is padding; what comes out does not depend on the
batch, but for rounding. A tie is never right: where the right answer scores as high as a wrong one,
the wrong one is the model's answer. Where no answer is known, the first of the highest is.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.subject import Subject

T = TypeVar("T", bound=Hashable)

TOKENS = 4096  # in a batch, with padding
PADDING = "padding"  # a row made by this perturbation stands beside one of so many tokens
PADDED = 96


class JudgeError(ValueError):
    """A row that this model cannot be asked, or an answer that is none."""


def wrong(row: Row, why: str) -> JudgeError:
    return JudgeError(f"row {row.id!r}: {why}")


def finite(row: Row, numbers: Float[Tensor, "..."]) -> list[Any]:
    """Give numbers as a list; raise JudgeError that names the row unless all are finite."""
    bad = ~numbers.isfinite()
    if bool(bad.any()):
        raise wrong(row, f"the model gives {float(numbers[bad][0])}, {int(bad.sum())} times")
    result: list[Any] = numbers.tolist()
    return result


def batches(lengths: Sequence[int], budget: int = TOKENS) -> Iterator[list[int]]:
    """Give the places of rows, longest first, in batches of at most `budget` tokens."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        count = max(1, budget // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def width_of(row: Row, ids: Sequence[int], context: int) -> int:
    """Give how wide the batch of a row is at least, in tokens."""
    return max(len(ids), min(context, PADDED)) if row.under == PADDING else len(ids)


def padded(
    rows: Sequence[Sequence[int]], width: int, fill: int
) -> tuple[Int[Tensor, "b t"], Int[Tensor, "b t"]]:
    """Pad rows of ids on the right; give ids, and the mask of what is real."""
    ids = torch.full((len(rows), width), fill)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return ids, mask


def token_batches(
    subject: Subject, rows: Sequence[Sequence[int]], widths: Sequence[int]
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Give the places of rows, and what the model reads of them."""
    tokenizer = subject.tokenizer
    fill = (tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id) or 0
    device = next(subject.model.parameters()).device
    for places in batches(widths):
        width = max(widths[i] for i in places)
        ids, mask = padded([rows[i] for i in places], width, fill)
        yield places, {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def distinct(items: Iterable[T]) -> tuple[list[T], list[int]]:
    """Give what items there are, and for each item its place among them.

    Equal things are computed once: two places in a batch may round the same row otherwise.
    """
    held = list(items)
    place = {item: i for i, item in enumerate(dict.fromkeys(held))}
    return list(place), [place[item] for item in held]


def vectors_of(
    subject: Subject, owners: Sequence[Row], asked: Sequence[Sequence[int]], compute: Any
) -> Float[Tensor, "n e"]:
    """Give what a model makes of texts, in float64: `asked` are their ids, `owners` their rows."""
    context = subject.model.config.context
    widths = [width_of(row, ids, context) for row, ids in zip(owners, asked, strict=True)]
    keys, places = distinct(zip(map(tuple, asked), widths, strict=True))
    result: dict[int, Tensor] = {}
    for some, batch in token_batches(subject, [ids for ids, _ in keys], [w for _, w in keys]):
        result.update(zip(some, compute(**batch).double(), strict=True))
    return torch.stack([result[place] for place in places])


def cosines_of(rows: Float[Tensor, "n e"], query: Float[Tensor, " e"]) -> Float[Tensor, " n"]:
    """Give cosines of vectors of length one; equal rows have equal ones, as BLAS cannot promise."""
    return (rows * query).sum(-1)


def cut_ids(subject: Subject, texts: Sequence[str], longest: int) -> list[list[int]]:
    """Encode texts with their special tokens; what is longer loses its end."""
    if not texts:
        return []
    batch = subject.tokenizer.batch(texts, longest=longest)
    pairs = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
    return [ids[mask].tolist() for ids, mask in pairs]


def best(scores: Mapping[str, float], right: Collection[str] | None) -> str:
    """Give the answer of the highest score; of a tie, one that is not right, else the first."""
    return max(scores, key=lambda answer: (scores[answer], answer not in (right or ())))


def margin(scores: Mapping[str, float], right: Collection[str] | None) -> float:
    """Give by how much the best right answer leads the best other; the first, if none is known."""
    right = (best(scores, None),) if right is None else right
    return max(scores[answer] for answer in right) - max(
        score for answer, score in scores.items() if answer not in right
    )


def known(row: Row, name: str, among: Collection[str]) -> tuple[str, ...] | None:
    """Give the right answers, a field of the row: one or several, all `among` the possible ones."""
    held = row.fields.get(name)
    if held is None:
        return None
    answers = (held,) if isinstance(held, str) else tuple(held)
    strange = [answer for answer in answers if answer not in among]
    if strange or not answers:
        raise wrong(row, f"{name} {strange or answers} is not among {sorted(among)}")
    return answers


def options(row: Row, names: Sequence[str], what: str) -> list[str]:
    """Give what a row has its model choose from: two or more, each once."""
    if len(names) < 2 or len({*names}) < len(names):
        raise wrong(row, f"{what} are {list(names)}; expected two or more, each once")
    return list(names)


def chosen(
    row: Row,
    scores: Mapping[str, float],
    right: Collection[str] | None,
    chances: Float[Tensor, " k"] | None = None,
) -> Outcome:
    """Make the outcome of a choice: the margin is its value, `chances` are by the scores' order."""
    answer = best(scores, right)
    verdict = None if right is None else answer in right
    return Outcome(
        id=row.id,
        answer=answer,
        value=margin(scores, right),
        passed=verdict,
        right=verdict,
        confidence=None if chances is None else float(chances[list(scores).index(answer)]),
        scores=dict(scores),
    )


def classified(row: Row, names: Sequence[str], logits: Float[Tensor, " k"]) -> Outcome:
    """Make the outcome of a classifier: the probability of the label, or of its answer."""
    chances = dict(zip(names, finite(row, logits.double().softmax(-1)), strict=True))
    right = known(row, "label", names)
    answer = best(chances, right)
    verdict = None if right is None else answer in right
    return Outcome(
        id=row.id,
        answer=answer,
        value=chances[answer if right is None else right[0]],
        passed=verdict,
        right=verdict,
        confidence=chances[answer],
        scores=chances,
    )

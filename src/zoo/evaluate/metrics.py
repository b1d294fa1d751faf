"""Ranks: how far down the list the right answer stands, and what is counted from that.

    rank = 1 + how many wrong answers score at least as high as the best of the right ones

A tie counts against the model: a wrong answer that scores the same stands before the right one. So
a model that gives all answers one score has found nothing, where a sort would let it win by the
order of the rows. Retrieval is judged over the rows of a similarity; its transpose is the other
direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.objectives import IGNORE


@dataclass(frozen=True)
class Retrieval:
    """How well `queries` rows found theirs in a `gallery` of columns; recall by k."""

    queries: int
    gallery: int
    recall: dict[int, float]
    median_rank: float


def ranks(
    similarity: Float[Tensor, "n m"], relevant: Bool[Tensor, "n m"] | None = None
) -> Int[Tensor, " n"]:
    """Give the rank of each row's best relevant column, from 1.

    Without `relevant`, row i belongs to column i. Raises ValueError for a similarity without rows,
    with NaN, or not as `relevant` has it, and for a row to which no column is relevant.
    """
    n, m = similarity.shape
    if relevant is None:
        if n != m:
            raise ValueError(f"{n} rows and {m} columns: say with `relevant` which belong together")
        relevant = torch.eye(n, dtype=torch.bool, device=similarity.device)
    if relevant.shape != similarity.shape:
        raise ValueError(f"relevant is {tuple(relevant.shape)}, the similarity {(n, m)}")
    if n == 0:
        raise ValueError("a similarity of no rows has nothing to rank")
    if bool(similarity.isnan().any()):
        raise ValueError(f"{int(similarity.isnan().sum())} of the {n * m} similarities are NaN")
    lonely = ~relevant.any(1)
    if bool(lonely.any()):
        raise ValueError(f"no column is relevant to row {int(lonely.long().argmax())}")
    best = similarity.masked_fill(~relevant, -torch.inf).amax(1, keepdim=True)
    return 1 + ((similarity >= best) & ~relevant).sum(1)


def recall_at(
    similarity: Float[Tensor, "n m"], k: int, relevant: Bool[Tensor, "n m"] | None = None
) -> float:
    """Give the share of rows that have a relevant column among their k most similar ones.

    With texts as rows and images as columns this is text to image; its transpose, with that of
    `relevant`, is image to text. Raises ValueError for a k below 1 or above the columns, and
    whatever `ranks` does not rank.
    """
    check_k(k, similarity.shape[1])
    return share(ranks(similarity, relevant) <= k)


def median_rank(
    similarity: Float[Tensor, "n m"], relevant: Bool[Tensor, "n m"] | None = None
) -> float:
    """Give the median of `ranks`; of an even number of rows, the mean of the two in the middle."""
    return float(ranks(similarity, relevant).double().quantile(0.5))


def retrieval(
    similarity: Float[Tensor, "n m"],
    relevant: Bool[Tensor, "n m"] | None = None,
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> Retrieval:
    """Give recall at those of `ks` that the gallery is large enough for, and the median rank."""
    n, m = similarity.shape
    recall = {k: recall_at(similarity, k, relevant) for k in ks if k <= m}
    return Retrieval(n, m, recall, median_rank(similarity, relevant))


def top_k_accuracy(logits: Float[Tensor, "b v"], labels: Int[Tensor, " b"], k: int = 1) -> float:
    """Give the share of rows whose label is among the k largest logits; a label of -100 is no row.

    Raises ValueError for a k below 1 or above the classes, a label that is no class, and for NaN.
    """
    classes = logits.shape[1]
    check_k(k, classes)
    kept = labels != IGNORE
    logits, labels = logits[kept], labels[kept]
    wrong = (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        raise ValueError(f"label {int(labels[wrong][0])} is no class: they are 0 to {classes - 1}")
    relevant = labels[:, None] == torch.arange(classes, device=labels.device)
    return share(ranks(logits, relevant) <= k)


def check_k(k: int, gallery: int) -> None:
    if not 1 <= k <= gallery:
        raise ValueError(f"k is {k}; expected 1 to {gallery}, as many as there are to choose from")


def share(hits: Bool[Tensor, " n"]) -> float:
    return int(hits.sum()) / hits.numel()

"""Print what a byte costs an n-gram model: the baseline that the golden GPT-2 is held to.

    python tools/kneser_ney.py gpt2-english --tokenizer golden/gpt2-english

Interpolated modified Kneser-Ney of order 5, over bytes and over the tokens of a checkpoint, learns
from the recipe's rows to learn from and is scored on those kept back, as the recipe's model is.

    p_n(w | h) = max(c(h w) - D(c(h w)), 0) / c(h)  +  g(h) p_{n-1}(w | h without its first)
    g(h) = sum_w D(c(h w)) / c(h)         p_0 = 1 / vocabulary
    Y = n1 / (n1 + 2 n2)      D(1) = 1 - 2 Y n2/n1    D(2) = 2 - 3 Y n3/n2    D(3+) = 3 - 4 Y n4/n3

c counts occurrences at order 5; below it, how many different symbols stand before h w, which is
what makes it Kneser-Ney. n_k is how many n-grams have the count k. Before a row stand four marks
that it begins; since nothing stands before those, n-grams that start with a mark keep their plain
counts. A context that was never seen leaves it to the next shorter one.

An n-gram is one whole number, its symbols side by side, last symbol lowest, so that everything is
sorting and searching: a context is the number shifted, a shorter n-gram its lowest bits.

Source: Chen and Goodman, An Empirical Study of Smoothing Techniques for Language Modeling, 1999,
section 3 and equation 26; Heafield et al., Scalable Modified Kneser-Ney Language Model Estimation,
2013, for the marks, and for D = 0.5, 1, 1.5 where there are too few n-grams to tell.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORDER = 5
FALLBACK = (0.5, 1.0, 1.5)
BITS = 63  # of the whole number that an n-gram is
PIECE = 1 << 20  # n-grams that are scored at once


@dataclass(frozen=True)
class Order:
    """The n-grams of one length and the contexts that they begin with, both sorted."""

    grams: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray  # c(h)
    weights: np.ndarray  # g(h), what is left for shorter contexts
    discounts: np.ndarray  # D of 0, 1, 2, 3 and more


@dataclass(frozen=True)
class Model:
    """Orders from 1 up, over symbols 0 to vocab - 1; `vocab` itself is the mark of a beginning."""

    orders: tuple[Order, ...]
    vocab: int
    bits: int


def packed(rows: Iterable[Sequence[int]], vocab: int, order: int) -> np.ndarray:
    """Give the n-gram that ends at each symbol of each row; raise ValueError for what is none."""
    bits = vocab.bit_length()
    if bits * order > BITS:
        raise ValueError(f"{order} symbols of {vocab} need {bits * order} bits; {BITS} are there")
    pieces = []
    for row in rows:
        symbols = np.asarray(row, dtype=np.int64)
        if len(symbols) and not 0 <= symbols.min() <= symbols.max() < vocab:
            raise ValueError(f"a row has {symbols.max()}; symbols are 0 to {vocab - 1}")
        marked = np.concatenate([np.full(order - 1, vocab), symbols])
        grams = np.zeros(len(symbols), dtype=np.int64)
        for start in range(order):
            grams = grams << bits | marked[start : start + len(symbols)]
        pieces.append(grams)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)


def learn(rows: Iterable[Sequence[int]], vocab: int, *, order: int = ORDER) -> Model:
    """Count the n-grams of rows of symbols; raise ValueError for no symbols."""
    bits = vocab.bit_length()
    tokens = packed(rows, vocab, order)
    if not len(tokens):
        raise ValueError("no symbols to learn from")
    grams, counts = np.unique(tokens, return_counts=True)
    plain = (grams, counts)  # occurrences of the n-grams of this length
    orders = [order_of(grams, counts, bits)]
    for n in range(order - 1, 0, -1):
        mask = (1 << bits * n) - 1
        before = grams & mask  # one for each symbol that stands before it
        grams, counts = np.unique(before, return_counts=True)
        plain = merged(plain[0] & mask, plain[1])
        begins = grams >> bits * (n - 1) == vocab
        counts = np.where(begins, plain[1], counts)
        orders.append(order_of(grams, counts, bits))
    return Model(tuple(orders[::-1]), vocab, bits)


def merged(grams: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the counts of equal n-grams."""
    names, place = np.unique(grams, return_inverse=True)
    return names, np.bincount(place, weights=counts).astype(np.int64)


def order_of(grams: np.ndarray, counts: np.ndarray, bits: int) -> Order:
    """Make an order of its n-grams: discounts, and what each context leaves."""
    discounts = discounts_of(counts)
    contexts, first = np.unique(grams >> bits, return_index=True)  # grams are sorted
    totals = np.add.reduceat(counts, first)
    taken = np.add.reduceat(discounts[np.minimum(counts, 3)], first)
    return Order(grams, counts, contexts, totals, taken / totals, discounts)


def discounts_of(counts: np.ndarray) -> np.ndarray:
    """Give D of 0, 1, 2 and 3 or more, by how many n-grams were counted 1, 2, 3 and 4 times."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if not n1 or not n2 or not n3:
        return np.array([0.0, *FALLBACK])
    y = n1 / (n1 + 2 * n2)
    found = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
    if any(not 0 <= d <= k for k, d in enumerate(found, 1)):
        return np.array([0.0, *FALLBACK])
    return np.array([0.0, *found])


def chances(model: Model, grams: np.ndarray) -> np.ndarray:
    """Give the probability of each n-gram's last symbol behind the others."""
    result = np.full(len(grams), 1 / model.vocab)
    for n, order in enumerate(model.orders, 1):
        shorter = grams & ((1 << model.bits * n) - 1)
        place, seen = found(order.contexts, shorter >> model.bits)
        where, known = found(order.grams, shorter)
        count = np.where(known, order.counts[where], 0)
        kept = np.maximum(count - order.discounts[np.minimum(count, 3)], 0) / order.totals[place]
        result = np.where(seen, kept + order.weights[place] * result, result)
    return result


def found(names: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give where in sorted names each wanted one stands, and whether it does."""
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    return place, names[place] == wanted


def bits_of(model: Model, rows: Iterable[Sequence[int]]) -> float:
    """Give the bits that all rows cost."""
    grams = packed(rows, model.vocab, len(model.orders))
    pieces = (grams[start : start + PIECE] for start in range(0, len(grams), PIECE))
    return float(sum(-np.log2(chances(model, piece)).sum() for piece in pieces))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="the recipe of the model that is held to it")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="a checkpoint: score tokens too")
    parser.add_argument("--data", nargs="+", metavar="FILE", help="texts, for the recipe's own")
    args = parser.parse_args()

    from zoo.tokenizers import Tokenizer  # torch: not needed to count
    from zoo.train.config import read_recipe
    from zoo.train.course import read_rows
    from zoo.train.world import World

    changes = [f"data.files={json.dumps(args.data)}"] if args.data else []
    rows = read_rows(read_recipe(args.recipe, changes), "lm", World())
    train, valid = (rows.part(split).frame["text"].tolist() for split in ("train", "valid"))
    size = sum(len(text.encode()) for text in valid)
    ways = {"bytes": (256, lambda text: list(text.encode()))}
    if args.tokenizer is not None:
        tokenizer = Tokenizer.from_folder(Path(args.tokenizer))
        ways["tokens"] = (tokenizer.vocab_size, tokenizer.encode)
    for name, (vocab, encode) in ways.items():
        model = learn(map(encode, train), vocab)
        record = {
            "of": name,
            "order": ORDER,
            "bits_per_byte": round(bits_of(model, map(encode, valid)) / size, 4),
            "vocab": vocab,
            "train": len(train),
            "valid": len(valid),
            "bytes": size,
            "data": rows.version,
        }
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()

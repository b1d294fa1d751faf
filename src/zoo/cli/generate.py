"""Continue a text with a GPT-2.

    zoo generate --model FOLDER --prompt "Once upon a time" --temperature 0.8 --top-p 0.95
    cat prompts.txt | zoo generate --model FOLDER --json
    zoo generate --model FOLDER --draft ngram --prompt "..."     sooner where text repeats itself

Without a temperature the likeliest token is taken. A prompt gets the same text whatever other
prompts are given with it, and with a draft as without.
"""

import argparse
import dataclasses
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, model_arguments, model_options, texts_of

# option -> field of zoo.generate.Sampling; one that is not given keeps the field's default
NUMBERS = {
    "max_new_tokens": (int, "most tokens to add (default: 128, or as many as fit)"),
    "temperature": (float, "0 (default) takes the likeliest token, 1 draws as the model says"),
    "top_k": (int, "draw from the K likeliest tokens"),
    "top_p": (float, "draw from the likeliest tokens that hold P of the probability"),
    "min_p": (float, "draw from tokens at least P times as likely as the likeliest"),
    "repetition_penalty": (float, "above 1 makes tokens that were seen rarer"),
    "beams": (int, "search with this many beams"),
    "seed": (int, "of the draw (default: 0)"),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument(
        "--prompt",
        action="append",
        default=[],
        metavar="TEXT",
        help="may be given again; default: the lines of stdin",
    )
    for name, (kind, said) in NUMBERS.items():
        option = "--" + name.replace("_", "-")
        letter = "P" if kind is float else "N"
        parser.add_argument(option, type=kind, default=argparse.SUPPRESS, metavar=letter, help=said)
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; repeat"
    )
    parser.add_argument(
        "--draft",
        metavar="FOLDER",
        help="guess tokens ahead, for speed alone: ngram (what followed before), or the folder of "
        "a smaller model with the same tokenizer",
    )
    parser.add_argument("--stream", action="store_true", help="print the text as it comes")


def run(args: argparse.Namespace) -> None:
    from zoo.tasks import Generator

    options: dict[str, Any] = {name: value for name, value in vars(args).items() if name in NUMBERS}
    options["stop_strings"] = tuple(args.stop)
    prompts = texts_of(args.prompt, "prompts")
    if args.stream and len(prompts) != 1:
        raise UsageError(f"--stream takes one prompt, not {len(prompts)}")
    if args.draft is not None and options.get("beams", 1) > 1:
        raise UsageError("--draft with --beams: beams follow several texts at once; leave one out")
    generator = Generator.from_folder(args.model, draft=args.draft, **model_options(args))
    if args.stream:
        show(args, prompts[0], generator.stream(prompts[0], **options))
        return
    for prompt, answer in zip(prompts, generator.generate(prompts, **options), strict=True):
        record = {"prompt": prompt, **dataclasses.asdict(answer)}
        emit(args, record, f"{prompt}{answer.text}")


def show(args: argparse.Namespace, prompt: str, pieces: Any) -> None:
    """Print pieces as they come: as text on one line, or as JSON lines."""
    if args.json:
        for piece in pieces:
            emit(args, {"piece": piece}, piece)
        return
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()

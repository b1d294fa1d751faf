"""Guess the [MASK] in a text with a BERT that has a masked-LM head.

zoo fill --model FOLDER "The capital of France is [MASK]."
"""

import argparse

from zoo.cli.common import emit, model_arguments, model_options, texts_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="default: the lines of stdin")
    model_arguments(parser)
    parser.add_argument(
        "--top", type=int, default=5, metavar="N", help="guesses a mask (default: 5)"
    )


def run(args: argparse.Namespace) -> None:
    from zoo.tasks import FillMask

    texts = texts_of(args.texts, "texts")
    filler = FillMask.from_folder(args.model, **model_options(args))
    for text in texts:
        for place, guesses in enumerate(filler.fill(text, top=args.top)):
            for guess in guesses:
                record = {
                    "text": text,
                    "mask": place,
                    "token": guess.token,
                    "probability": guess.probability,
                    "filled": guess.filled,
                }
                emit(args, record, f"{guess.probability:7.4f}  {guess.token:<16} {guess.filled}")

"""Hold a model of your own against GPT-2, BERT, ViT or CLIP: which step differs first, and how.

zoo compare mypkg.mymodel:Net --family gpt2
zoo compare train.py:spec --family vit --json

Every op that reads a parameter is recorded with what it read and gave; between two of them the
family's formula either gives the numbers seen, or a known slip does. No names and no weights need
to match. Exit code 0: every step is the family's; 1: one is not; 2: it cannot be compared.
"""

import argparse
import dataclasses

from zoo.cli.check import fact
from zoo.cli.common import emit

FAMILIES = ("gpt2", "bert", "vit", "clip")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="TARGET", help="pkg.mod:spec or file.py:Net")
    parser.add_argument("--family", required=True, choices=FAMILIES)
    parser.add_argument(
        "--fact",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of ModelSpec, such as output=logits; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    facts = dict(fact(pair) for pair in args.fact)
    from zoo.testing.family import compare
    from zoo.testing.target import load_targets

    code = 0
    for origin, spec in load_targets(args.target):
        made = compare(spec, args.family, **facts)
        steps = [dataclasses.asdict(step) for step in made.steps]
        record = {"target": origin, "family": args.family, "ok": not made.wrong, "steps": steps}
        emit(args, record, str(made))
        code = max(code, int(bool(made.wrong)))
    return code

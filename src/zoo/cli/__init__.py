"""The command line: one verb, one file, imported when it is called.

Results go to stdout, messages to stderr. Exit codes: 0 good, 1 the answer is no, 2 the caller's
mistake (one line; ZOO_DEBUG=1 shows the traceback), 130 on Ctrl-C, 141 when nobody reads.
"""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from zoo import __version__


class UsageError(ValueError):
    """Arguments that make no sense."""


@dataclass(frozen=True)
class Verb:
    """A verb's module, its help, and two calls for the tests: one that works, one refused.

    In the calls {gpt2}, {bert}, {masked}, {vit} and {clip} stand for folders with a tiny
    checkpoint, {photo} for a picture, {photos} for a folder of them, {recipe} for a recipe of a few
    steps, {text} for a text to learn from, {run} for a run that has ended, {rows} for a table of
    labelled texts, {out} for what is not there yet.
    """

    module: str
    help: str
    good: str
    refused: str


VERBS = {
    "tour": Verb(
        "zoo.cli.tour",
        "see what a BERT, a GPT-2, a ViT and a CLIP have learnt, or let them learn from nothing",
        "--out {out}",
        "--seconds 0",
    ),
    "generate": Verb(
        "zoo.cli.generate",
        "continue a text with a GPT-2",
        "--model {gpt2} --prompt hello --max-new-tokens 3 --seed 1",
        "--model {bert} --prompt hello",
    ),
    "embed": Verb(
        "zoo.cli.embed",
        "turn texts into vectors with a BERT, or rank them by likeness to a query",
        "--model {bert} hello world",
        "--model {gpt2} hello",
    ),
    "fill": Verb(
        "zoo.cli.fill",
        "guess the [MASK] in a text with a BERT",
        "--model {masked} 'hello [MASK]'",
        "--model {masked} hello",
    ),
    "classify": Verb(
        "zoo.cli.classify",
        "say what is in pictures (a ViT, or a CLIP and labels of your own) or of a text's class",
        "--model {clip} --labels cat,dog,house {photo} {photos} --sheet {out}.png",
        "--model {clip} --labels cat,cat {photo}",
    ),
    "match": Verb(
        "zoo.cli.match",
        "find pictures for a text or texts for a picture with a CLIP; count its recall",
        "--model {clip} --images {photos} --text 'red house' --top 3 --sheet {out}.png",
        "--model {vit} --images {photos} --text 'red house'",
    ),
    "explain": Verb(
        "zoo.cli.explain",
        "draw what an answer rests on: heat over a picture, or over the tokens of a text",
        "{photo} --model {clip} --text 'red house' --out {out}.png",
        "--model {vit} --text hello --out {out}.png",
    ),
    "serve": Verb(
        "zoo.cli.serve",
        "serve models over HTTP: OpenAI's completions and embeddings; fill, classify, match",
        "gpt2={gpt2} bert={bert} --check --threads 1",
        "gpt2={gpt2} --host 0.0.0.0",
    ),
    "train": Verb(
        "zoo.cli.train",
        "train a model by a recipe, on your files or a package's, or go on with a stopped run",
        "{recipe} --data {text} --out {out}",
        "{recipe} --data {text} --out {out} --set train.stps=3",
    ),
    "plot": Verb(
        "zoo.cli.plot",
        "draw loss, learning rate and gradient norms of runs as one picture",
        "{run} --out {out}.png",
        "{photos}",
    ),
    "data": Verb(
        "zoo.cli.data",
        "check files to learn from: leakage, duplicates, labels, drift, columns",
        "check {rows} --kind labelled_text",
        "check {rows} --kind pairs",
    ),
    "evaluate": Verb(
        "zoo.cli.evaluate",
        "measure a model on a golden set, with intervals; say what a set of rows can see",
        "power --rows 500 --drop 0.05",
        "{gpt2} --on no-such-set",
    ),
    "golden": Verb(
        "zoo.cli.golden",
        "check that no golden set got worse; accept what changed, for a reason; make one again",
        "check tokenizer-bpe",
        "check no-such-set",
    ),
    "report": Verb(
        "zoo.cli.report",
        "write one page on how good the golden checkpoints are, for a browser",
        "--only vit-mnist --out {out}.html",
        "--only no-such-model --out {out}.html",
    ),
    "check": Verb(
        "zoo.cli.check",
        "find the bug in a PyTorch model of your own: what is wrong, where, and how to mend it",
        "{module}:spec --tier quick",
        "{module}:no_such_name",
    ),
    "compare": Verb(
        "zoo.cli.compare",
        "hold a GPT-2, BERT, ViT or CLIP of your own against the family: which step differs first",
        "{block}:Net --family gpt2",
        "{module}:spec --family gpt2",
    ),
    "explain-diff": Verb(
        "zoo.cli.explain_diff",
        "say whether two modules, or two files of tensors, differ by rounding or by a bug",
        "{block}:Net {block}:Net --batch {block}:batch",
        "{block}:Net {module}",
    ),
    "bench": Verb(
        "zoo.cli.bench",
        "measure zoo's speed beside its peers and the machine's limit, or what testing kits catch",
        "testers --half dev --only dev/mlp/so* --declared yes --jobs 1 --out {out}",
        "testers --tools nobody",
    ),
    "mutate": Verb(
        "zoo.cli.mutate",
        "plant the bugs that real models have, one at a time: would your tests notice?",
        '{suite}/scaling.py --command "pytest -q -p no:cacheprovider {suite}"',
        "{suite}/no_such_file.py --list",
    ),
    "flake": Verb(
        "zoo.cli.flake",
        "hunt flaky tests in any pytest suite, and name what makes them fail",
        "{suite} --rate 0.5 --vary seed,order",
        "{suite} --rate 2",
    ),
    "pyramid": Verb(
        "zoo.cli.pyramid",
        "say of each tier of tests how many there are, how long they take, what they catch",
        "--slowest 3",
        "--since no/such/file.json",
    ),
    "info": Verb(
        "zoo.cli.info",
        "say what a checkpoint folder or a preset is: family, sizes, memory",
        "gpt2",
        "no/such/folder",
    ),
    "convert": Verb(
        "zoo.cli.convert",
        "write a checkpoint in another layout, and verify it",
        "{gpt2} {out} --to openai --verify",
        "{gpt2} {out} --to onnx",
    ),
}


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of printing its usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; give the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a letter that the terminal lacks is no reason to stop
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    try:
        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as leaving:  # argparse's --help and --version
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # `zoo ... | head`: what is left to say has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError, ImportError, TypeError) as error:
        if os.environ.get("ZOO_DEBUG", "") not in ("", "0"):
            raise
        print(f"zoo: error: {sentence(error)}", file=sys.stderr)
        return 2


def dispatch(arguments: list[str]) -> int:
    """Find the verb, let it read its arguments and run."""
    top = top_parser()
    if not arguments:
        top.print_help(sys.stderr)
        return 2
    name = arguments[0]
    if name.startswith("-"):
        top.parse_args([name, ""])  # --help and --version leave here
    if name not in VERBS:
        top.error(f"no verb {name!r}; there are {', '.join(VERBS)}")
    module = importlib.import_module(VERBS[name].module)
    given = verb_parser(name, module).parse_args(arguments[1:])
    result: int | None = module.run(given)
    return result or 0


def top_parser() -> Parser:
    lines = [f"  {name:<10} {verb.help}" for name, verb in VERBS.items()]
    parser = Parser(
        prog="zoo",
        usage="zoo [--version] [--help] VERB ...",
        description="Transformers you can trust, and the kit that proves it.\n\nverbs:\n"
        + "\n".join(lines)
        + "\n\nzoo VERB --help says more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"zoo {__version__}")
    parser.add_argument("verb", help=argparse.SUPPRESS)
    return parser


def verb_parser(name: str, module: Any) -> Parser:
    parser = Parser(
        prog=f"zoo {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    return parser


def sentence(error: Exception) -> str:
    """Give an error in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__

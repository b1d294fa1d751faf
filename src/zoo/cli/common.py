"""What verbs share: options of a model, texts from arguments or stdin, results, progress.

Nothing here imports torch, so that every --help answers at once.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zoo.cli import UsageError

DTYPES = ("float32", "float64", "bfloat16", "float16")


def model_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add --model, --dtype and --device."""
    said = "minilm (carried by a package)" if default == "minilm" else "minilm"
    parser.add_argument(
        "--model",
        required=default is None,
        default=default,
        metavar="FOLDER",
        help=f"a checkpoint folder, a hub name, or {said}",
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: float32")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:1, ...")


def model_options(args: argparse.Namespace) -> dict[str, Any]:
    """Give the dtype and the device that were asked for; raise UsageError for an absent one."""
    import torch  # not at the top: --help must not wait for it

    try:
        device = torch.device(args.device)
    except RuntimeError:
        raise UsageError(f"device {args.device!r}; expected cpu, cuda or cuda:0, ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {args.device}: torch sees no such card here; use --device cpu")
    return {"dtype": getattr(torch, args.dtype), "device": device}


def texts_of(given: list[str], what: str) -> list[str]:
    """Give the arguments, or the lines of stdin when there are none."""
    if given:
        return given
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(f"no {what}: give some, or pipe one a line")
    lines = sys.stdin.buffer.read().decode("utf-8").splitlines()
    if not lines:
        raise UsageError(f"no {what}: stdin is empty")
    return lines


def emit(args: argparse.Namespace, record: dict[str, Any], text: str) -> None:
    """Print one result: the record as JSON, or the text for people."""
    print(json.dumps(record) if args.json else text, flush=True)


def say(text: str) -> None:
    """Print a message, which is no result."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Give a list that Ctrl-C and SIGTERM write their number to; the second ends at once."""
    asked: list[int] = []

    def note(number: int, frame: Any) -> None:
        if asked:  # the second time at once: what was saved stays saved
            raise KeyboardInterrupt
        asked.append(number)
        say("\nending after this step; once more ends at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, nothing elsewhere; call with how many more are done."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    try:
        from tqdm import tqdm  # an extra
    except ImportError:
        yield lambda count: None
        return
    with tqdm(total=total, desc=what, file=sys.stderr, leave=False) as bar:

        def done(count: int) -> None:
            bar.update(count)

        yield done

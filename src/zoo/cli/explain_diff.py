"""Say whether two results that should be the same differ by rounding or by a bug.

zoo explain-diff mypkg.net:build mypkg.fast:build --batch mypkg.net:batch
zoo explain-diff before.pt after.pt --dtype bfloat16
zoo explain-diff expected.npy got.npy

Two modules run in their own precision and in float64; a bound for rounding is derived op by op.
Two files of tensors (.pt, .npy, .safetensors) are looked at for patterns: another order, a factor,
a transposition, missing rows. Exit code 0: equal or rounding; 1: a bug.
"""

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import DTYPES, emit

FILES = (".pt", ".pth", ".npy", ".safetensors")
ROWS = 3  # of the batch that is asked for


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the one to trust: pkg.mod:factory, or a file")
    parser.add_argument("b", metavar="B", help="the other one, of the same kind")
    parser.add_argument(
        "--batch",
        metavar="PKG.MOD:NAME",
        help="a batch for both modules, or a function that makes one (of so many rows, or of "
        "nothing); default: `batch` beside A's factory",
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, help="the precision that was worked in; default: the lower one"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def run(args: argparse.Namespace) -> int:
    files = [is_file(args.a), is_file(args.b)]
    if files[0] != files[1]:
        raise UsageError(f"{args.a} and {args.b}: give two modules (pkg.mod:factory), or two files")
    if files[0] and args.batch is not None:
        raise UsageError("--batch is for modules; files of tensors need none")
    import torch

    from zoo.testing.rounding import explain_difference

    dtype = getattr(torch, args.dtype) if args.dtype else None
    if files[0]:
        found = explain_difference(read(args.a), read(args.b), dtype=dtype)
    else:
        a, b = made(args.a, args.seed), made(args.b, args.seed)
        given = batch_of(args.batch or beside(args.a), args.seed)
        found = explain_difference(a, b, given, dtype=dtype, seed=args.seed)
    record = {
        "a": args.a,
        "b": args.b,
        "verdict": found.verdict,
        "largest": found.largest,
        "typical": found.typical,
        "bound": found.bound,
        "where": found.where,
        "line": found.line,
        "text": found.text,
        "details": dict(found.details),
    }
    emit(args, record, found.text)
    return int(found.verdict == "bug")


def is_file(given: str) -> bool:
    """Say whether an argument names a file of tensors."""
    return given.lower().endswith(FILES)


def read(name: str) -> Any:
    """Read tensors by name from a file; a lone tensor as it is."""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no file {name}")
    kind = path.suffix.lower()
    if kind == ".npy":
        import numpy
        import torch

        return torch.from_numpy(numpy.load(path, allow_pickle=False))
    if kind == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        said = (str(error).splitlines() or [""])[0]
        raise UsageError(f"{name} cannot be read as tensors: {said}") from None
    from zoo.testing.trees import tensors

    if not tensors(found):
        raise UsageError(f"{name} holds {type(found).__name__} without a tensor")
    return found


def found_at(name: str) -> Any:
    """Give what a name such as pkg.mod:thing.part or file.py:thing stands for."""
    if not name.rpartition(":")[0]:
        kinds = ", ".join(FILES)
        raise UsageError(f"{name}: expected pkg.mod:name, or a file that ends in {kinds}")
    from zoo.testing.target import load_targets

    return load_targets(name)[0][1]


def made(name: str, seed: int) -> Any:
    """Build a module: a factory, a spec with `build`, or the module itself."""
    from torch import nn

    from zoo.testing.guard import seed_all

    value = found_at(name)
    own = isinstance(value, nn.Module) or (isinstance(value, type) and issubclass(value, nn.Module))
    value = value if own else getattr(value, "build", value)
    if not isinstance(value, nn.Module) and callable(value):
        seed_all(seed)
        value = value()
    if not isinstance(value, nn.Module):
        raise UsageError(f"{name} gives {type(value).__name__}; expected a torch.nn.Module")
    return value.eval()


def beside(name: str) -> str:
    """Name the batch that stands beside a factory or in a spec."""
    from zoo.testing.subject import SpecError

    module, _, path = name.rpartition(":")
    for place in (f"{module}:{path}.batch", f"{module}:batch"):
        try:
            found_at(place)
        except SpecError:
            continue
        return place
    raise UsageError(f"no batch: give --batch pkg.mod:name, or write `batch` into {module}")


def batch_of(name: str, seed: int) -> Any:
    """Give a batch: a value, or what a function makes of a number of rows or of nothing."""
    import inspect

    from zoo.testing.guard import seed_all

    value = found_at(name)
    if not callable(value):
        return value
    seed_all(seed)
    return value(ROWS) if inspect.signature(value).parameters else value()

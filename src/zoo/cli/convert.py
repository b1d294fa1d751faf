"""Write the checkpoint SRC to the folder DST in another layout.

    hf        config.json and model.safetensors, as transformers writes them
    openai    the same with the bare names of OpenAI's GPT-2
    nanogpt   nanoGPT's ckpt.pt; reading one needs --unpickle

With --verify the result is read back and compared, in float64; the exit code is 1 if it differs.
"""

import argparse
import dataclasses
from pathlib import Path

from zoo.cli import UsageError
from zoo.cli.common import emit


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="a folder, or nanoGPT's ckpt.pt")
    parser.add_argument("target", metavar="DST", help="a folder that holds no checkpoint yet")
    parser.add_argument("--to", choices=("hf", "openai", "nanogpt"), default="hf")
    parser.add_argument("--verify", action="store_true", help="compare the logits both ways")
    parser.add_argument("--unpickle", action="store_true", help="read a ckpt.pt that you trust")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="write nanogpt although it computes another gelu than the model",
    )


def run(args: argparse.Namespace) -> int:
    held = [n for n in ("config.json", "ckpt.pt") if (Path(args.target) / n).exists()]
    if held:
        raise UsageError(f"{args.target} holds {held[0]} already; choose another folder")

    from zoo.models.convert import convert

    done = convert(
        args.source,
        args.target,
        to=args.to,
        verify=args.verify,
        unpickle=args.unpickle,
        approximate=args.approximate,
    )
    same = done.difference in (None, 0.0)
    said = {None: "not verified", 0.0: "verified: every logit is the same"}.get(
        done.difference, f"NOT the same: logits differ by up to {done.difference}"
    )
    record = {"source": args.source, "target": args.target, **dataclasses.asdict(done)}
    emit(args, record, f"{args.target}: {done.family}, {done.tensors} tensors, {args.to}; {said}")
    return 0 if same else 1

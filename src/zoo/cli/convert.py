"""Write the checkpoint SRC to the folder DST in another layout; or write a probe into SRC.

    hf        config.json and model.safetensors, as transformers writes them
    openai    the same with the bare names of OpenAI's GPT-2 or CLIP
    nanogpt   nanoGPT's ckpt.pt; reading one needs --unpickle
    open_clip a CLIP, with open_clip_config.json
    timm      a ViT, as timm's create_model("local-dir:...") reads it

With --verify the result is read back and compared, in float64; the exit code is 1 if it differs.
With --probe there is no DST: what the folder SRC answers now is kept in its probe.json, and whoever
loads it later is told when config, weights, tokenizer or settings for pictures have changed.
"""

import argparse
import dataclasses
from pathlib import Path

from zoo.cli import UsageError
from zoo.cli.common import emit


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="a folder, or a .pt file")
    parser.add_argument(
        "target", metavar="DST", nargs="?", help="a folder that holds no checkpoint yet"
    )
    parser.add_argument(
        "--to", choices=("hf", "openai", "nanogpt", "open_clip", "timm"), default="hf"
    )
    parser.add_argument(
        "--probe", action="store_true", help="accept the folder SRC as it is: write its probe.json"
    )
    parser.add_argument("--verify", action="store_true", help="compare the logits both ways")
    parser.add_argument("--unpickle", action="store_true", help="read a pickle that you trust")
    parser.add_argument(
        "--approximate",
        action="store_true",
        help="write nanogpt or timm although its gelu or its eps is another than the model's",
    )
    parser.add_argument(
        "--heads", type=int, metavar="N", help="of a timm ViT whose name does not tell"
    )


def run(args: argparse.Namespace) -> int:
    if args.probe:
        return run_probe(args)
    if args.target is None:
        raise UsageError("convert needs SRC and DST; convert --probe needs SRC alone")
    held = [
        n
        for n in ("config.json", "ckpt.pt", "open_clip_config.json")
        if (Path(args.target) / n).exists()
    ]
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
        heads=args.heads,
    )
    same = done.difference in (None, 0.0)
    said = {None: "not verified", 0.0: "verified: every logit is the same"}.get(
        done.difference, f"NOT the same: logits differ by up to {done.difference}"
    )
    record = {"source": args.source, "target": args.target, **dataclasses.asdict(done)}
    emit(args, record, f"{args.target}: {done.family}, {done.tensors} tensors, {args.to}; {said}")
    return 0 if same else 1


def run_probe(args: argparse.Namespace) -> int:
    """Write a probe into the folder, whatever its old one says."""
    if args.target is not None:
        raise UsageError(f"--probe writes into {args.source} itself; leave {args.target} out")

    from zoo.models import write_probe
    from zoo.tasks import find

    place = find(args.source)
    parts = write_probe(place)
    record = {"source": args.source, "probe": str(place / "probe.json"), "of": list(parts)}
    emit(args, record, f"{place / 'probe.json'}: a probe of {', '.join(parts)}")
    return 0

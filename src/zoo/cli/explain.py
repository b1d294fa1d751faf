"""Draw what a model's answer rests on: heat over a picture, or over the tokens of a text.

zoo explain cat.png --model vit --out heat.png
zoo explain --model bert --text "the cat sat" --out tokens.png
zoo explain cat.png --model clip --text "a cat" --out both.png --layers -2 -1

The shares are those of attention rollout, read where the model reads its answer.
"""

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, model_arguments, model_options


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="for a ViT or a CLIP")
    parser.add_argument("--text", help="for a GPT-2, a BERT or a CLIP")
    parser.add_argument("--out", required=True, metavar="FILE", help="the PNG to write")
    model_arguments(parser)
    parser.add_argument(
        "--layers",
        type=int,
        nargs="+",
        metavar="N",
        help="numbers of blocks from 0, negative from the end; default: all",
    )
    parser.add_argument(
        "--head",
        choices=("mean", "max", "min"),
        default="mean",
        help="what heads become one by; default: mean",
    )
    parser.add_argument(
        "--token",
        type=int,
        metavar="N",
        help="the token, or of a picture alone the patch, to ask; default: what the answer reads",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="rows to print; default: 5")


def run(args: argparse.Namespace) -> None:
    if args.picture is None and args.text is None:
        raise UsageError("nothing to explain: give a picture, or --text")
    if args.top < 1:
        raise UsageError(f"--top {args.top}; expected 1 or more")
    out = Path(args.out)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise UsageError(f"--out {out}; expected a file that ends in .png")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    from zoo.tasks import Explainer
    from zoo.tasks.explain import stacked

    explainer = Explainer.from_folder(args.model, **model_options(args))
    options: dict[str, Any] = {"layers": args.layers, "head": args.head}
    drawn, found = [], []
    if args.picture is not None:
        asked = args.token if args.text is None else None
        seen = explainer.picture(args.picture, **options, token=asked)
        drawn.append(seen.draw())
        found.append(picture_record(args, seen))
    if args.text is not None:
        read = explainer.text(args.text, **options, token=args.token)
        drawn.append(read.draw(width=drawn[0].width) if drawn else read.draw())
        found.append(text_record(args, read))
    draft = Path(f"{out}.partial")
    stacked(drawn).save(draft, format="PNG")
    draft.replace(out)
    for record in found:
        emit(args, record, table(record))
    if len(found) == 2:
        cosine = explainer.match(args.picture, args.text)
        emit(args, {"kind": "match", "cosine": cosine}, f"cosine of both: {cosine:.4f}")


def picture_record(args: argparse.Namespace, seen: Any) -> dict[str, Any]:
    from zoo.tasks.explain import half

    count = seen.shares.numel()
    return {
        "kind": "picture",
        "picture": args.picture,
        "out": args.out,
        "grid": list(seen.shares.shape),
        "layers": list(seen.layers),
        "head": args.head,
        "half": half(seen.shares),
        "count": count,
        "top": [
            {"row": row, "column": column, "share": share, "even": share * count}
            for row, column, share in seen.top(args.top)
        ],
    }


def text_record(args: argparse.Namespace, read: Any) -> dict[str, Any]:
    from zoo.tasks.explain import half

    count = len(read.tokens)
    return {
        "kind": "text",
        "text": args.text,
        "out": args.out,
        "reader": read.reader,
        "layers": list(read.layers),
        "head": args.head,
        "half": half(read.shares),
        "count": count,
        "tokens": list(read.tokens),
        "shares": read.shares.tolist(),
        "top": [
            {"number": number, "token": token, "share": share, "even": share * count}
            for number, token, share in read.top(args.top)
        ],
    }


def table(record: dict[str, Any]) -> str:
    """Lay a record out for people."""
    what = "patches" if record["kind"] == "picture" else "tokens"
    layers = record["layers"]
    which = f"{len(layers)} layers" if len(layers) > 1 else f"layer {layers[0]}"
    head = (
        f"{record['out']}: {record['half']} of {record['count']} {what} hold half of all "
        f"({which}, {record['head']} of the heads)"
    )
    lines = [head, f"{'share':>7}  {'× even':>6}"]
    for row in record["top"]:
        where = (
            f"row {row['row']} column {row['column']}"
            if what == "patches"
            else f"{row['number']:>3} {row['token']}"
        )
        lines.append(f"{row['share']:7.1%}  {row['even']:6.2f}  {where}")
    return "\n".join(lines)

"""Find pictures for a text, texts for a picture, or say how well a CLIP finds either.

zoo match --model CLIP --images photos/ --text "cat face" --top 8 --sheet sheet.png
zoo match --model CLIP --image cat.png --texts "a cat" "a dog" "a cup of coffee"
zoo match --model CLIP --captions captions.csv

A captions file (.csv, .tsv or .jsonl) has the columns `file` and `caption`.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, model_arguments, model_options, progress, say, texts_of
from zoo.cli.pictures import (
    Skips,
    check_picture_arguments,
    draw_sheet,
    gather,
    picture_arguments,
    read_captions,
    stopped,
)

KS = (1, 5, 10)


def arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument(
        "--images", action="append", metavar="DIR", help="pictures to search, may be given again"
    )
    parser.add_argument("--text", help="what to find among --images")
    parser.add_argument("--image", metavar="FILE", help="a picture to find a text for")
    parser.add_argument(
        "--texts", nargs="*", default=[], metavar="TEXT", help="default: the lines of stdin"
    )
    parser.add_argument(
        "--captions",
        metavar="FILE",
        help="pictures and their captions: print recall in both directions; files are named from "
        "--images, by default from the folder that FILE is in",
    )
    parser.add_argument("--top", type=int, default=8, metavar="N", help="the best N; default: 8")
    picture_arguments(parser)


def run(args: argparse.Namespace) -> None:
    check_picture_arguments(args)
    if args.top < 1:
        raise UsageError(f"--top {args.top}; expected 1 or more")
    asked = {name for name in WAYS if getattr(args, name) is not None}
    if len(asked) != 1:
        raise UsageError(
            "give one of --text (with --images), --image (with --texts) and --captions"
        )
    (name,) = asked
    if name == "text" and args.images is None:
        raise UsageError("--text looks among --images: name a folder of pictures")
    if name == "image" and args.images is not None:
        raise UsageError("--image is compared with --texts; to search --images, give a --text")
    if name != "image" and args.texts:
        raise UsageError("--texts are compared with one --image; to search --images, give a --text")
    WAYS[name](args)


def opened(args: argparse.Namespace, texts: list[str]) -> Any:
    """Read the model, and say which texts are longer than it reads."""
    from zoo.tasks import Matcher

    matcher = Matcher.from_folder(args.model, **model_options(args))
    for index in matcher.too_long(texts):
        say(f"too long, its end is left out: {texts[index]!r}")
    return matcher


def over_pictures(args: argparse.Namespace, files: list[Path], act: Callable[..., Any]) -> Any:
    """Call with how pictures are read; name those that cannot be."""
    from zoo.images import ImageError

    skips = Skips(args, files)
    with progress(len(files), "reading pictures") as done:
        try:
            result = act(files, at_once=args.batch, unreadable=skips.hear, done=done)
        except ImageError as error:
            raise stopped(error) from None
    skips.conclude()
    return result


def find(args: argparse.Namespace) -> None:
    """Rank the pictures of folders for a text."""
    files, folders = gather(args.images)
    matcher = opened(args, [args.text])
    for line in folders:
        say(line)
    found = over_pictures(args, files, partial(matcher.find, args.text))[: args.top]
    show(args, "file", [str(files[match.index]) for match in found], found)
    shown = [
        (files[match.index], f"{match.probability:.1%}\n{files[match.index].name}")
        for match in found
    ]
    draw_sheet(args, shown, title=args.text)


def describe(args: argparse.Namespace) -> None:
    """Rank texts for a picture."""
    texts = texts_of(args.texts, "texts")
    found = opened(args, texts).describe(args.image, texts)[: args.top]
    names = [texts[match.index] for match in found]
    show(args, "text", names, found)
    best = f"{found[0].probability:.1%} {names[0]}"
    draw_sheet(args, [(Path(args.image), best)])


def show(args: argparse.Namespace, what: str, names: list[str], found: list[Any]) -> None:
    """Print a table of what was found, best first, or a record each."""
    if not args.json:
        print(f"{'rank':>4}  {'share':>6}  {'cosine':>7}  {what}")
    for rank, (name, match) in enumerate(zip(names, found, strict=True), 1):
        record = {
            "rank": rank,
            "probability": match.probability,
            "cosine": match.cosine,
            "index": match.index,
            what: name,
        }
        emit(args, record, f"{rank:>4}  {match.probability:6.1%}  {match.cosine:7.4f}  {name}")


def judge(args: argparse.Namespace) -> None:
    """Print how well texts find their pictures, and pictures their texts."""
    file = Path(args.captions)
    if args.images is not None and len(args.images) > 1:
        raise UsageError("--captions names files from one folder: give --images once")
    if args.sheet is not None:
        raise UsageError("--sheet draws what was found; --captions only counts")
    rows = read_captions(file, Path(args.images[0]) if args.images else file.parent)
    import torch

    files, texts = (list(dict.fromkeys(column)) for column in zip(*rows, strict=True))
    places = {file: i for i, file in enumerate(files)}, {text: j for j, text in enumerate(texts)}
    relevant = torch.zeros(len(files), len(texts), dtype=torch.bool)
    for picture, text in rows:
        relevant[places[0][picture], places[1][text]] = True
    matcher = opened(args, texts)
    counts = over_pictures(
        args, files, partial(matcher.recall, texts=texts, relevant=relevant, ks=KS)
    )
    if not args.json:
        print(f"{'':13}  " + "  ".join(f"{f'recall@{k}':>9}" for k in KS) + "  median rank")
    for direction, count in zip(("text to image", "image to text"), counts, strict=True):
        shares = "  ".join(f"{percent(count.recall.get(k)):>9}" for k in KS)
        among = f"{count.queries:,} among {count.gallery:,}"
        text = f"{direction}  {shares}  {count.median_rank:11.1f}  {among}"
        emit(args, {"direction": direction, **vars(count)}, text)


def percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


WAYS = {"text": find, "image": describe, "captions": judge}

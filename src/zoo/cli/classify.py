"""Say what is in pictures, or of which class texts are.

zoo classify --model VIT cat.png dog.jpg                      in the classes it was trained on
zoo classify --model BERT --text "You won!" --text "See you"  a BERT or GPT-2 that has classes
zoo classify --model CLIP --labels cat,dog,coffee photos/ --sheet sheet.png
zoo classify --model CLIP --labels cat,dog --template "a photo of a {}." --template "a {}." cat.png
"""

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, model_arguments, model_options, progress, say
from zoo.cli.pictures import (
    Skips,
    check_picture_arguments,
    draw_sheet,
    gather,
    picture_arguments,
    stopped,
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="files, or folders of them")
    parser.add_argument(
        "--text", action="append", metavar="TEXT", help="instead of pictures; again for more"
    )
    model_arguments(parser)
    parser.add_argument("--labels", metavar="A,B,...", help="for a CLIP: what to choose from")
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a sentence with {} for the label, may be given again; default: a photo of a {}.",
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes each; default: 5")
    picture_arguments(parser)


def run(args: argparse.Namespace) -> None:
    if args.text is not None:
        classify_texts(args)
        return
    if not args.pictures:
        raise UsageError("nothing to classify: give pictures, or --text TEXT")
    check_picture_arguments(args)
    if args.top < 1:
        raise UsageError(f"--top {args.top}; expected 1 or more")
    if args.template and args.labels is None:
        raise UsageError("--template goes with --labels: it says what a label is written in")
    files, folders = gather(args.pictures)
    found, skips = classified(args, files, folders)
    wide = max(len(str(file)) for file in files)
    for index, (file, labels) in enumerate(zip(files, found, strict=True)):
        if index in skips.why:
            record: dict[str, Any] = {"file": str(file), "unreadable": skips.why[index]}
            text = f"{file!s:<{wide}}  not readable"
        else:
            record = {"file": str(file), "labels": [vars(label) for label in labels]}
            text = table(str(file), labels, wide)
        emit(args, record, text)
    skips.conclude()
    shown = [
        (file, "\n".join(f"{label.probability:.1%} {label.name}" for label in labels[:2]))
        for file, labels in zip(files, found, strict=True)
        if labels
    ]
    draw_sheet(args, shown)


def classify_texts(args: argparse.Namespace) -> None:
    """Say of which class each text is."""
    if args.pictures or args.labels is not None or args.sheet is not None:
        raise UsageError("--text goes without pictures, --labels and --sheet")
    from zoo.tasks import TextClassifier

    classifier = TextClassifier.from_folder(args.model, **model_options(args))
    found = classifier.classify(args.text, top=args.top)
    shown = [text if len(text) <= 40 else text[:39] + "…" for text in args.text]
    wide = max(map(len, shown))
    for text, short, labels in zip(args.text, shown, found, strict=True):
        record = {"text": text, "labels": [vars(label) for label in labels]}
        emit(args, record, table(" ".join(short.split()), labels, wide))


def classified(
    args: argparse.Namespace, files: list[Path], folders: list[str]
) -> tuple[list[Any], Skips]:
    """Give each file's labels, and what was heard of files that cannot be read."""
    from zoo.images import ImageError
    from zoo.tasks import ImageClassifier, Matcher
    from zoo.tasks.match import TEMPLATES, sentences

    options: dict[str, Any] = {"top": args.top, "at_once": args.batch}
    skips = Skips(args, files)
    if args.labels is None:
        classifier: Any = ImageClassifier.from_folder(args.model, **model_options(args))
    else:
        labels = [label.strip() for label in args.labels.split(",")]
        options |= {"labels": labels, "templates": args.template or TEMPLATES}
        written = sentences(labels, options["templates"])
        classifier = Matcher.from_folder(args.model, **model_options(args))
        for index in classifier.too_long(written):
            say(f"too long, its end is left out: {written[index]!r}")
    for line in folders:
        say(line)
    with progress(len(files), "classifying") as done:
        try:
            found = classifier.classify(files, unreadable=skips.hear, done=done, **options)
        except ImageError as error:
            raise stopped(error) from None
    return found, skips


def table(file: str, labels: list[Any], wide: int) -> str:
    """Lay the labels of a file under each other, the file before the first."""
    names = [file, *[""] * (len(labels) - 1)]
    return "\n".join(
        f"{name:<{wide}}  {label.probability:6.1%}  {label.name}"
        for name, label in zip(names, labels, strict=True)
    )

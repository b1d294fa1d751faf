"""The tour with the golden checkpoints: four families that have learnt, asked for what they know.

Each is a folder of golden/ that a recipe made; what they are shown here, they have never seen.
"""

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL.PngImagePlugin import PngInfo

from zoo.checkpoint.packaged import HOMES
from zoo.cli import UsageError
from zoo.cli.common import emit
from zoo.cli.tour_text import quoted
from zoo.cli.tour_vision import FOUND, SENT, digits_sheet, drawings_sheet, emptied, found_line
from zoo.evaluate import recall_at
from zoo.evaluate.sheets import picture, sheets_of
from zoo.tasks import FillMask, Generator, ImageClassifier, Matcher, TextClassifier

BLANKS = (
    "the president of the united [MASK] spoke first.",
    "we must reduce the public [MASK] and balance the budget.",
    "the senate and the house of [MASK] met on monday.",
)
MAILS = (
    "Re: build fails\n\nThe patch is in CVS now. Can you try the new kernel module and tell me "
    "whether the tests pass? Thanks, Anna",
    "You have been selected!\n\nClick here to claim your FREE prize. 100% money back guarantee, "
    "act now, this offer expires today. To be removed from our list click below.",
    "Lunch on Friday\n\nAre you still coming to town this week? We could meet at the station at "
    "noon. Bring the photos!",
)
PROMPT = "Fellow citizens of the Senate"
TOKENS = 90
SCANS = 200
QUERIES = ("love letter", "yellow circle", "robot", "snowman", "airplane arrival", "telescope")
LICENSE = "All emojis designed by OpenMoji, the open-source emoji and icon project. CC BY-SA 4.0"


class Scans(NamedTuple):
    """Pictures of digits, and which digit each is."""

    pictures: list[Any]
    labels: list[int]


def home() -> Path:
    """Give the folder of the golden sets; raise UsageError where there is none."""
    for place in HOMES:
        if place.is_dir():
            return place
    raise UsageError("the golden sets are not here: clone the repository, or `zoo tour --learn`")


def rows_of(name: str, task: str) -> list[dict[str, Any]]:
    """Give the rows of a set with one task whose answers are known; their schema is not asked."""
    lines = (home() / name / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["task"] == task and row.get("test", "mft") == "mft"]


def pictures_of(name: str, rows: Sequence[dict[str, Any]]) -> list[Any]:
    folder = home() / name
    sheets = sheets_of(folder)
    return [picture(row["image"], folder, sheets) for row in rows]


def fill(args: argparse.Namespace) -> None:
    """Let a BERT fill in words."""
    filler = FillMask.from_folder("bert-english")
    if not args.json:
        print("2. A BERT fills in, which learnt from two centuries of speeches (bert-english)\n")
    for text in BLANKS:
        guesses = [(g.token.strip(), g.probability) for g in filler.fill(text, top=4)[0]]
        told = ", ".join(f"{word} {share:.0%}" for word, share in guesses)
        record = {"part": "fill", "text": text, "guesses": [w for w, _ in guesses]}
        emit(args, record, f"   {text}\n     {told}\n")


def sort_mails(args: argparse.Namespace) -> None:
    """Let a BERT tell spam from ham."""
    classifier = TextClassifier.from_folder("bert-spam")
    if not args.json:
        print("   Another sorts mails (bert-spam)\n")
    for text, (best, *_) in zip(MAILS, classifier.classify(MAILS), strict=True):
        subject = text.partition("\n")[0]
        record = {"part": "mail", "subject": subject, "label": best.name, "share": best.probability}
        emit(args, record, f"     {best.name:5} {best.probability:4.0%}  {subject}")


def write(args: argparse.Namespace) -> None:
    """Let a GPT-2 write."""
    generator = Generator.from_folder("gpt2-english")
    (answer,) = generator.generate(
        [PROMPT], temperature=0.7, top_p=0.9, seed=args.seed, max_new_tokens=TOKENS
    )
    text = (
        "\n3. A GPT-2 writes, which learnt from the same speeches (gpt2-english)\n\n"
        f"{quoted(f'{PROMPT}{answer.text}')}\n"
    )
    emit(args, {"part": "write", "prompt": PROMPT, "text": answer.text}, text)


def read_digits(args: argparse.Namespace) -> None:
    """Let a ViT read scans of digits; write a sheet of them, and some as files."""
    known = [row for row in rows_of("scans", "label") if "plain" in row["segments"]]
    rows = random.Random(args.seed).sample(known, SCANS)
    pictures = [image.convert("L") for image in pictures_of("scans", rows)]
    scans = Scans(pictures, [int(row["label"]) for row in rows])
    read = [best for (best,) in ImageClassifier.from_folder("vit-mnist").classify(pictures, top=1)]
    right = sum(best.name == str(n) for best, n in zip(read, scans.labels, strict=True))
    out = Path(args.out)
    folder = emptied(out / "scans", "??-is-?.png")
    for number in range(SENT):
        pictures[number].save(folder / f"{number:02}-is-{scans.labels[number]}.png")
    sheet = out / "digits.png"
    digits_sheet(scans, read).save(sheet)
    text = (
        f"4. A ViT reads {SCANS} scans that it has not seen (vit-mnist): right on "
        f"{right / SCANS:.1%}.\n"
    )
    emit(args, {"part": "digits", "accuracy": right / SCANS, "held_out": SCANS}, text)
    emit(args, {"part": "picture", "file": str(sheet)}, f"   {sheet} shows some of them.\n")


def find_drawings(args: argparse.Namespace) -> None:
    """Let a CLIP find drawings for words; write a sheet of them, and all as files."""
    rows = [row for row in rows_of("drawings", "retrieve") if row["group"] == "unseen"]
    pictures = pictures_of("drawings", rows)
    names = [str(row["caption"]) for row in rows]
    matcher = Matcher.from_folder("clip-openmoji")
    vectors = matcher.encode_images(pictures, at_once=64)
    similarity = matcher.encode_texts(names) @ vectors.T
    recall = {k: recall_at(similarity, k) for k in (1, 5)}
    text = (
        "5. A CLIP finds drawings for words (clip-openmoji)\n\n"
        f"   Asked for each of {len(names)} drawings that it has not seen, it has the right one "
        f"first for {recall[1]:.0%},\n   among its first five for {recall[5]:.0%}.\n"
    )
    emit(args, {"part": "emoji", "recall_at_5": recall[5], "held_out": len(names)}, text)
    found = {query: matcher.find(query, vectors)[:FOUND] for query in QUERIES}
    for query, matches in found.items():
        best = [{"name": names[m.index], "cosine": m.cosine} for m in matches]
        emit(args, {"part": "find", "query": query, "found": best}, found_line(query, best))
    out = Path(args.out)
    credit = PngInfo()
    credit.add_text("Copyright", LICENSE)
    folder = emptied(out / "emoji", "*.png")
    for number, (image, name) in enumerate(zip(pictures, names, strict=True)):
        image.save(folder / file_of(number, name), pnginfo=credit)
    (folder / "LICENSE.txt").write_text(LICENSE + "\n", encoding="utf-8")
    sheet = out / "emoji.png"
    cells = {query: [m.index for m in matches] for query, matches in found.items()}
    drawings_sheet(cells, pictures, names, LICENSE).save(sheet, pnginfo=credit)
    emit(args, {"part": "picture", "file": str(sheet)}, f"\n   {sheet} shows them.\n   {LICENSE}\n")


def file_of(number: int, name: str) -> str:
    """Make a file's name of a caption: its words, and a number that keeps it apart."""
    words = "".join(c if c.isalnum() else " " for c in name.lower()).split()
    return f"{'-'.join(words)}-{number:03}.png"

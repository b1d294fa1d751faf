"""The tour's last two lessons: a ViT learns to read digits, a CLIP what drawings are called.

Both start from nothing, show what they do with pictures that they have not seen, and are saved as
folders for the other verbs, with some of those pictures.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageOps
from PIL.PngImagePlugin import PngInfo

from zoo.cli import lesson_digits, lesson_emoji
from zoo.cli.common import emit
from zoo.cli.tour_progress import told
from zoo.data import sources_emoji
from zoo.evaluate import median_rank, recall_at
from zoo.images import contact_sheet
from zoo.images.lettering import font_of, line_height, wrapped
from zoo.models import write_probe
from zoo.tasks import ImageClassifier, Matcher
from zoo.tasks.pictures import Label

WHOLE = 60.0  # seconds of the GPT-2's lesson for which the others take all their steps
PATIENCE = {"digits": 1.0, "emoji": 2.5}  # the longest they take, in seconds of that lesson
SHOWN, COLUMNS = 40, 10  # digits on the sheet
SENT = 20  # digits that are written as files
QUERIES = ("cat face", "red heart", "a smiling face", "a green heart", "a person", "a vehicle")
MISTAKE = ((122, 0, 18), (255, 228, 224))  # ink and paper of a misread digit
FOUND = 6  # drawings a query on the sheet
CARD = (35, 57, 93)  # the colour of a query's card


def steps_of(whole: int, seconds: float) -> int:
    """Give how many of a whole lesson's steps are taken when the GPT-2 learns for `seconds`."""
    return math.ceil(whole * min(1.0, seconds / WHOLE))


def read_digits(args: argparse.Namespace) -> None:
    """Train the ViT, show what it reads before and after, and save it."""
    learnt, held_out = lesson_digits.read_scans(args.seed)
    model = lesson_digits.enrol(args.seed)
    reader = ImageClassifier(model.eval(), lesson_digits.PROCESSOR)
    if not args.json:
        print(
            f"2. A ViT learns to read digits ({model.parameter_count() / 1e6:.1f} million "
            f"parameters)\n\n   from {len(learnt.labels):,} scans of real handwriting."
        )
    judge_digits(args, "before", reader, held_out, 0, 0.0)
    steps, start = 0, time.monotonic()
    limit = PATIENCE["digits"] * args.seconds
    with told(limit, "of at most") as tell:
        for share, step in lesson_digits.lessons(
            model,
            learnt,
            seconds=limit,
            steps=steps_of(lesson_digits.STEPS, args.seconds),
            seed=args.seed,
        ):
            tell(share, step.number, step.loss)
            steps = step.number + 1
    read = judge_digits(args, "after", reader, held_out, steps, time.monotonic() - start)
    out = Path(args.out)
    model.save_pretrained(out / "vit")
    lesson_digits.PROCESSOR.save(out / "vit")
    write_probe(out / "vit")
    folder = emptied(out / "scans", "??-is-?.png")
    for number in range(SENT):
        held_out.pictures[number].save(folder / f"{number:02}-is-{held_out.labels[number]}.png")
    digits_sheet(held_out, read).save(out / "digits.png")
    sheet = out / "digits.png"
    emit(args, {"part": "picture", "file": str(sheet)}, f"   {sheet} shows some of them.\n")


def emptied(folder: Path, *names: str) -> Path:
    """Make a folder; take out of it what another seed may have left there, which was learnt now."""
    folder.mkdir(exist_ok=True)
    for name in names:
        for file in folder.glob(name):
            file.unlink()
    return folder


def judge_digits(
    args: argparse.Namespace,
    when: str,
    reader: ImageClassifier,
    scans: lesson_digits.Scans,
    steps: int,
    seconds: float,
) -> list[Label]:
    """Say how many unseen scans the model reads right; give what it reads in each."""
    read = [best for (best,) in reader.classify(scans.pictures, top=1)]
    right = sum(best.name == str(int(n)) for best, n in zip(read, scans.labels, strict=True))
    share = right / len(read)
    record = {"part": "digits", "when": when, "steps": steps, "seconds": round(seconds, 1)}
    text = (
        f"\n   {when.capitalize()} ({taken(steps, seconds)}): right on {share:.1%} of "
        f"{len(read)} scans that it has not seen."
    )
    emit(args, record | {"accuracy": share, "held_out": len(read)}, text)
    return read


def taken(steps: int, seconds: float) -> str:
    return f"{steps} steps, {seconds:.0f} s" if steps else "0 steps"


def digits_sheet(scans: Any, read: Sequence[Label]) -> Image.Image:
    """Show unseen scans with what was read in them, the misread ones first."""
    true = [str(int(n)) for n in scans.labels]
    misread = [i for i in range(len(true)) if read[i].name != true[i]]
    right = [i for i in range(len(true)) if read[i].name == true[i]]
    order = (misread[: SHOWN // 2] + right)[:SHOWN]
    captions = [
        read[i].name if read[i].name == true[i] else f"{read[i].name}, but is {true[i]}"
        for i in order
    ]
    title = (
        f"What the ViT reads in scans that it has not seen: {len(right)} of {len(true)} right, "
        f"{'its mistakes first' if misread else 'no mistake'}"
    )
    pictures = [
        scans.pictures[i] if i in right else ImageOps.colorize(scans.pictures[i], *MISTAKE)
        for i in order
    ]
    return contact_sheet(pictures, captions, columns=COLUMNS, title=title, cell=112)


def find_drawings(args: argparse.Namespace) -> None:
    """Train the CLIP, show what it finds before and after, and save it."""
    learnt, held_out = sources_emoji.split(sources_emoji.read_emoji(), args.seed)
    model, tokenizer = lesson_emoji.enrol(learnt, seed=args.seed)
    matcher = Matcher(model.eval(), lesson_emoji.PROCESSOR, tokenizer)
    pictures = [sources_emoji.picture(e.code) for e in held_out]
    names = [e.name for e in held_out]
    if not args.json:
        print(
            f"3. A CLIP learns what drawings are called ({model.parameter_count() / 1e6:.1f} "
            f"million parameters)\n\n   from {len(learnt):,} emoji and their names."
        )
    judge_drawings(args, "before", matcher, pictures, names, 0, 0.0)
    steps, start = 0, time.monotonic()
    limit = PATIENCE["emoji"] * args.seconds
    with told(limit, "of at most") as tell:
        for share, step in lesson_emoji.lessons(
            model,
            tokenizer,
            learnt,
            seconds=limit,
            steps=steps_of(lesson_emoji.STEPS, args.seconds),
            seed=args.seed,
        ):
            tell(share, step.number, step.loss)
            steps = step.number + 1
    rows = judge_drawings(args, "after", matcher, pictures, names, steps, time.monotonic() - start)
    out = Path(args.out)
    model.save_pretrained(out / "clip")
    lesson_emoji.PROCESSOR.save(out / "clip")
    tokenizer.save(out / "clip")
    write_probe(out / "clip")
    folder = emptied(out / "emoji", *(e.file for e in learnt))
    for e, picture in zip(held_out, pictures, strict=True):
        picture.save(folder / e.file, pnginfo=credit())
    (folder / "LICENSE.txt").write_text(sources_emoji.attribution() + "\n", encoding="utf-8")
    found = {query: matcher.find(query, rows)[:FOUND] for query in QUERIES}
    for query, matches in found.items():
        best = [{"name": names[m.index], "cosine": m.cosine} for m in matches]
        emit(args, {"part": "find", "query": query, "found": best}, found_line(query, best))
    sheet = out / "emoji.png"
    cells = {query: [m.index for m in matches] for query, matches in found.items()}
    drawings_sheet(cells, pictures, names, sources_emoji.attribution()).save(
        sheet, pnginfo=credit()
    )
    text = f"\n   {sheet} shows them.\n   {sources_emoji.attribution()}\n"
    emit(args, {"part": "picture", "file": str(sheet)}, text)


def found_line(query: str, best: Sequence[Mapping[str, Any]], width: int = 96) -> str:
    """Name the best of what was found, four of them or as many as fit on a line."""
    text = f"   {query + ':':16} {best[0]['name']}"
    for found in best[1:4]:
        more = f"{text}, {found['name']}"
        if len(more) > width:
            break
        text = more
    return text


def judge_drawings(
    args: argparse.Namespace,
    when: str,
    matcher: Matcher,
    pictures: Sequence[Image.Image],
    names: Sequence[str],
    steps: int,
    seconds: float,
) -> Any:
    """Say how well the model finds unseen drawings by their names; give the drawings' vectors."""
    rows = matcher.encode_images(pictures, at_once=64)
    similarity = matcher.encode_texts(names) @ rows.T
    recall = {k: recall_at(similarity, k) for k in (1, 5, 10)}
    middle = median_rank(similarity)
    record = {"part": "emoji", "when": when, "steps": steps, "seconds": round(seconds, 1)}
    record |= {f"recall_at_{k}": value for k, value in recall.items()}
    text = (
        f"\n   {when.capitalize()} ({taken(steps, seconds)}): asked for each of {len(names)} "
        f"drawings that it has not seen, it has\n   the right one first for {recall[1]:.0%}, among "
        f"its first five for {recall[5]:.0%}, among ten for {recall[10]:.0%}.\n"
    )
    emit(args, record | {"median_rank": middle, "held_out": len(names)}, text)
    return rows


def drawings_sheet(
    found: dict[str, list[int]],
    pictures: Sequence[Image.Image],
    names: Sequence[str],
    attribution: str,
) -> Image.Image:
    """Show a row for each query: a card with its words, and the drawings found."""
    images, captions = [], []
    for query, indices in found.items():
        images += [card(query), *(pictures[i] for i in indices)]
        captions += ["", *(names[i] for i in indices)]
    title = f"What the CLIP finds among {len(names)} drawings that it has not seen"
    columns = 1 + max(map(len, found.values()))
    sheet = contact_sheet(images, captions, columns=columns, title=title, cell=132)
    return signed(sheet, attribution)


def credit() -> PngInfo:
    """Say inside a file whose drawings it shows."""
    info = PngInfo()
    info.add_text("Copyright", sources_emoji.attribution())
    return info


def card(text: str, side: int = 132) -> Image.Image:
    """Write words in the middle of a square."""
    square = Image.new("RGB", (side, side), CARD)
    draw, font = ImageDraw.Draw(square), font_of(22)
    lines = wrapped(text, font, side - 24, 4)
    top = (side - len(lines) * line_height(font)) / 2
    for number, line in enumerate(lines):
        place = ((side - font.getlength(line)) / 2, top + number * line_height(font))
        draw.text(place, line, "white", font)
    return square


def signed(sheet: Image.Image, words: str) -> Image.Image:
    """Write whose drawings these are below a sheet."""
    font, margin = font_of(13), 16
    lines = wrapped(words, font, sheet.width - 2 * margin, 2)
    height = len(lines) * line_height(font) + margin
    result = Image.new("RGB", (sheet.width, sheet.height + height), "white")
    result.paste(sheet, (0, 0))
    draw = ImageDraw.Draw(result)
    for number, line in enumerate(lines):
        place = (margin, sheet.height + number * line_height(font))
        draw.text(place, line, (110, 110, 116), font)
    return result

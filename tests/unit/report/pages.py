"""A page with a figure of every kind, and text that would do harm if it were run."""

from zoo.report.page import (
    Answered,
    Bar,
    Bars,
    Bin,
    Change,
    Confusion,
    Estimate,
    Figure,
    Licence,
    Page,
    Part,
    Picture,
    Reading,
    Score,
    Search,
    Tile,
    Token,
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
DOT = Picture(
    uri="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==",
    alt=HOSTILE,
    width=1,
    height=1,
)
HALF = Estimate(value=0.5, low=0.25, high=0.75)
SCORE = Score(
    name="accuracy",
    estimate=HALF,
    rows=4,
    bound="at least 40 %",
    history=(("version 1", 0.25), ("version 2", 0.5)),
)
BARE = Score(name="bits_per_byte", estimate=Estimate(value=1.5), share=False)
FOUND = (("one", "0.9", True), (HOSTILE, "0.1", False))
TILES = (Tile(picture=DOT, lines=(HOSTILE, "sure"), mark="no"),)
DATA = {
    "scores": (SCORE, BARE),
    "bars": Bars(
        what="slice",
        bars=(Bar(label=HOSTILE, estimate=HALF, rows=4, floor=0.4),) * 2,
        most=1,
    ),
    "reliability": (Bin(confidence=0.5, right=HALF, rows=4),),
    "confusion": Confusion(labels=("ham", HOSTILE), counts=((2, 0), (1, 1))),
    "changes": tuple(
        Change(id=HOSTILE, kind=kind, asked=HOSTILE, before=HOSTILE, now=HOSTILE)
        for kind in ("broke", "mended", "answer", "moved")
    ),
    "tiles": TILES,
    "heats": TILES,
    "searches": (
        Search(asked=HOSTILE, tiles=TILES, note=HOSTILE),
        Search(asked=HOSTILE, texts=FOUND),
        Search(asked=HOSTILE, picture=DOT, texts=FOUND, note=HOSTILE),
    ),
    "answers": tuple(
        Answered(id="a", text=HOSTILE, truth="ham", answer=HOSTILE, sure="9 %", right=right)
        for right in (True, False)
    ),
    "texts": ((HOSTILE, HOSTILE, HOSTILE),),
    "readings": (Reading(tokens=(Token(text=HOSTILE, heat=1.0, share=0.5),), note=HOSTILE),),
}


def figure(kind, data):
    return Figure(
        id=f"set-{kind}", title=HOSTILE, says=HOSTILE, kind=kind, data=data, command=HOSTILE
    )


def part(name="vit-tiny", verdict="ok", figures=None):
    made = [figure(kind, data) for kind, data in DATA.items()] if figures is None else figures
    return Part(
        name=name,
        what=HOSTILE,
        story=HOSTILE,
        facts=((HOSTILE, HOSTILE),),
        parameters=1234567,
        size=2_500_000,
        main=(SCORE, BARE),
        rows=4,
        accepted="version 2",
        verdict=verdict,
        sentences=(HOSTILE,),
        figures=tuple(made),
    )


def page(*parts, **changes):
    settings = {
        "missing": (HOSTILE,),
        "made": HOSTILE,
        "versions": (("zoo", HOSTILE),),
        "machine": (("machine", HOSTILE),),
        "licences": (Licence(what=HOSTILE, text=HOSTILE),),
    }
    return Page(parts=parts or (part(),), **settings | changes)

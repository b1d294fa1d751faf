"""Rows of which a check has something to say, each scene for one of them."""

from unit.data.seen import kept, labelled, rows_of, scene, words
from zoo.data.check import inspect, statistics

TEXTS = [words(30, seed) for seed in range(60)]
AB = ["a", "b"]


def times(_folder):
    whens = ["2024-03-02", "2024-03-05", None, "2024-03-04", "2024-03-07", "2024-03-03", " "]
    return inspect(labelled("tttvtet", TEXTS[:7], when=whens), time="when")


def entities(_folder):
    names = ["bob", "ann", "ann ", "bob", None, "ann", "eve", "ann"]
    return inspect(labelled("ttvettev", TEXTS[:8], author=names), entity="author")


def lengths(_folder):
    texts = ["see you", "", "all is well", "x" * 100_001, " ", "y" * 100_002]
    return inspect(labelled("t" * 6, texts, list("abcabc")))


def encodings(_folder):
    texts = [
        f"{TEXTS[0]} a cafÃ© and more {TEXTS[1]}",
        "plain",
        f"lost \ufffd and {TEXTS[2]}",
        "a\x00b\x1b",
        "Ã©tÃ© \ufffd",
    ]
    return inspect(labelled("t" * 5, texts, list("ababa")))


def labels(_folder):
    named = ["spam", "Ham", None, "ham", "HAM", "spam"]
    return inspect(
        rows_of("labelled_text", "tttttt", ("eggs", "Eggs"), text=TEXTS[:6], label=named)
    )


def splits(_folder):
    train = ["a"] * 20 + ["b"] * 14 + ["c"] * 6
    held = [*"adefghi", *"aaaaaaaaaaaaa", "b", "b", "b"]
    text = TEXTS + [words(30, 100 + seed) for seed in range(3)]
    rows = rows_of("labelled_text", "t" * 40 + "v" * 20 + "eee", text=text, label=train + held)
    return inspect(rows)


def one_label(_folder):
    return inspect(rows_of("labelled_text", "ttvve", text=TEXTS[:5], label=list("aaaaa")))


def pictures(folder):
    paths = kept(folder, [scene(1), scene(2).point(lambda _: 7), scene(3).point(lambda _: 9)])
    (folder / "none.png").write_text("x")
    return inspect(rows_of("images", "tttt", image=[*paths, str(folder / "none.png")]))


def schema(_folder):
    then = statistics(
        labelled("tt", TEXTS[:2], score=[1, 2], rate=[0.5, 2.5], gone=["x", "y"], mode=["p", "q"])
    )
    now = {"points": [1.0, 2.5], "rate": ["low", "high"], "extra": [1, 2], "mode_": ["p", "q"]}
    now["score"] = [1.5, 2.5]
    return inspect(labelled("tt", TEXTS[2:4], **now), reference=then)


def gaps(_folder):
    then = statistics(labelled("t" * 60, TEXTS, list("ab") * 30, note=["x", "y"] * 30))
    now = labelled("t" * 60, TEXTS, list("ab") * 30, note=["x", None] * 20 + ["y", None] * 10)
    return inspect(now, reference=then)


def constants(_folder):
    more = {"one": ["x"] * 20, "none": [None] * 20, "seven": [7] * 20, "gap": [None] + [1] * 19}
    return inspect(labelled("t" * 20, TEXTS[:20], **more))


def balance(_folder):
    then = statistics(labelled("t" * 60, TEXTS, list("aab") * 20))
    return inspect(labelled("t" * 60, TEXTS, list("abbbbc") * 10), reference=then)


def features(_folder):
    then = statistics(labelled("t" * 60, [words(20, k) for k in range(60)], list("ab") * 30))
    now = labelled("t" * 60, [words(30 + k % 3, k) for k in range(60)], list("ab") * 30)
    return inspect(now, reference=then)


def moved_words(_folder):
    then = [words(10 + k % 2, k, of=40) + (" whale" if k % 4 else "") for k in range(120)]
    now = [words(10 + k % 2, 200 + k, of=40) + (" squid" if k % 3 else "") for k in range(120)]
    record = statistics(labelled("t" * 120, then, list("ab") * 60))
    return inspect(labelled("t" * 120, now, list("ab") * 60), reference=record)


def doubles(_folder):
    near = TEXTS[3] + " and"
    texts = [TEXTS[0], TEXTS[0], TEXTS[1], TEXTS[1].upper(), TEXTS[3], near, TEXTS[4], TEXTS[4]]
    return inspect(labelled("tvttttte", texts, list("aababbab")))


SCENES = {
    name: make
    for name, make in globals().items()
    if callable(make) and getattr(make, "__module__", None) == __name__
}

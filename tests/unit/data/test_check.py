"""The table of checks: each has rows that it passes and rows that it must stop, and a report."""

import json

import pytest
from PIL import Image

from unit.data.seen import found, kept, rows_of, scene, words
from zoo.data import DataError
from zoo.data.check import CHECKS, Finding, Report, inspect, read_reference, statistics

N = 60
TEXTS = [words(30, seed, of=60) for seed in range(N)]
SPLITS = "ttttve" * 10


def sound(**change):
    """Give the sound rows with some columns changed, or left out when None."""
    columns = {
        "text": list(TEXTS),
        "label": [("ham", "spam")[(k + k // 6) % 2] for k in range(N)],
        "size": list(range(N)),
        "author": list(range(N)),
        "when": [{"t": 1, "v": 2, "e": 3}[s] for s in SPLITS],
    }
    return rows_of("labelled_text", SPLITS, **{k: v for k, v in (columns | change).items() if v})


LONGER = [f"{text} {' '.join(text.split()[:25])}" for text in TEXTS]


def with_first(value, column="text"):
    return {column: [value, *list(sound().frame[column])[1:]]}


# check -> columns that it must stop, and what it must say
STOPPED = {
    "lengths": (with_first(""), "1 row (1.7%) with an empty text"),
    "encodings": (with_first(TEXTS[0] + " cafÃ©"), "UTF-8 was read as Latin-1"),
    "duplicates": (with_first(TEXTS[4]), "10.0% of valid is not new"),
    "near duplicates": (with_first(f"{TEXTS[4]} more"), "10.0% of valid is not new"),
    "labels": (with_first("Ham", "label"), "'Ham' and 'ham' are one label"),
    "splits": ({"label": ["ham", "spam"] * 29 + ["ham", "lure"]}, "that train never shows"),
    "constants": ({"more": [7] * N}, "column 'more' is 7.0 in all 60 rows"),
    "entities": ({"author": [4, *range(1, N)]}, "1 of 59 values of 'author' stand in more"),
    "times": (with_first(2.5, "when"), "1 row of train (2.5%) are later"),
    "schema": ({"size": None}, "column 'size' (whole number) is gone"),
    "gaps": ({"when": [None] * 40 + [3] * 20}, "lacks 66.7% of its cells"),
    "balance": ({"label": ["ham"] * 50 + ["spam"] * 10}, "labels are shared out otherwise"),
    "features": ({"text": LONGER}, "letters moved"),
    "words": ({"text": [f"{text} anew" for text in TEXTS]}, "1 word moved"),
}
GIVEN = {"entity": "author", "time": "when"}


def test_sound_rows_pass_every_check():
    report = inspect(sound(), reference=statistics(sound()), **GIVEN)
    assert report.findings == () and report.passed
    assert report.checks == tuple(CHECKS)


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "pictures"])
def test_each_check_stops_what_it_is_for(check):
    change, sentence = STOPPED[check]
    report = inspect(sound(**change), reference=statistics(sound()), **GIVEN)
    assert any(sentence in finding.text for finding in found(report, check))


def test_a_picture_that_cannot_be_read_is_an_error(tmp_path):
    paths = kept(tmp_path, [scene(1), scene(2), Image.new("RGB", (9, 9), "red")])
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    report = inspect(rows_of("images", "ttt", image=paths))
    told = [(f.level, f.rows) for f in found(report, "pictures")]
    assert told == [("error", ("r0",)), ("warning", ("r2",))]
    assert "0.png" in report.findings[0].examples[0]
    assert statistics(rows_of("images", "ttt", image=paths))["features"]["width"]["count"] == 2


def test_a_check_runs_only_with_what_it_needs():
    needs = {name for name, check in CHECKS.items() if check.needs}
    assert needs == {"entities", "times", "schema", "gaps", "balance", "features", "words"}
    assert set(inspect(sound()).checks) == set(CHECKS) - needs
    assert all(check.asks.endswith("?") for check in CHECKS.values())


KINDS = {
    "text": {"text": TEXTS[:2]},
    "labelled_text": {"text": TEXTS[:2], "pair": [None, TEXTS[3]], "label": ["a", "b"]},
    "tagged_text": {"tokens": [["a"], ["b", "c"]], "tags": [["X"], ["Y", "X"]]},
    "answers": {"question": ["why", "who"], "context": TEXTS[:2], "answer": ["w", "w"],
                "start": [0, 0]},
    "labelled_images": {"image": 2, "label": ["a", "b"]},
    "images": {"image": 2},
    "pairs": {"image": 2, "caption": ["a", "b"]},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_looked_at_and_recorded(tmp_path, kind):
    columns = dict(KINDS[kind])
    if "image" in columns:
        columns["image"] = kept(tmp_path, [scene(1), scene(2)])
    rows = rows_of(kind, "tt", **columns)
    reference = json.loads(json.dumps(statistics(rows)))
    assert inspect(rows, reference=reference).findings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_without_rows_is_looked_at(kind):
    columns = dict(KINDS[kind])
    columns = {name: [] for name in columns}
    rows = rows_of(kind, "", **columns)
    assert inspect(rows, reference=statistics(rows)).passed


def test_a_report_has_the_worst_first_and_says_it_in_words():
    findings = (
        Finding("note", "one", "worth knowing"),
        Finding("error", "two", "wrong", ("r1",), {"n": 1}, ("a", "b", "c", "d", "e")),
        Finding("warning", "three", "look"),
    )
    facts = {"kind": "text", "rows": 1200, "splits": {"train": 1200}, "version": "sha256:0"}
    report = Report(facts, findings, ("one", "two", "three"))
    assert not report.passed
    assert report.text().splitlines() == [
        "1,200 rows of text (train 1,200)",
        "error    two: wrong",
        "         a",
        "         b",
        "         c",
        "         and 2 more (--json names them)",
        "warning  three: look",
        "note     one: worth knowing",
        "not sound: 1 error, 1 warning, 1 note from 3 checks",
    ]
    assert json.loads(json.dumps(report.as_dict()))["findings"][0] == {
        "level": "error",
        "check": "two",
        "text": "wrong",
        "rows": ["r1"],
        "numbers": {"n": 1},
        "examples": ["a", "b", "c", "d", "e"],
    }


def test_warnings_alone_pass():
    report = Report({}, (Finding("warning", "one", "look"),), ("one",))
    assert report.passed


def test_a_report_of_everything_is_json():
    change = {name: of for columns, _ in STOPPED.values() for name, of in columns.items() if of}
    report = inspect(sound(**change), reference=statistics(sound()), **GIVEN)
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False)) == report.as_dict()
    assert len(report.findings) > 6


def test_the_same_rows_have_the_same_report():
    change = {"text": [TEXTS[k // 3] for k in range(N)]}
    first, second = (inspect(sound(**change)).as_dict() for _ in range(2))
    assert first == second and not first["passed"]


def test_a_reference_of_another_kind_is_refused():
    reference = statistics(rows_of("text", "t", text=["one"]))
    with pytest.raises(DataError, match="is of kind 'text' and these rows of 'labelled_text'"):
        inspect(sound(), reference=reference)


def good():
    return json.loads(json.dumps(statistics(sound())))


BAD = [
    ("not JSON", b'{"format": ', "is not JSON"),
    ("not text", b"\xff\xfe\x00", "is not JSON"),
    ("a list", [1], r"no record of statistics: its format is \[1\]"),
    ("nothing", None, "no record of statistics: its format is None"),
    ("another format", {"format": "zoo rows 1"}, "its format is 'zoo rows 1'"),
    ("a run without a record", {"format": "zoo run 1", "data": {}}, "recorded no statistics"),
    ("a run without data", {"format": "zoo run 1", "data": 3}, "recorded no statistics"),
    ("without rows", good() | {"rows": None}, "damaged at 'rows': None"),
    ("without a kind", good() | {"kind": 3}, "damaged at 'kind'"),
    ("columns without types", good() | {"columns": {"a": {}}}, "damaged at 'columns'"),
    ("labels that are no counts", good() | {"labels": {"rows": 1, "more": 0, "counts": {"a": "b"}}},
     "damaged at 'labels'"),
    ("points that are no triples",
     good() | {"features": {"letters": {"count": 1, "points": [[1, 2]]}}},
     "damaged at 'features'"),
    ("words that are no list", good() | {"words": {"texts": 1, "tokens": 1, "list": {}}},
     "damaged at 'words'"),
    ("words without counts", good() | {"words": {"texts": 1, "tokens": 1, "list": [["a", 1, "b"]]}},
     "damaged at 'words'"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "message"), [r[1:] for r in BAD], ids=[r[0] for r in BAD])
def test_a_bad_reference_is_one_clear_error(tmp_path, record, message):
    file = tmp_path / "reference.json"
    file.write_bytes(record if isinstance(record, bytes) else json.dumps(record).encode())
    with pytest.raises(DataError, match=message) as caught:
        read_reference(file)
    assert "reference.json" in str(caught.value) and "--record" in str(caught.value)


def test_a_reference_is_read_from_its_file_a_run_and_a_runs_folder(tmp_path):
    record = good()
    (tmp_path / "record.json").write_text(json.dumps(record))
    run = {"format": "zoo run 1", "data": {"reference": record}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    for path in (tmp_path / "record.json", tmp_path / "run.json", tmp_path):
        assert read_reference(path) == record


def test_a_reference_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_reference(tmp_path / "none.json")

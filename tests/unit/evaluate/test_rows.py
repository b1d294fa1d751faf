"""Golden rows: sound ones are read; of the others the file, the line and the fix are told."""

import json

import pytest

from unit.evaluate.golden_rows import (
    CAPTION,
    CHOICE,
    CLOSER,
    FILL,
    MAIL,
    PICTURE,
    RETRIEVED,
    SCAN,
    TASKS,
    TEXT,
    inv_of,
    write_rows,
)
from zoo.evaluate.golden import GoldenError
from zoo.evaluate.rows import TASKS as FIELDS
from zoo.evaluate.rows import read_rows
from zoo.evaluate.rows import write_rows as write_lines

DIR = inv_of(CHOICE, test="dir", expect="down", by=0.5)


def without(line, *names):
    return {name: value for name, value in line.items() if name not in names}


def test_every_task_is_tried():
    assert {line["task"] for line in TASKS} == FIELDS.keys()


def test_sound_rows_are_read_in_their_order(tmp_path):
    rows = read_rows(write_rows(tmp_path, [*TASKS, inv_of(CHOICE, prompt="the men")]))
    assert [row.id for row in rows] == [*(line["id"] for line in TASKS), "agreement-001-inv"]
    assert rows[0].fields == {name: CHOICE[name] for name in ("prompt", "choices", "answer")}
    assert (rows[0].test, rows[0].segments, rows[0].flags) == (
        "mft",
        ("agreement",),
        ("edge", "robust"),
    )
    last = rows[-1]
    assert (last.test, last.of, last.expect, last.by) == ("inv", "agreement-001", "same", 0.0)


@pytest.mark.parametrize(
    "line",
    [
        without(FILL, "choices"),
        CHOICE | {"note": "after Linzen et al. 2016"},
        CHOICE | {"test": "mft"},
        CHOICE | {"flags": ["pinned", "rare"]},
        SCAN | {"image": "scans.png#5"},
        SCAN | {"image": "cat.png"},
        TEXT | {"text": "naïve 日本語 \n two lines"},
    ],
    ids=[
        "fill-without-choices",
        "note",
        "mft-said",
        "other-flags",
        "last-tile",
        "own-file",
        "letters",
    ],
)
def test_a_sound_row_is_read(tmp_path, line):
    (row,) = read_rows(write_rows(tmp_path, [line]))
    assert all(line[name] == value for name, value in row.fields.items())


@pytest.mark.parametrize(("base", "by"), [(CHOICE, 0.5), (CHOICE, 2)], ids=["half", "whole"])
def test_a_direction_row_says_how_far(tmp_path, base, by):
    rows = read_rows(write_rows(tmp_path, [base, DIR | {"prompt": "The man and men", "by": by}]))
    assert (rows[1].test, rows[1].expect, rows[1].by) == ("dir", "down", float(by))


@pytest.mark.parametrize(
    ("base", "changed", "left"),
    [
        (MAIL, {"text": "win a prise"}, ["label"]),
        (CHOICE, {"prompt": "the men"}, ["choices", "answer"]),
        (FILL, {"text": "we the [MASK]"}, ["answers", "choices"]),
    ],
    ids=["label", "choice", "fill"],
)
@pytest.mark.parametrize("test", [{}, {"test": "dir", "expect": "up"}], ids=["inv", "dir"])
def test_a_variant_may_leave_out_what_its_row_says(tmp_path, base, changed, left, test):
    variant = without(inv_of(base, **changed, **test), *left)
    fields = read_rows(write_rows(tmp_path, [base, variant]))[1].fields
    assert not fields.keys() & {*left}


def test_a_draft_states_the_sheets_of_a_set_without_a_manifest(tmp_path):
    folder = write_rows(tmp_path, [SCAN], sheets=False)
    (folder / "draft.json").write_text(json.dumps({"sheets": {"scans.png": 4}}))
    assert read_rows(folder)[0].id == "scan-001"


BROKEN = {
    "no JSON": ("{\n", "is not valid JSON"),
    "an array": ("[1]\n", "holds a list, not a JSON object"),
    "a blank line": ("\n", "is not valid JSON"),
    "a key twice": ('{"id": "a", "id": "b"}\n', "'id'.* stands there twice"),
    "NaN": ('{"id": "a", "task": "text", "text": NaN}\n', "NaN is not a JSON number"),
    "half a character": ('{"id": "\\ud800"}\n', "half a character"),
    "no task": (without(CHOICE, "task"), "task is None; expected one of choice, text"),
    "another task": (CHOICE | {"task": "chose"}, "task is 'chose'; expected one of choice"),
    "a field too many": (CHOICE | {"answers": ["a"]}, r"no field 'answers' \(did you mean answer"),
    "of another task": (TEXT | {"label": "a"}, "a row of task text has no field 'label'"),
    "under": (CHOICE | {"under": "typos"}, "no field 'under'"),
    "no id": (without(CHOICE, "id"), "id is missing"),
    "an id that is a number": (CHOICE | {"id": 7}, "id is 7, a whole number"),
    "an id in capitals": (CHOICE | {"id": "Agreement"}, "expected small letters and digits"),
    "an id of a twin": (CHOICE | {"id": "a@typos"}, "expected small letters and digits"),
    "an id with a line": (CHOICE | {"id": "a\n"}, "expected small letters and digits"),
    "a field missing": (without(CHOICE, "prompt"), "prompt is missing"),
    "a null field": (CHOICE | {"prompt": None}, "prompt is missing"),
    "a blank field": (CHOICE | {"prompt": "  "}, "prompt is '  ', empty"),
    "a field of another type": (CHOICE | {"prompt": ["a"]}, "expected text"),
    "one choice": (CHOICE | {"choices": [" are"]}, "choices is .* expected 2 or more"),
    "the same choice twice": (
        CHOICE | {"choices": [" are", " is", " is"]},
        "expected 2 or more, all different",
    ),
    "choices that are text": (CHOICE | {"choices": "are"}, "expected a list of texts"),
    "an answer that is no choice": (
        CHOICE | {"answer": "are"},
        "answer 'are' is none of the choices ' are', ' is'; copy it from there",
    ),
    "no mask": (FILL | {"text": "We the people"}, r"text has \[MASK\] 0 times"),
    "two masks": (FILL | {"text": "[MASK] and [MASK]"}, r"text has \[MASK\] 2 times"),
    "no answer": (FILL | {"answers": []}, "answers is"),
    "only right choices": (FILL | {"choices": ["people", "citizens"]}, "all of the choices"),
    "only wrong choices": (FILL | {"choices": ["a", "of"]}, "none of the choices"),
    "nothing to label": (without(MAIL, "text"), "has neither text nor image"),
    "text and image": (MAIL | {"image": "cat.png"}, "has text and image; give one"),
    "no label": (without(MAIL, "label"), "label is missing; fill it in"),
    "no choices": (without(CHOICE, "choices"), "choices is missing; fill it in"),
    "no answers": (without(FILL, "answers"), "answers is missing; fill it in"),
    "near and far are one": (CLOSER | {"far": "a kitten"}, "near and far are both 'a kitten'"),
    "a caption that is not offered": (CAPTION | {"answer": "cat"}, "none of the captions"),
    "an image that is not offered": (PICTURE | {"answer": "scans.png#1"}, "none of the images"),
    "no image": (
        without(SCAN, "image") | {"label": "7"},
        "neither text nor image; give one of the two",
    ),
    "a caption of no image": (without(CAPTION, "image"), "image is missing"),
    "no images": (without(PICTURE, "images"), "images is missing"),
    "an image that is not there": (CAPTION | {"image": "dog.png"}, "there is no file 'dog.png'"),
    "one of the images is not there": (
        PICTURE | {"images": ["cat.png", "scans.png#6"]},
        "'scans.png#6': the sheet has tiles 0 to 5",
    ),
    "a tile too far": (SCAN | {"image": "scans.png#6"}, "the sheet has tiles 0 to 5"),
    "a tile below": (SCAN | {"image": "scans.png#-1"}, "the sheet has tiles 0 to 5"),
    "a tile that is no number": (SCAN | {"image": "scans.png#03"}, "tiles 0 to 5"),
    "a whole sheet": (SCAN | {"image": "scans.png"}, "is a sheet; name a tile, as scans.png#0"),
    "a tile of no sheet": (SCAN | {"image": "cat.png#0"}, "'cat.png' is no sheet; state the side"),
    "an image above": (SCAN | {"image": "../x/cat.png"}, "leads out of the folder"),
    "an image anywhere": (SCAN | {"image": "/cat.png"}, "leads out of the folder"),
    "a Windows path": (SCAN | {"image": "a\\cat.png"}, "leads out of the folder"),
    "segments that are text": (CHOICE | {"segments": "agreement"}, "segments is 'agreement', text"),
    "a segment in capitals": (CHOICE | {"segments": ["Long"]}, "segments is .* different words"),
    "a segment twice": (CHOICE | {"segments": ["a", "a"]}, "expected a list of different words"),
    "a perturbation as segment": (CHOICE | {"segments": ["under:typos"]}, "segments is"),
    "a flag that is a number": (CHOICE | {"flags": [1]}, "flags is"),
    "a flag misspelt": (CHOICE | {"flags": ["pined"]}, "almost one of edge, pinned, robust"),
    "another test": (CHOICE | {"test": "min"}, "test is 'min', text; expected one of"),
    "an mft row with of": (CHOICE | {"of": "text-001"}, "an mft row has no of"),
    "an mft row with expect": (CHOICE | {"expect": "same"}, "an mft row has no expect"),
    "an mft row with by": (CHOICE | {"by": 0.5}, "an mft row has no by"),
    "an inv row of nothing": (without(inv_of(CHOICE), "of"), "a row of test inv needs `of`"),
    "an inv row that moves": (inv_of(CHOICE, expect="up"), "expect is 'up'; .* inv expects same"),
    "an inv row with by": (inv_of(CHOICE, by=1.0), "an inv row has no `by`"),
    "a dir row that stays": (DIR | {"expect": "same"}, "test dir expects up or down"),
    "a dir row without expect": (without(DIR, "expect"), "expect is None; .* up or down"),
    "a strange expectation": (DIR | {"expect": "more"}, "expect is 'more'"),
    "a size below zero": (DIR | {"by": -0.5}, "by is -0.5, a number; expected a number of 0"),
    "a size that is text": (DIR | {"by": "0.5"}, "by is '0.5', text"),
    "a size that is true": (DIR | {"by": True}, "by is True"),
    "a robust inv row": (inv_of(CHOICE, flags=["robust"]), "flag robust is for mft rows"),
    "a text that stays the same": (inv_of(TEXT, text="b"), "a text row has no answer that could"),
}


@pytest.mark.parametrize(("line", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_row_is_refused_by_its_line(tmp_path, line, sentence):
    with pytest.raises(GoldenError, match=sentence) as caught:
        read_rows(write_rows(tmp_path, [TEXT, line]))
    assert f"{tmp_path / 'rows.jsonl'}:2" in str(caught.value)
    assert "\n" not in str(caught.value)


UNFIT = {
    "an id twice": ([TEXT, TEXT | {"text": "b"}], "id stands in line 1, too"),
    "an id twice in two tasks": ([TEXT, MAIL | {"id": "text-001"}], "id stands in line 1, too"),
    "the same question twice": ([TEXT, TEXT | {"id": "b"}], "asks the same as text-001"),
    "a variant that changes nothing": ([CHOICE, inv_of(CHOICE)], "asks the same as agreement-001"),
    "a variant of nothing": (
        [CHOICE, inv_of(CHOICE, of="agreement-002", prompt="the men")],
        "of is 'agreement-002', and no row has this id",
    ),
    "a variant of a variant": (
        [
            inv_of(CHOICE, id="b", prompt="b"),
            inv_of(CHOICE, id="c", of="b", prompt="c"),
            CHOICE,
        ],
        "of is b, itself a variant; name agreement-001",
    ),
    "a variant of itself": (
        [CHOICE, inv_of(CHOICE, of="agreement-001-inv", prompt="b")],
        "itself a variant",
    ),
    "a variant of another task": (
        [CHOICE, inv_of(MAIL, of="agreement-001", text="b")],
        "a row of task choice; a variant has the task of its row",
    ),
    "a variant with another answer": (
        [CHOICE, inv_of(CHOICE, prompt="The man", answer=" is")],
        "answer is ' is', that of agreement-001 is ' are'",
    ),
    "a variant with another label": (
        [MAIL, inv_of(MAIL, text="b", label="ham")],
        "label is 'ham', that of mail-001 is 'spam'",
    ),
    "few to rank": (RETRIEVED[:9], "group things has 9 rows; ranks need 10 or more"),
    "two of a caption": (
        [*RETRIEVED, RETRIEVED[0] | {"id": "find-010", "image": "cat.png"}],
        "caption 'thing 0' is that of find-000, too",
    ),
}


@pytest.mark.parametrize(("lines", "sentence"), UNFIT.values(), ids=UNFIT.keys())
def test_rows_that_do_not_fit_together_are_refused(tmp_path, lines, sentence):
    with pytest.raises(GoldenError, match=sentence):
        read_rows(write_rows(tmp_path, lines))


def test_the_first_bad_row_is_told_and_the_others_are_counted(tmp_path):
    lines = [CHOICE, MAIL | {"label": " "}, TEXT | {"text": ""}, FILL | {"answers": None}]
    with pytest.raises(GoldenError, match=r"rows.jsonl:2 \(mail-001\): label is ' ', empty") as e:
        read_rows(write_rows(tmp_path, lines))
    assert "(2 rows more cannot be used)" in str(e.value)


SHEETS = {
    "a side that does not fill it": ({"scans.png": 5}, "12 x 8 pixels, which tiles of side 5"),
    "a side that fills one way": ({"scans.png": 8}, "12 x 8 pixels, which tiles of side 8"),
    "a side of nothing": ({"scans.png": 0}, "tiles of side 0 do not fill"),
    "a side that is text": ({"scans.png": "4"}, "tiles of side '4' do not fill"),
    "a sheet that is not there": ({"other.png": 4}, "other.png: No such file"),
    "a sheet that is no PNG": ({"rows.jsonl": 4}, "rows.jsonl is no PNG"),
}


@pytest.mark.parametrize(("sheets", "sentence"), SHEETS.values(), ids=SHEETS.keys())
def test_a_sheet_that_its_tiles_do_not_fill_is_refused(tmp_path, sheets, sentence):
    folder = write_rows(tmp_path, [SCAN])
    (folder / "manifest.json").write_text(json.dumps({"sheets": sheets}))
    with pytest.raises(GoldenError, match=sentence):
        read_rows(folder)


def test_without_a_manifest_no_file_is_a_sheet(tmp_path):
    with pytest.raises(GoldenError, match="no sheet; state the side"):
        read_rows(write_rows(tmp_path, [SCAN], sheets=False))


def test_sheets_may_be_given(tmp_path):
    folder = write_rows(tmp_path, [SCAN], sheets=False)
    assert read_rows(folder, sheets={"scans.png": 4})[0].id == "scan-001"


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda f: None, "rows.jsonl: No such file"),
        (
            lambda f: (f / "rows.jsonl").write_text(""),
            "holds no rows; write one JSON object a line",
        ),
        (lambda f: (f / "rows.jsonl").write_bytes(b"\xff\n"), "rows.jsonl:1 is not UTF-8"),
        (lambda f: (f / "manifest.json").write_text("["), "manifest.json is not valid JSON"),
    ],
    ids=["gone", "empty", "letters", "manifest"],
)
def test_a_folder_without_rows_is_refused(tmp_path, write, sentence):
    if "manifest" in sentence:
        write_rows(tmp_path, [TEXT])
    write(tmp_path)
    with pytest.raises(GoldenError, match=sentence):
        read_rows(tmp_path)


def test_rows_are_written_as_people_read_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"id": "a", "text": "é\n"}, {"id": "b"}])
    assert path.read_bytes() == '{"id": "a", "text": "é\\n"}\n{"id": "b"}\n'.encode()

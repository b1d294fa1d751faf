"""What a schema refuses: each row of BAD breaks one rule, and says so of its own line."""

import math

import pandas as pd
import pytest

from unit.data.made import jsonl, parquet_of, png, put
from zoo.data import DataError, from_frame, read
from zoo.data.kinds import KINDS
from zoo.data.schemas import schema_of

GOOD = {
    "text": {"text": "hello"},
    "labelled_text": {"text": "hello", "pair": "you", "label": "ham"},
    "tagged_text": {"tokens": ["The", "cat"], "tags": ["O", "B"]},
    "answers": {"question": "Who?", "context": "It was Ahab.", "answer": "Ahab", "start": 7},
    "labelled_images": {"image": "a.png", "label": "cat"},
    "images": {"image": "a.png"},
    "pairs": {"image": "a.png", "caption": "a cat"},
}

# kind, what is wrong about its second row, what is said of it
BAD = {
    "no text": ("text", {"text": None}, "text is missing; fill it in, or leave the row out"),
    "NaN": ("text", {"text": math.nan}, "text is missing; fill it in, or leave the row out"),
    "an empty text": (
        "text", {"text": ""}, "text is '', empty; fill it in, or leave the row out",
    ),
    "blanks": (
        "text", {"text": " \n\u2003"},
        "text is ' \\n\\u2003', empty; fill it in, or leave the row out",
    ),
    "a number": ("text", {"text": 5}, "text is 5, a whole number; expected text, in quotes"),
    "a float": ("text", {"text": 0.5}, "text is 0.5, a number; expected text, in quotes"),
    "truth": ("text", {"text": True}, "text is True, true or false; expected text, in quotes"),
    "a list": ("text", {"text": ["a"]}, "text is ['a'], a list; expected text, in quotes"),
    "an object": (
        "text", {"text": {"a": 1}}, "text is {'a': 1}, an object; expected text, in quotes",
    ),
    "a NUL": (
        "text", {"text": "ab\0c"},
        "text has a NUL byte at character 2; take it out, or save the file as UTF-8",
    ),
    "a pair in some rows": (
        "labelled_text", {"pair": None}, "pair is missing; fill it in, or leave the row out",
    ),
    "no label": (
        "labelled_text", {"label": None}, "label is missing; fill it in, or leave the row out",
    ),
    "a label that is a fraction": (
        "labelled_text", {"label": 1.5}, "label is 1.5, a number; expected text, in quotes",
    ),
    "an empty label": (
        "labelled_text", {"label": ""}, "label is '', empty; fill it in, or leave the row out",
    ),
    "a split that is none": (
        "text", {"split": "half"},
        "split is 'half'; expected one of train, valid, test, val, validation, dev, eval",
    ),
    "no split": (
        "text", {"split": None},
        "split is missing; fill it in, or leave the row out",
    ),
    "an id that is there already": (
        "text", {"id": "first"}, "id 'first' stands in an earlier row, too; give each its own",
    ),
    "no id": ("text", {"id": None}, "id is missing; fill it in, or leave the row out"),
    "an id that is a fraction": (
        "text", {"id": 0.5}, "id is 0.5, a number; expected text, in quotes",
    ),
    "no tokens": (
        "tagged_text", {"tokens": None}, "tokens is missing; fill it in, or leave the row out",
    ),
    "tokens that are one text": (
        "tagged_text", {"tokens": "The cat"},
        "tokens is 'The cat', text; expected a list of texts, as [\"The\", \"cat\"]",
    ),
    "a token that is a number": (
        "tagged_text", {"tokens": ["The", 3]},
        "tokens is ['The', 3], a list; expected a list of texts, as [\"The\", \"cat\"]",
    ),
    "a list of no tokens": (
        "tagged_text", {"tokens": [], "tags": ["O"]},
        "tokens is [], with nothing in it; leave it out",
    ),
    "an empty tag": (
        "tagged_text", {"tags": ["O", " "]},
        "tags is ['O', ' '], with nothing in it; leave it out",
    ),
    "a token with a NUL": (
        "tagged_text", {"tokens": ["The", "c\0t"]},
        "tokens is ['The', 'c\\x00t'], with a NUL byte; take it out",
    ),
    "a tag too few": (
        "tagged_text", {"tags": ["O"]}, "2 tokens and 1 tag; give each token one tag",
    ),
    "no start": ("answers", {"start": None}, "start is missing; fill it in, or leave the row out"),
    "a start that is text": (
        "answers", {"start": "7th"}, "start is '7th', text; expected a whole number",
    ),
    "a start between characters": (
        "answers", {"start": 7.5}, "start is 7.5, a number; expected a whole number",
    ),
    "a start that is truth": (
        "answers", {"start": True}, "start is True, true or false; expected a whole number",
    ),
    "a start before the context": (
        "answers", {"start": -1},
        "start is -1; expected 0 or more: characters are counted from 0",
    ),
    "a start beside the answer": (
        "answers", {"start": 6},
        "at start 6 stands ' Aha', the answer is 'Ahab'; it is found at 7: characters are counted, "
        "from 0",
    ),
    "a start in the context's last letters": (
        "answers", {"start": 10},
        "at start 10 stands 'b.', the answer is 'Ahab'; it is found at 7: characters are counted, "
        "from 0",
    ),
    "a start at the end": (
        "answers", {"start": 12},
        "start is 12, the context has 12 characters; it is found at 7: characters are counted, "
        "from 0",
    ),
    "an answer from elsewhere": (
        "answers", {"answer": "Ishm"},
        "at start 7 stands 'Ahab', the answer is 'Ishm'; it is not in the context: copy it from "
        "there",
    ),
    "an empty answer": (
        "answers", {"answer": ""}, "answer is '', empty; fill it in, or leave the row out",
    ),
    "a picture without a name": (
        "images", {"image": None}, "image is missing; fill it in, or leave the row out",
    ),
    "a picture that is a number": (
        "labelled_images", {"image": 3}, "image is 3, a whole number; expected text, in quotes",
    ),
    "an empty caption": (
        "pairs", {"caption": ""}, "caption is '', empty; fill it in, or leave the row out",
    ),
}  # fmt: skip


def written(folder, kind, *changes):
    """Write a sound row and rows that differ from it in what is said; give the file."""
    extra = {name: "train" for change in changes for name in change if name == "split"}
    ids = any("id" in change for change in changes)
    rows = [
        {**GOOD[kind], **extra, **({"id": name} if ids else {}), **change}
        for name, change in zip(["first", "b", "c", "d"], [{}, *changes], strict=False)
    ]
    return put(folder, {"t.jsonl": jsonl(*rows), "a.png": png()}) / "t.jsonl"


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_a_row_that_breaks_a_rule_is_named_with_its_value_and_the_fix(tmp_path, case):
    kind, change, sentence = case
    path = written(tmp_path, kind, change)
    with pytest.raises(DataError) as caught:
        read(path, kind)
    assert str(caught.value) == f"{path} line 2: {sentence}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_row_passes(tmp_path, kind):
    assert len(read(written(tmp_path, kind, {}), kind)) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_columns_that_a_kind_does_not_know_may_hold_anything(tmp_path, kind):
    path = written(tmp_path, kind, {"year": None, "more": [1, {"a": math.nan}]})
    assert read(path, kind).frame["more"].tolist()[0] is None


@pytest.mark.parametrize(
    ("kind", "change", "labels", "sentence"),
    [
        (
            "labelled_text", {"label": "Spam"}, ("ham", "spam"),
            "label has 'Spam', a class that is not known (did you mean 'spam'?); known are 'ham', "
            "'spam'",
        ),
        (
            "labelled_images", {"label": "zebra"}, ("cat",),
            "label has 'zebra', a class that is not known; known are 'cat'",
        ),
        (
            "tagged_text", {"tags": ["B", "I"]}, ("O", "B"),
            "tags has 'I', a class that is not known; known are 'O', 'B'",
        ),
    ],
)  # fmt: skip
def test_a_class_that_was_not_seen_at_training_is_refused(tmp_path, kind, change, labels, sentence):
    path = written(tmp_path, kind, change)
    with pytest.raises(DataError) as caught:
        read(path, kind, labels=labels)
    assert str(caught.value) == f"{path} line 2: {sentence}"


@pytest.mark.parametrize("kind", ["labelled_text", "tagged_text"])
def test_another_rule_speaks_of_a_class_that_is_no_text(tmp_path, kind):
    name = KINDS[kind].of_form("label", "labels")[0]
    path = written(tmp_path, kind, {name: None})
    with pytest.raises(DataError, match=f"line 2: {name} is missing"):
        read(path, kind, labels=["ham", "O", "B"])


def test_the_first_row_is_named_and_the_others_are_counted(tmp_path):
    path = written(tmp_path, "labelled_text", {}, {"label": ""}, {"text": 3, "label": ""})
    with pytest.raises(DataError) as caught:
        read(path, "labelled_text")
    assert str(caught.value) == (
        f"{path} line 3: label is '', empty; fill it in, or leave the row out "
        "(1 row more cannot be used)"
    )


@pytest.mark.parametrize(
    ("text", "line"), [('"x\ny"\n""\n', 4), ('""\n"x\ny"\n', 2)], ids=["last row", "first row"]
)
def test_a_row_of_the_second_file_is_named_by_its_own_line(tmp_path, text, line):
    put(tmp_path, {"a.jsonl": jsonl({"text": "x"}), "b.csv": f"text\n{text}"})
    with pytest.raises(DataError, match=rf"b\.csv line {line}: text is '', empty"):
        read([tmp_path / "a.jsonl", tmp_path / "b.csv"], "text")


def test_a_row_of_a_parquet_is_counted(tmp_path):
    put(tmp_path, {"a.parquet": parquet_of(text=["x", None])})
    with pytest.raises(DataError, match=r"a\.parquet row 2: text is missing"):
        read(tmp_path / "a.parquet", "text")


def test_bytes_in_a_parquet_are_no_text(tmp_path):
    put(tmp_path, {"a.parquet": parquet_of(text=[b"x"])})
    with pytest.raises(DataError, match=r"row 1: text is b'x', bytes; expected text"):
        read(tmp_path / "a.parquet", "text")


def test_a_long_value_is_shown_by_its_beginning(tmp_path):
    path = written(tmp_path, "tagged_text", {"tokens": "x" * 1000})
    with pytest.raises(DataError, match=rf"tokens is '{'x' * 60}'\.\.\., text"):
        read(path, "tagged_text")


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            pd.Series([1, 2]),
            "the frame row 1: text is 1, a whole number; expected text, in quotes (1 row more "
            "cannot be used)",
        ),
        (
            pd.Series(["a", "b"]).astype("category"),
            None,
        ),
        (
            pd.Series([pd.NA, "b"], dtype=object),
            "the frame row 1: text is missing; fill it in, or leave the row out",
        ),
        (
            pd.Series([pd.NaT, pd.NaT]),
            "the frame row 1: text is missing; fill it in, or leave the row out (1 row more "
            "cannot be used)",
        ),
    ],
    ids=["whole numbers", "categories", "NA", "no time"],
)
def test_a_frame_is_checked_as_a_file_is(column, sentence):
    assert said_of(pd.DataFrame({"text": column})) == sentence


@pytest.mark.parametrize(
    ("frame", "kind", "sentence"),
    [
        (
            pd.DataFrame({"text": []}),
            "text",
            "the frame has no rows; expected at least one",
        ),
        (
            pd.DataFrame({"text": ["a"]}),
            "texts",
            "there is no kind of data 'texts'; expected one of text, labelled_text, tagged_text, "
            "answers, labelled_images, images, pairs",
        ),
        (
            pd.DataFrame({"image": ["no.png"]}),
            "images",
            "the frame row 1: image HERE/no.png is not there: put it there, or mend its name",
        ),
        (
            pd.DataFrame({"text": ["x" * (4 * 2**20 + 1)]}),
            "text",
            "the frame row 1: text has 4,194,305 bytes, more than 4,194,304; break it up, or raise "
            "`longest`",
        ),
    ],
    ids=["no rows", "no kind", "no picture", "a long text"],
)
def test_a_frame_that_cannot_be_used_is_refused(tmp_path, frame, kind, sentence):
    told = said_of(frame, kind, folder=tmp_path)
    assert told.replace(str(tmp_path), "HERE") == sentence


def said_of(frame, kind="text", **options):
    try:
        from_frame(frame, kind, **options)
    except DataError as error:
        return str(error)
    return None


def test_a_frame_is_left_as_it_was():
    frame = pd.DataFrame({"tokens": [("a", "b")], "tags": [("O", "O")]}, index=[7])
    rows = from_frame(frame, "tagged_text")
    assert rows.frame["tokens"].tolist() == [["a", "b"]] and rows.frame.index.tolist() == [0]
    assert frame["tokens"].tolist() == [("a", "b")] and frame.index.tolist() == [7]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_asks_for_a_kinds_own_columns(kind):
    columns = schema_of(kind).columns
    assert list(columns) == ["id", "split", *KINDS[kind].columns]
    assert [n for n, c in columns.items() if not c.required] == list(KINDS[kind].optional)

import datetime

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.data.made import jsonl, parquet_of, png, put
from zoo.data import DataError, Rows, from_frame, read
from zoo.data.files import split_in
from zoo.data.kinds import KINDS

FORMATS = ("csv", "tsv", "jsonl", "parquet")


def numbered(count, **columns):
    return pd.DataFrame({"text": [f"text {i}" for i in range(count)], **columns})


def splits(rows, column="text"):
    return dict(zip(rows.frame[column], rows.frame["split"], strict=True))


# which split a name says

SAYS = [
    ("train", True, "train"),
    ("Train", True, "train"),
    ("validation", True, "valid"),
    ("val", True, "valid"),
    ("dev", True, "valid"),
    ("eval", True, "valid"),
    ("test", True, "test"),
    ("train-00001-of-00002", True, "train"),
    ("mails_test", True, "test"),
    ("mails.dev.2", True, "valid"),
    ("latest", True, None),
    ("training", True, None),
    ("train_test", True, None),
    ("valid-val", True, "valid"),
    ("mails", True, None),
    ("train", False, "train"),
    ("test-2", False, "test"),
    ("a-test", False, None),
    ("test-drive", False, None),
]


@pytest.mark.parametrize(("stem", "tokens", "split"), SAYS, ids=lambda value: str(value))
def test_a_name_says_a_split(stem, tokens, split):
    assert split_in(stem, tokens) == split


MAIL = "text,label\n{},ham\n"
# what -> (files, kind, paths, the splits of rows in order)
NAMED = {
    "files": (
        {"train.csv": MAIL.format("a"), "dev.csv": MAIL.format("b"), "test.csv": MAIL.format("c")},
        "labelled_text", ["train.csv", "dev.csv", "test.csv"], ["train", "valid", "test"],
    ),
    "files of a folder": (
        {"d/train.csv": MAIL.format("a"), "d/val.csv": MAIL.format("b")},
        "labelled_text", ["d"], ["train", "valid"],
    ),
    "folders of a folder": (
        {"d/train/a.csv": MAIL.format("a"), "d/test/a.csv": MAIL.format("b")},
        "labelled_text", ["d"], ["test", "train"],
    ),
    "folders that are given": (
        {"train/a.txt": "a", "valid/a.txt": "b"}, "text", ["train", "valid"], ["train", "valid"],
    ),
    "files in folders": (
        {"train/a.txt": "a", "valid/a.txt": "b"},
        "text", ["train/a.txt", "valid/a.txt"], ["train", "valid"],
    ),
    "the name within the folder": (
        {"train/a/test.csv": MAIL.format("a"), "train/a/b.csv": MAIL.format("b")},
        "labelled_text", ["train"], ["train", "test"],
    ),
    "folders above classes": (
        {"d/train/cat/1.png": png(1), "d/dev/dog/2.png": png(2)},
        "labelled_images", ["d"], ["valid", "train"],
    ),
    "classes of texts": (
        {"d/train/test/dev.txt": "a", "d/dev/x/x.txt": "b"},
        "labelled_text", ["d"], ["valid", "train"],
    ),
    "folders of pictures": (
        {"d/train/1.png": png(1), "d/test/train.png": png(2)}, "images", ["d"], ["test", "train"],
    ),
    "a column": (
        {"train.csv": "text,split\na, Test\nb,train\nc,dev\n"}, "text", ["train.csv"],
        ["test", "train", "valid"],
    ),
    "tests alone": ({"test.csv": MAIL.format("a")}, "labelled_text", ["test.csv"], ["test"]),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED.values(), ids=list(NAMED))
def test_names_and_columns_say_splits(tmp_path, case):
    files, kind, paths, expected = case
    put(tmp_path, files)
    rows = read([tmp_path / path for path in paths], kind)
    assert rows.frame["split"].tolist() == expected


def test_names_of_classes_say_no_split(tmp_path):
    put(tmp_path, {f"d/{name}/{i}.png": png(i) for name in ("train", "car") for i in range(3)})
    rows = read(tmp_path / "d", "labelled_images", valid=0.0)
    assert rows.labels == ("car", "train") and {*rows.frame["split"]} == {"train"}


def test_names_are_not_heard_when_told_so(tmp_path):
    put(tmp_path, {"test.csv": MAIL.format("a")})
    rows = read(tmp_path / "test.csv", "labelled_text", names=False)
    assert rows.frame["split"].tolist() == ["train"]


def test_what_names_do_not_say_is_drawn_from_the_rows_to_train(tmp_path):
    lines = jsonl(*({"text": f"text {i}"} for i in range(200)))
    put(tmp_path, {"train.jsonl": lines, "test.jsonl": jsonl({"text": "x"}, {"text": "y"})})
    paths = [tmp_path / "train.jsonl", tmp_path / "test.jsonl"]
    drawn = read(paths, "text", valid=0.25, test=0.5).summary()["rows"]
    assert drawn["test"] == 2 and 30 < drawn["valid"] < 70
    assert read(paths, "text", valid=0.0).summary()["rows"] == {"train": 200, "valid": 0, "test": 2}


def test_drawn_shares_are_near_what_was_asked_for():
    counts = from_frame(numbered(2000), "text", valid=0.2, test=0.1).summary()["rows"]
    # four standard deviations of a binomial of 2,000
    assert abs(counts["valid"] - 400) < 72 and abs(counts["test"] - 200) < 54


def test_a_row_stays_in_its_split_when_others_are_added_and_moved():
    few, many = numbered(50), numbered(200).sample(frac=1, random_state=3)
    before, after = (splits(from_frame(frame, "text", valid=0.3)) for frame in (few, many))
    assert {*before.values()} == {"train", "valid"}
    assert before.items() <= after.items()


def test_a_larger_share_moves_no_row_out_of_it_and_leaves_the_tests_alone():
    one = splits(from_frame(numbered(200), "text", valid=0.1, test=0.2))
    other = splits(from_frame(numbered(200), "text", valid=0.3, test=0.2))
    assert {t for t, s in one.items() if s == "valid"} < {
        t for t, s in other.items() if s == "valid"
    }
    assert {t for t, s in one.items() if s == "test"} == {
        t for t, s in other.items() if s == "test"
    }


KEYS = {
    "labelled_text": ({"text": "{}", "pair": "x"}, {"label": "{}"}),
    "tagged_text": ({"tokens": ["{}"]}, {"tags": ["{}"]}),
    "answers": ({"context": "{} a b"}, {"question": "{}"}),
}


@pytest.mark.parametrize("kind", KEYS)
def test_rows_that_share_what_is_read_share_a_split(kind):
    def filled(value, number):
        if isinstance(value, list):
            return [filled(part, number) for part in value]
        return value.format(number) if isinstance(value, str) else value

    key, rest = KEYS[kind]
    common = {"answer": " a", "start": 1} if kind == "answers" else {}
    rows = [
        {name: filled(value, i) for name, value in key.items()}
        | {name: filled(value, j) for name, value in rest.items()}
        | common
        for i in range(9)
        for j in range(4)
    ]
    frame = from_frame(pd.DataFrame(rows), kind, valid=0.5).frame
    drawn = [{*frame["split"][4 * i : 4 * i + 4]} for i in range(9)]
    assert all(len(found) == 1 for found in drawn)
    assert set.union(*drawn) == {"train", "valid"}


def test_rows_of_a_group_share_a_split():
    frame = numbered(80, author=[i // 4 for i in range(80)])
    rows = from_frame(frame, "text", valid=0.5, group="author").frame
    drawn = rows.groupby("author")["split"].nunique()
    assert {*drawn} == {1} and rows["split"].nunique() == 2


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("valid", "test"), [(0.99, 0.0), (0.0, 0.99), (0.49, 0.5)])
def test_something_is_left_to_train_on(count, valid, test):
    assert "train" in [*from_frame(numbered(count), "text", valid=valid, test=test).frame["split"]]


# parts


def test_a_part_has_its_rows_in_their_order_and_a_version_of_its_own(tmp_path):
    rows = from_frame(numbered(40), "text", valid=0.5)
    train, valid = rows.part("train"), rows.part("valid")
    assert len(train) + len(valid) == 40 and train.frame.index.tolist() == [*range(len(train))]
    assert train.frame["text"].tolist() == [t for t, s in splits(rows).items() if s == "train"]
    assert len({rows.version, train.version, valid.version}) == 3
    alone = pd.DataFrame({"text": train.frame["text"], "split": "train"})
    assert from_frame(alone, "text").version == train.version
    assert from_frame(alone, "text").order() == train.order()


def test_a_part_may_be_empty():
    rows = from_frame(numbered(3), "text", valid=0.0)
    assert len(rows.part("test")) == 0 and rows.part("test").labels is None


def test_there_is_no_other_part():
    with pytest.raises(
        DataError, match="there is no split 'val'; expected one of train, valid, te"
    ):
        from_frame(numbered(3), "text").part("val")


def test_rows_made_by_hand_have_parts():
    frame = pd.DataFrame({"id": ["a", "b"], "split": ["train", "test"], "text": ["x", "y"]})
    part = Rows("text", frame, None, "sha256:0").part("test")
    assert part.frame["id"].tolist() == ["b"] and part.version == "sha256:0/test"


def test_rows_say_what_they_are():
    rows = from_frame(numbered(1200), "text")
    assert repr(rows) == f"Rows(text, 1,200 rows, {rows.version[:19]})"
    assert rows.summary() == {
        "kind": "text",
        "version": rows.version,
        "order": rows.order(),
        "rows": {split: len(rows.part(split)) for split in ("train", "valid", "test")},
    }


# written and read again

nasty = st.text(
    st.one_of(
        st.sampled_from(",\"'\n\r\t\u2028\u2029\x85\x1c\ufeff;|\\[]{} aé😀0"),
        st.characters(codec="utf-8", exclude_characters="\0"),
    ),
    min_size=1,
    max_size=12,
)
words = st.one_of(st.sampled_from(["NA", "null", "01", "1.0", "nan", "True", "-", "#"]), nasty)
filled = words.filter(lambda text: text.strip())


def same(rows, again, columns):
    assert again.version == rows.version and again.order() == rows.order()
    assert again.labels == rows.labels
    for name in columns:
        assert again.frame[name].tolist() == rows.frame[name].tolist(), name


@pytest.mark.parametrize("ending", FORMATS)
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cells=st.lists(st.tuples(filled, filled, filled, words), min_size=20, max_size=40),
    splits=st.lists(st.sampled_from(["train", "valid", "test"]), min_size=40, max_size=40),
)
def test_texts_that_are_written_are_read_again(tmp_path, ending, cells, splits):
    names = ("text", "pair", "label", 'note, "of"\nmine')
    frame = pd.DataFrame(dict(zip(names, map(list, zip(*cells, strict=True)), strict=True)))
    frame["split"] = splits[: len(cells)]
    rows = from_frame(frame, "labelled_text")
    same(
        rows,
        read(rows.to_table(tmp_path / f"t.{ending}"), "labelled_text"),
        ["id", "split", *names],
    )


@pytest.mark.parametrize("ending", FORMATS)
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lists=st.lists(st.lists(st.tuples(filled, filled), min_size=1, max_size=3), min_size=9))
def test_lists_that_are_written_are_read_again(tmp_path, ending, lists):
    rows = [{"tokens": [t for t, _ in row], "tags": [t for _, t in row]} for row in lists]
    made = from_frame(pd.DataFrame(rows), "tagged_text")
    again = read(made.to_table(tmp_path / f"t.{ending}"), "tagged_text")
    same(made, again, ["id", "split", "tokens", "tags"])


@pytest.mark.parametrize("ending", FORMATS)
def test_numbers_and_pictures_that_are_written_are_read_again(tmp_path, ending):
    put(tmp_path, {"in/a.png": png(1), "in/b.png": png(2)})
    put(tmp_path, {"in/t.csv": "image,caption\na.png,one\nb.png,two\n"})
    pairs = read(tmp_path / "in/t.csv", "pairs")
    columns = ["id", "split", "image", "caption"]
    same(pairs, read(pairs.to_table(tmp_path / f"out.{ending}"), "pairs"), columns)
    answer = {"question": ["w"], "context": ["é a"], "answer": ["a"], "start": [2]}
    rows = from_frame(pd.DataFrame(answer), "answers")
    again = read(rows.to_table(tmp_path / f"answers.{ending}"), "answers")
    same(rows, again, ["id", "split", *answer])


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_other_columns_keep_their_types(tmp_path, ending):
    when = [datetime.datetime(2026, 3, 4), None]
    others = {
        "n": [3, None],
        "x": [0.1, None],
        "is": [True, False],
        "list": [[1, 2], [3]],
        "when": when,
        "of": [{"a": 1}] * 2,
    }
    put(tmp_path, {"a.parquet": parquet_of(text=["a", "b"], **others)})
    rows = read(tmp_path / "a.parquet", "text")
    again = read(rows.to_table(tmp_path / f"b.{ending}"), "text").frame
    assert again["n"].tolist() == [3, None] and again["is"].tolist() == [True, False]
    assert again["x"].isna().tolist() == [False, True] and again["x"][0] == 0.1
    assert str(again["when"][0])[:10] == "2026-03-04" and again["when"].isna().tolist()[1]
    assert again["of"].tolist() == [{"a": 1}] * 2
    assert [list(value) for value in again["list"]] == [[1, 2], [3]]


# what cannot be written -> (its column, the file, what is said)
UNWRITTEN = {
    "an ending that is not known": (
        ["a"], "t.xls", "t.xls is not written; expected a file that ends in .csv .tsv .jsonl .parq",
    ),
    "bytes as JSON": ([b"a"], "t.jsonl", "b'a' cannot be written as JSON; write .parquet"),
    "a mixture as parquet": ([[1], "a"], "t.parquet", "cannot hold these columns .*; write .jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNWRITTEN.values(), ids=list(UNWRITTEN))
def test_what_cannot_be_written_leaves_no_file(tmp_path, case):
    column, name, sentence = case
    rows = from_frame(numbered(len(column), other=pd.Series(column, dtype=object)), "text")
    with pytest.raises(DataError, match=sentence):
        rows.to_table(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_table_names_no_picture_outside_of_its_folder(tmp_path):
    put(tmp_path, {"in/a.png": png(1)})
    rows = read(tmp_path / "in/a.png", "images")
    with pytest.raises(DataError, match=r"a\.png is not below .*out: write the table to a folder"):
        rows.to_table(tmp_path / "out" / "t.csv")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_key_of_its_own_columns(kind):
    assert {*KINDS[kind].key, *KINDS[kind].optional} <= {*KINDS[kind].columns}

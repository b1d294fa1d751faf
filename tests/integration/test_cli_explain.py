"""The verb that draws, called in this process: what it prints, writes and refuses."""

import json

import pytest
import torch
from PIL import Image

from zoo.cli import main
from zoo.images import ImageProcessor, read_image
from zoo.models import CLIP, CLIPConfig, ViT, ViTConfig
from zoo.tasks import Explainer
from zoo.tokenizers import Tokenizer

EYE = {"image": (12, 10), "patch": (3, 5)}  # four patches down, two across
SIZES = {"width": 12, "depth": 3, "heads": 2, "hidden": 20}
TOWERS = {f"{t}_{name}": size for t in ("image", "text") for name, size in SIZES.items()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Write a ViT, a CLIP and a picture."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("explain")
    ViT(ViTConfig(**EYE, **SIZES, classes=3)).save_pretrained(folder / "vit")
    ImageProcessor.vit(size=EYE["image"]).save(folder / "vit")
    tokenizer = Tokenizer.train(["a red house"] * 3, "clip", vocab=530)
    config = CLIPConfig(
        **EYE, **TOWERS, embed=9, vocab=tokenizer.vocab_size, context=13, end=tokenizer.eos_id
    )
    CLIP(config).save_pretrained(folder / "clip")
    ImageProcessor.clip(size=EYE["image"]).save(folder / "clip")
    tokenizer.save(folder / "clip")
    noise = torch.randint(0, 256, (40, 30, 3), dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(folder / "noise.png")
    (folder / "words.png").write_text("no picture")
    return folder


def run(place, capsys, line):
    code = main([word.format(place=place) for word in ["explain", *line.split()]])
    said = capsys.readouterr()
    return code, said.out, said.err


def records(place, capsys, line):
    code, out, err = run(place, capsys, f"{line} --json")
    assert (code, err) == (0, "")
    return [json.loads(row) for row in out.splitlines()]


def test_a_picture_gives_a_drawing_and_its_largest_patches(place, capsys):
    (record,) = records(
        place, capsys, "{place}/noise.png --model {place}/vit --out {place}/a.png --top 3"
    )
    found = Explainer.from_folder(place / "vit").picture(place / "noise.png")
    assert (record["kind"], record["grid"], record["layers"]) == ("picture", [4, 2], [0, 1, 2])
    assert (record["head"], record["count"], len(record["top"])) == ("mean", 8, 3)
    best = record["top"][0]
    assert (best["row"], best["column"]) == found.top(1)[0][:2]
    assert best["share"] == pytest.approx(float(found.shares.max()), rel=1e-6)
    assert best["even"] == pytest.approx(8 * best["share"])
    assert (place / "a.png").read_bytes().startswith(b"\x89PNG")
    assert read_image(place / "a.png").tobytes() == found.draw().tobytes()
    assert not list(place.glob("*.partial"))


def test_a_text_gives_all_its_shares(place, capsys):
    line = (
        "--text house --model {place}/clip --out {place}/b.png --layers -1 0 --head max --token 1"
    )
    (record,) = records(place, capsys, line)
    found = Explainer.from_folder(place / "clip").text("house", layers=[0, 2], head="max", token=1)
    assert (record["kind"], record["text"], record["reader"]) == ("text", "house", 1)
    assert (record["layers"], record["head"]) == ([0, 2], "max")
    assert record["tokens"] == list(found.tokens)
    assert record["shares"] == pytest.approx(found.shares.tolist(), rel=1e-6)
    assert record["top"][0]["token"] == found.top(1)[0][1]
    assert read_image(place / "b.png").tobytes() == found.draw().tobytes()


def test_a_clip_explains_both_and_says_how_well_they_match(place, capsys):
    line = "{place}/noise.png --text house --model {place}/clip --out {place}/c.png --token 0"
    seen, read, match = records(place, capsys, line)
    explainer = Explainer.from_folder(place / "clip")
    picture, text = explainer.picture(place / "noise.png"), explainer.text("house", token=0)
    assert (seen["kind"], read["kind"], read["reader"]) == ("picture", "text", 0)
    cosine = explainer.match(place / "noise.png", "house")
    assert match == {"kind": "match", "cosine": pytest.approx(cosine, abs=1e-6)}
    above, drawn = picture.draw(), read_image(place / "c.png")
    assert drawn.size == (above.width, above.height + text.draw(width=above.width).height)


def test_people_get_a_table(place, capsys):
    line = "{place}/noise.png --model {place}/vit --out {place}/d.png --top 2 --layers 1"
    code, out, _ = run(place, capsys, line)
    head, columns, *rows = out.splitlines()
    assert code == 0
    assert head.startswith(f"{place}/d.png: ")
    assert head.endswith(" of 8 patches hold half of all (layer 1, mean of the heads)")
    assert columns.split() == ["share", "×", "even"]
    (row, column, share), _ = (
        Explainer.from_folder(place / "vit").picture(place / "noise.png", layers=1).top(2)
    )
    assert len(rows) == 2
    assert rows[0].split() == f"{share:.1%} {8 * share:.2f} row {row} column {column}".split()


def test_people_get_tokens_by_number(place, capsys):
    line = "--text house --model {place}/clip --out {place}/e.png --top 1"
    _, out, _ = run(place, capsys, line)
    ((number, token, share),) = Explainer.from_folder(place / "clip").text("house").top(1)
    head, _, row = out.splitlines()
    assert head.endswith("tokens hold half of all (3 layers, mean of the heads)")
    assert row.split()[0] == f"{share:.1%}"
    assert row.split()[2:] == [str(number), token]


REFUSED = {
    "nothing": ("--model {place}/vit --out x.png", "nothing to explain: give a picture, or --text"),
    "text-for-vit": ("--text a --model {place}/vit --out {place}/x.png", "reads no texts"),
    "no-picture": (
        "{place}/words.png --model {place}/vit --out {place}/x.png",
        "words.png is damaged",
    ),
    "no-file": (
        "{place}/none.png --model {place}/vit --out {place}/x.png",
        "none.png: No such file or directory",
    ),
    "no-folder": ("{place}/noise.png --model {place}/none --out {place}/x.png", "none"),
    "no-out": ("{place}/noise.png --model {place}/vit --out {place}/q/x.png", "there is no folder"),
    "not-png": ("{place}/noise.png --model {place}/vit --out {place}/x.jpg", "ends in .png"),
    "no-rows": (
        "{place}/noise.png --model {place}/vit --out {place}/x.png --top 0",
        "--top 0; expected 1 or more",
    ),
    "layer": (
        "{place}/noise.png --model {place}/vit --out {place}/x.png --layers 3",
        "layer 3; the blocks have numbers 0 to 2",
    ),
    "patch": (
        "{place}/noise.png --model {place}/vit --out {place}/x.png --token 8",
        "patch 8; there are 8 patches",
    ),
    "token": ("--text a --model {place}/clip --out {place}/x.png --token 5", "token 5; there are"),
    "head": ("--text a --model {place}/clip --out {place}/x.png --head sum", "invalid choice"),
}


@pytest.mark.parametrize(("line", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_mistake_is_one_line_and_writes_nothing(place, capsys, line, sentence):
    code, out, err = run(place, capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("zoo: error: ") and err.count("\n") == 1
    assert sentence in err
    assert not (place / "x.png").exists()

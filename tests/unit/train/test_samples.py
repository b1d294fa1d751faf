"""What a head learns from: rows cut, packed, moved and mixed as the config says, and adapters."""

import pytest
import torch

from unit.train.lesson import config_of, write_pictures, write_rows
from zoo.config import ConfigError
from zoo.data.mix import Mixed
from zoo.data.views import View
from zoo.train.course import add_adapters, prepare
from zoo.train.samples import length_of, make_samples, packed_texts, view_of
from zoo.train.world import World


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    found = {k: write_rows(place, k) for k in ("text", "labelled_text", "answers")}
    return found | {"pictures": write_pictures(place / "pictures")}


def course_of(config, folder):
    return prepare(config, folder, World())


@pytest.mark.parametrize(("length", "wanted"), [(None, 8), (8, 8), (5, 5)])
def test_a_row_is_as_long_as_is_asked_or_as_the_model_reads(length, wanted):
    assert length_of(config_of("gpt2", "x", data={"length": length}), 8) == wanted


def test_a_row_longer_than_the_model_reads_is_told():
    with pytest.raises(ConfigError, match=r"^data.length is 9; the model reads at most 8 tokens$"):
        length_of(config_of("gpt2", "x", data={"length": 9}), 8)


@pytest.mark.parametrize("length", [4, 8])
def test_windows_masks_and_labels_are_of_the_length_that_is_asked(files, tmp_path, length):
    kinds = {"gpt2 lm": "text", "bert masked_lm": "text", "gpt2 sequence": "labelled_text"}
    for number, (what, kind) in enumerate(kinds.items()):
        family, head = what.split()
        config = config_of(family, files[kind], model={"head": head}, data={"length": length})
        train = course_of(config, tmp_path / f"{number}").train
        chosen = torch.arange(2)
        batch = train.batch(chosen, torch.Generator().manual_seed(0), slice(0, 2))
        assert batch["input_ids"].shape[1] <= length
        if head != "sequence":
            assert batch["input_ids"].shape == (2, length)


def masks(files, folder, family, head, share):
    kind = "text" if family == "bert" else "pictures"
    config = config_of(family, files[kind], model={"head": head}, data={"masked": share})
    train = course_of(config, folder).train
    rows = torch.arange(len(train))
    return train.batch(rows, torch.Generator().manual_seed(3), slice(0, len(train)))


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_so_much_is_masked_as_the_config_says(files, tmp_path, share):
    """Of 4 patches 1 or 3 are hidden; of 64 tokens about as many as are asked, never all."""
    hidden = masks(files, tmp_path / "vit", "vit", "masked_image", share)["bool_masked_pos"]
    assert hidden.sum(1).tolist() == [round(4 * share)] * 9
    labels = masks(files, tmp_path / "bert", "bert", "masked_lm", share)["labels"]
    found = (labels != -100).double().mean().item()
    assert abs(found - share) < 0.2


def test_packed_texts_are_packed_once_and_again_when_damaged(files, tmp_path):
    course = course_of(config_of("gpt2", files["text"]), tmp_path)
    place = tmp_path / "tokens" / "train.bin"
    before, stamp = place.read_bytes(), place.stat().st_mtime_ns
    rows = course.rows.part("train")
    packed_texts(rows, course.tokenizer, place)
    assert place.stat().st_mtime_ns == stamp
    packed_texts(course.rows.part("valid"), course.tokenizer, place)
    assert place.read_bytes() != before
    packed_texts(rows, course.tokenizer, place)
    assert place.read_bytes() == before
    place.write_bytes(b"torn")
    packed_texts(rows, course.tokenizer, place)
    assert place.read_bytes() == before
    packed_texts(rows, course.tokenizer, tmp_path / "deep" / "er" / "train.bin")
    assert (tmp_path / "deep" / "er" / "train.bin").read_bytes() == before


NOTHING = {"turn": 0.0, "scale": 0.0, "shift": 0.0, "flip": False, "colour": 0.0}


@pytest.mark.parametrize(
    "moved",
    [{"turn": 3.0}, {"scale": 0.1}, {"shift": 0.2}, {"flip": True}, {"colour": 0.3}],
    ids=lambda moved: next(iter(moved)),
)
def test_pictures_are_moved_while_learning_and_as_the_config_says(moved):
    config = config_of("vit", "x", data=moved)
    assert view_of(config, True) == View(**NOTHING | moved)
    assert view_of(config, False) is None


def test_pictures_that_are_not_moved_have_no_view():
    assert view_of(config_of("vit", "x"), True) is None


def test_a_view_is_that_of_the_split_train_alone(files, tmp_path):
    for head in ("image", "masked_image"):
        config = config_of("vit", files["pictures"], model={"head": head}, data={"flip": True})
        made = course_of(config, tmp_path / head)
        moved = {}
        for split, samples in (("train", made.train), ("valid", made.valid)):
            pixels = [
                samples.batch(torch.arange(3), torch.Generator().manual_seed(n), slice(0, 3))
                for n in range(4)
            ]
            moved[split] = len({tuple(p["pixel_values"].flatten().tolist()) for p in pixels}) > 1
        assert moved == {"train": True, "valid": False}


@pytest.mark.parametrize("data", [{"mixup": 0.25}, {"cutmix": 0.5}, {"mixup": 0.25, "cutmix": 0.5}])
def test_pictures_are_mixed_in_the_split_train_alone(files, tmp_path, data):
    made = course_of(config_of("vit", files["pictures"], data=data), tmp_path)
    assert isinstance(made.train, Mixed) and not isinstance(made.valid, Mixed)
    found = {"mixup": made.train.mixup, "cutmix": made.train.cutmix}
    assert found == {"mixup": 0.0, "cutmix": 0.0} | data


@pytest.mark.parametrize("data", [{"mixup": 0.25}, {"cutmix": 0.5}])
def test_what_is_no_picture_with_a_class_is_not_mixed(files, tmp_path, data):
    course = course_of(config_of("gpt2", files["text"]), tmp_path)
    config = config_of("gpt2", files["text"], data=data)
    rows = course.rows.part("train")
    with pytest.raises(ConfigError, match=r"^data.mixup and data.cutmix are for the head image$"):
        make_samples(config, course, rows, "train", tmp_path, World())


def test_answers_are_drawn_anew_while_learning_alone(files, tmp_path):
    made = course_of(config_of("bert", files["answers"], model={"head": "span"}), tmp_path)
    assert (made.train.augment, made.valid.augment) == (True, False)


@pytest.mark.parametrize(
    ("head", "trained", "wanted"),
    [
        ("sequence", None, True),
        ("lm", None, False),
        ("sequence", [], False),
        ("lm", ["norm.*"], False),
    ],
)
def test_adapters_are_trained_beside_a_classifiers_head(files, tmp_path, head, trained, wanted):
    lora = {"rank": 2, "alpha": 3.0, "dropout": 0.25, "targets": ["*.attn.qkv"], "trained": trained}
    kind = "text" if head == "lm" else "labelled_text"
    config = config_of("gpt2", files[kind], model={"head": head}, lora=lora)
    model = course_of(config, tmp_path).model
    add_adapters(config, model)
    part = model.blocks[0].attn.qkv
    assert (part.down.shape[0], part.scale) == (2, 1.5)
    learnt = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(name.startswith("head.") for name in learnt) is wanted
    assert any(name.startswith("norm.") for name in learnt) is (trained == ["norm.*"])

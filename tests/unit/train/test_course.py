"""A course: rows, tokenizer, processor, model and samples of a config, and what does not fit."""

import dataclasses

import pytest
import torch

from unit.train.lesson import CONFIGS, TEXTS, config_of, write_pairs, write_pictures, write_rows
from zoo.config import ConfigError
from zoo.data import DataError, read
from zoo.data.order import seed_of
from zoo.models import MODELS
from zoo.nn.lora import LoRALinear
from zoo.tokenizers import Tokenizer
from zoo.train.course import prepare, spec_of, texts_of
from zoo.train.world import World

CLASSES = ("cat", "dog", "rain", "uncle")
# family and head -> (what writes the rows, samples, fields of the model's config, head, counts)
COURSES = {
    "gpt2": ("text", "Windows", {"classes": 2, "labels": None, "pad": None}, "lm", (8, 2)),
    "bert": ("text", "Masked", {"pad": 0, "labels": None}, "masked_lm", (4, 1)),
    "bert next_sentence": ("text", "SentencePairs", {"labels": None}, "next_sentence", (9, 3)),
    "bert sequence": (
        "labelled_text", "Labelled", {"classes": 4, "labels": CLASSES}, "sequence", (9, 3),
    ),
    "gpt2 sequence": (
        "labelled_text", "Labelled", {"classes": 4, "labels": CLASSES}, "sequence", (9, 3),
    ),
    "bert token": (
        "tagged_text", "Tagged", {"classes": 2, "labels": ("long", "short")}, "token", (9, 3),
    ),
    "bert span": ("answers", "Answers", {"labels": None}, "span", (9, 3)),
    "vit": (
        "pictures",
        "LabelledImages",
        {"classes": 3, "labels": ("class0", "class1", "class2"), "image": (8, 8), "patch": (4, 4)},
        "image",
        (9, 3),
    ),
    "vit masked_image": ("pictures", "MaskedImages", {"labels": None}, "masked_image", (9, 3)),
    "clip": ("pairs", "Pairs", {"image": (8, 8)}, "match", (9, 3)),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("files")
    found = {k: write_rows(place, k) for k in ("text", "labelled_text", "tagged_text", "answers")}
    return found | {
        "pictures": write_pictures(place / "pictures"),
        "grey": write_pictures(place / "grey", channels=1),
        "pairs": write_pairs(place / "pairs"),
    }


def spoken(tokenizer):
    """Give what tells two small vocabularies apart: how many tokens, and those of some texts."""
    return tokenizer.vocab_size, [tokenizer.encode(text) for text in TEXTS[::3]]


def course_of(config, folder):
    return prepare(config, folder, World())


@pytest.mark.parametrize("what", COURSES)
def test_a_course_is_made_of_its_rows(files, tmp_path, what):
    kind, samples, fields, head, counts = COURSES[what]
    family, _, named = what.partition(" ")
    config = config_of(family, files[kind], model={"head": named or None})
    made = course_of(config, tmp_path)
    assert (made.head, made.model.head_name, made.spec) == (head, head, MODELS[family])
    assert made.model.training
    found = dataclasses.asdict(made.model.config)
    assert {name: found[name] for name in fields} == fields
    given = {n: v for n, v in CONFIGS[family].items() if n not in ("image", "patch")}
    assert {name: found[name] for name in given} == given
    assert [type(part).__name__ for part in (made.train, made.valid)] == [samples] * 2
    assert (len(made.train), len(made.valid)) == counts
    assert (len(made.rows.part("train")), len(made.rows.part("valid"))) == (9, 3)
    assert (made.tokenizer is None) == (family == "vit")
    assert (made.processor is None) == (family not in ("vit", "clip"))
    if made.tokenizer is not None:
        assert found["vocab"] == made.tokenizer.vocab_size
        assert spoken(made.tokenizer) == spoken(Tokenizer.from_folder(tmp_path / "tokenizer"))
    if family == "clip":
        assert found["end"] == made.tokenizer.eos_id
    if made.processor is not None:
        assert made.processor.size == {"height": 8, "width": 8} or made.processor.crop_size == {
            "height": 8, "width": 8,
        }  # fmt: skip


def test_a_course_is_the_same_again_and_that_of_its_seed(files, tmp_path):
    """Whatever was drawn before; the tokenizer of the run is read and not trained anew."""
    config = config_of("gpt2", files["text"])
    first = course_of(config, tmp_path)
    stamp = (tmp_path / "tokenizer" / "tokenizer.json").stat().st_mtime_ns
    torch.rand(3)
    again = course_of(config, tmp_path)
    assert (tmp_path / "tokenizer" / "tokenizer.json").stat().st_mtime_ns == stamp
    one, two = first.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    torch.manual_seed(seed_of(5, 0))
    alone = MODELS["gpt2"].build(first.model.config, head="lm").state_dict()
    assert all(torch.equal(one[name], alone[name]) for name in one)
    other = course_of(config_of("gpt2", files["text"], train={"seed": 6}), tmp_path)
    assert not torch.equal(one["tokens.weight"], other.model.state_dict()["tokens.weight"])


def test_a_fresh_model_is_of_the_same_config_and_draws_from_nobody(files, tmp_path):
    config = config_of("gpt2", files["text"], lora={"rank": 2, "targets": ["*.mlp.up"]})
    made = course_of(config, tmp_path)
    state = torch.get_rng_state()
    fresh = made.fresh_model(config)
    assert torch.equal(torch.get_rng_state(), state)
    assert (fresh.config, fresh.head_name) == (made.model.config, "lm")
    assert isinstance(fresh.blocks[0].mlp.up, LoRALinear)
    assert not isinstance(fresh.blocks[0].attn.qkv, LoRALinear)
    plain = made.fresh_model(config_of("gpt2", files["text"]))
    assert not isinstance(plain.blocks[0].mlp.up, LoRALinear)


@pytest.mark.parametrize(
    ("what", "kind", "held"),
    [
        ("gpt2", "text", {"tokenizer.json"}),
        ("clip", "pairs", {"tokenizer.json", "preprocessor_config.json"}),
        ("vit", "pictures", {"preprocessor_config.json"}),
    ],
)
def test_what_a_model_is_used_with_is_written_beside_it(files, tmp_path, what, kind, held):
    made = course_of(config_of(what, files[kind]), tmp_path / "run")
    (tmp_path / "model").mkdir()
    made.save_assets(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names & {"tokenizer.json", "preprocessor_config.json"} == held


def test_rows_that_name_no_split_are_split_and_the_end_of_one_text_is_kept_back(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(f"{text}." for text in TEXTS))
    made = course_of(config_of("gpt2", path, data={"valid": 0.25}), tmp_path / "run")
    assert len(made.rows.part("valid")) == 1
    whole = course_of(config_of("gpt2", path, data={"valid": 0.0}), tmp_path / "whole")
    assert (len(whole.rows.part("valid")), whole.valid) == (0, None)
    lines = config_of("gpt2", path, data={"valid": 0.25, "lines": True})
    assert len(course_of(lines, tmp_path / "lines").rows) == len(TEXTS)


def test_copies_of_two_splits_are_learnt_from_where_that_is_asked(tmp_path):
    path = write_rows(tmp_path, "text")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[3].replace("valid", "train")]))
    counts = {}
    for together in (False, True):
        config = config_of("gpt2", path, data={"together": together})
        rows = course_of(config, tmp_path / str(together)).rows
        counts[together] = (len(rows.part("train")), len(rows.part("valid")))
    assert counts[False] == (10, 3)
    assert counts[True] == (11, 2)


def test_columns_labels_and_groups_are_the_configs(tmp_path):
    path = tmp_path / "rows.csv"
    rows = "".join(f"{t},{t.split()[1]},{i // 2}\n" for i, t in enumerate(TEXTS))
    path.write_text(f"body,kind,author\n{rows}")
    data = {
        "columns": {"text": "body", "label": "kind"},
        "labels": ["uncle", "rain", "dog", "cat"],
        "valid": 0.5,
        "group": "author",
    }
    config = config_of("bert", path, data=data, model={"head": "sequence"})
    made = course_of(config, tmp_path / "run")
    assert made.model.config.labels == made.rows.labels == ("uncle", "rain", "dog", "cat")
    authors = {text: i // 2 for i, text in enumerate(TEXTS)}
    parts = [{authors[t] for t in made.rows.part(n).frame["text"]} for n in ("train", "valid")]
    assert parts[0] and parts[1] and not parts[0] & parts[1]


def test_grey_pictures_of_a_model_of_one_channel_have_a_mean_of_a_half(files, tmp_path):
    config = CONFIGS["vit"] | {"channels": 1}
    made = course_of(config_of("vit", files["grey"], model={"config": config}), tmp_path)
    found = made.processor
    assert (found.size, found.image_mean, found.image_std) == (
        {"height": 8, "width": 8}, (0.5,), (0.5,),
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(files, tmp_path_factory):
    """Write a small checkpoint of each of two families, with what it is used with."""
    place = tmp_path_factory.mktemp("base")
    for family, kind in (("gpt2", "labelled_text"), ("vit", "pictures")):
        head = "sequence" if family == "gpt2" else "image"
        config = config_of(family, files[kind], model={"head": head})
        made = course_of(config, place / "run" / family)
        made.model.save_pretrained(place / family)
        made.save_assets(place / family)
    return place


def test_a_base_gives_its_family_weights_tokenizer_and_takes_a_new_head(files, base, tmp_path):
    model = {"base": str(base / "gpt2"), "family": None, "config": {}, "head": "token"}
    made = course_of(config_of("gpt2", files["tagged_text"], model=model), tmp_path)
    found = made.model.config
    assert (found.labels, found.classes) == (("long", "short"), 2)
    assert made.model.training and made.model.head_name == "token"
    assert spoken(made.tokenizer) == spoken(Tokenizer.from_folder(base / "gpt2"))
    assert not (tmp_path / "tokenizer").exists()
    old = MODELS["gpt2"].build.from_pretrained(base / "gpt2", head="sequence")
    assert torch.equal(made.model.tokens.weight, old.tokens.weight)


def test_a_base_keeps_its_settings_for_pictures(files, base, tmp_path):
    path = base / "vit" / "preprocessor_config.json"
    path.write_text(path.read_text().replace("0.5", "0.25"))
    model = {"base": str(base / "vit"), "family": "vit", "config": {}, "head": "image"}
    made = course_of(config_of("vit", files["pictures"], model=model), tmp_path)
    assert made.processor.image_mean == (0.25,) * 3
    path.write_text(path.read_text().replace("0.25", "0.5"))


def test_a_tokenizer_may_be_named(files, base, tmp_path):
    data = {"tokenizer": str(base / "gpt2"), "vocab": 9}
    made = course_of(config_of("gpt2", files["text"], data=data), tmp_path)
    assert spoken(made.tokenizer) == spoken(Tokenizer.from_folder(base / "gpt2"))


def test_a_preset_gives_sizes_that_the_config_changes(files, tmp_path):
    model = {"preset": "gpt2-tiny", "family": None, "config": {"depth": 2}}
    config = config_of("gpt2", files["text"], model=model, data={"length": 6})
    found = course_of(config, tmp_path).model.config
    preset = MODELS["gpt2"].presets["gpt2-tiny"]
    assert (found.depth, found.width, found.heads) == (2, preset.width, preset.heads)


REFUSED = {
    "no data": ("text", {"data": {"files": []}}, ConfigError, r"no data: name .* \(text\)"),
    "no family": ("text", {"model": {"family": None}}, ConfigError, "^no model: give model.family"),
    "an unknown family": (
        "text", {"model": {"family": "gpt3"}}, ConfigError, "'gpt3'; did you mean gpt2",
    ),
    "two families": (
        "text",
        {"model": {"preset": "bert-tiny"}},
        ConfigError,
        "model.family is 'gpt2', and bert-tiny a bert",
    ),
    "a head that is not trained": (
        "text",
        {"model": {"head": "features"}},
        ConfigError,
        r"model.head is 'features'; gpt2 is trained with one of \['lm', 'sequence', 'token'\]",
    ),
    "a head of another family": (
        "text", {"model": {"head": "image"}}, ConfigError, "model.head is 'image'; gpt2 is",
    ),
    "an unknown size": (
        "text",
        {"model": {"config": {"wdth": 8}}},
        ConfigError,
        r"^no key model.config.wdth in a gpt2; did you mean width\?$",
    ),
    "a size of another type": (
        "text", {"model": {"config": {"width": "x"}}}, ConfigError, "^model.config.width is 'x'",
    ),
    "sizes that do not fit": (
        "text",
        {"model": {"config": CONFIGS["gpt2"] | {"heads": 3}}},
        ConfigError,
        "^model.config: ",
    ),
    "rows of another kind": (
        "text", {"model": {"head": "sequence"}}, DataError, "label",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_config_that_makes_no_course_is_told(files, tmp_path, what):
    kind, sections, error, sentence = REFUSED[what]
    with pytest.raises(error, match=sentence):
        course_of(config_of("gpt2", files[kind], **sections), tmp_path)


def test_rows_of_which_none_is_learnt_from_are_told(tmp_path):
    path = write_rows(tmp_path, "text")
    path.write_text(path.read_text().replace('"train"', '"valid"'))
    with pytest.raises(DataError, match="no row is to learn from: none is in the split train"):
        course_of(config_of("gpt2", path), tmp_path)


def test_a_base_has_its_own_sizes(files, base, tmp_path):
    model = {"base": str(base / "gpt2"), "config": {"width": 9}}
    with pytest.raises(ConfigError, match=r"model.config \{'width': 9\} cannot change a base"):
        course_of(config_of("gpt2", files["text"], model=model), tmp_path)


@pytest.mark.parametrize(
    ("model", "family"),
    [({"family": "vit"}, "vit"), ({"family": None, "preset": "clip-tiny"}, "clip")],
)
def test_a_family_is_named_or_that_of_a_preset(model, family):
    assert spec_of(config_of("gpt2", "x", model=model), None) is MODELS[family]


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("text", 12 * ["text"]),
        ("answers", 12 * ["question"] + 12 * ["context"]),
        ("tagged_text", 12 * ["tokens"]),
        ("pairs", 12 * ["text"]),  # captions
    ],
)
def test_a_tokenizer_learns_from_every_text(files, kind, texts):
    found = texts_of(read((files[kind],), kind))
    wanted = {"text": TEXTS, "question": ["who"] * 12, "context": TEXTS, "tokens": TEXTS}
    assert sorted(found) == sorted(t for n in dict.fromkeys(texts) for t in wanted[n])

"""probe.json is data from outside: whatever is strange about it is a CheckpointError."""

import json

import pytest
import torch

from unit.models.probed import edit, folder_of
from zoo.checkpoint import CheckpointError
from zoo.models import MODELS, load, write_probe
from zoo.models.probe_file import FORMS

STRANGE = {
    "nothing": None,
    "a number": 7,
    "a text": "x",
    "a list": [],
    "a table": {},
    "true": True,
    "below nothing": -1,
    "a huge number": 10**400,
    "a list of lists": [[[]]],
    "a table of lists": {"a": [[1]]},
    "a deep table": {"a": {"b": {"c": {"d": {}}}}},
}
# what is welcome after all: no tokenizer, no settings, nothing kept of a kind
WELCOME = {
    ("head", "nothing"), ("head", "a text"), ("family", "a text"),
    ("tokenizer", "nothing"), ("pixels", "nothing"),
    ("config", "a table"), ("tensors", "a table"), ("answers", "a table"), ("inputs", "a table"),
}  # fmt: skip
PARTS = [
    pytest.param(name, value, id=f"{name}-{what}".replace(" ", "-"))
    for name in FORMS
    for what, value in STRANGE.items()
    if (name, what) not in WELCOME
]


@pytest.fixture
def folder(tmp_path, tmp_path_factory):
    return folder_of(tmp_path, tmp_path_factory, "clip")


@pytest.mark.parametrize(("name", "value"), PARTS)
def test_a_part_of_another_form_is_named(folder, name, value):
    edit("probe.json", **{name: value})(folder)
    sentence = (
        rf"probe.json: {name} is .*; write_probe\(folder\) writes a new one, "
        r"load\(\.\.\., probe=False\) reads without"
    )
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)
    load(folder, probe=False)


@pytest.mark.parametrize("name", FORMS)
def test_a_part_that_is_missing_is_named(folder, name):
    found = json.loads((folder / "probe.json").read_text())
    del found[name]
    (folder / "probe.json").write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match=rf"probe.json( has no {name}|: format is 'None')"):
        load(folder)


def places(value, path=()):
    """Yield the path of every value in a probe, but of long lists only the first entries."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2])
    for key, part in inner:
        yield (*path, str(key))
        if isinstance(part, dict | list):
            yield from places(part, (*path, str(key)))


@pytest.mark.parametrize("family", sorted(MODELS))
@pytest.mark.parametrize("what", STRANGE, ids=[n.replace(" ", "-") for n in STRANGE])
def test_a_strange_value_anywhere_is_an_error_of_ours_or_none(
    tmp_path, tmp_path_factory, family, what
):
    folder = folder_of(tmp_path, tmp_path_factory, family)
    text = (folder / "probe.json").read_text()
    paths = [path for path in places(json.loads(text)) if path[0] != "tensors"]
    refused = 0
    for path in paths[:: 1 + len(paths) // 12]:
        edit("probe.json", **{"__".join(path): STRANGE[what]})(folder)
        try:
            load(folder)
        except CheckpointError:
            refused += 1
        (folder / "probe.json").write_text(text)
    assert refused > 3
    load(folder)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not valid JSON"),
        ("[]", "holds a list, not a JSON object"),
        ("{}", "format is 'None'; known is 'zoo probe 1'"),
        ('{"format": "zoo probe 2"}', "format is 'zoo probe 2'; known is"),
        ('{"format": NaN}', "NaN is not a JSON number"),
        ('{"format": 1e999}', "1e999 is out of range"),
        ('{"a": 1, "a": 2}', "stands there twice"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested too deeply"),
        ('{"format": "\\ud800"}', "half a character"),
        ('{"a": "' + "x" * 9_000_000 + '"}', "is larger than"),
    ],
    ids=["empty", "list", "bare", "later", "nan", "inf", "twice", "deep", "half", "huge"],
)
def test_what_is_no_probe_is_said(folder, text, sentence):
    (folder / "probe.json").write_text(text)
    with pytest.raises(CheckpointError, match=sentence):
        load(folder)


def test_a_link_that_leads_out_is_refused(tmp_path, folder):
    (tmp_path / "outside.json").write_text((folder / "probe.json").read_text())
    (folder / "probe.json").unlink()
    (folder / "probe.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(CheckpointError, match="leads out of its folder"):
        load(folder)
    write_probe(folder)  # in the place of the link, not through it
    assert not (folder / "probe.json").is_symlink()
    load(folder)


def test_a_folder_in_the_place_of_a_probe_is_said(folder):
    (folder / "probe.json").unlink()
    (folder / "probe.json").mkdir()
    for act in (load, write_probe, load(folder, probe=False).save_pretrained):
        with pytest.raises(CheckpointError, match=r"probe\.json"):
            act(folder)


def test_the_largest_numbers_are_compared_and_larger_ones_refused(folder):
    output = "answers__exact__output__"
    edit("probe.json", **{output + "tolerance": 1e299, output + "values__0": 1e299})(folder)
    load(folder)
    load(folder, dtype=torch.float64)
    edit("probe.json", **{output + "tolerance": 1e300})(folder)
    with pytest.raises(CheckpointError, match=r"probe\.json: answers is not what a probe keeps"):
        load(folder)

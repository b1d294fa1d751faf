"""The model card: what is known is said, what is not is not, and any text comes out as text."""

import json
import re

import pytest
import yaml

from zoo.models import MODELS
from zoo.train.card import DOES, FAMILIES, LIMITS, PIPELINES, card, many, number, plain, write_card

FACTS = {
    "name": "gpt2-python",
    "says": "Reaches a loss of 3.3.",
    "family": "gpt2",
    "head": "lm",
    "parameters": 1_234_567,
    "config": {
        "name": "gpt2-python",
        "data": {"files": ["/home/someone/a.txt", "b.txt"], "folder": "/secret", "valid": 0.1},
        "optimizer": {"rate": 4e-4, "frozen": []},
        "model": {"base": None, "recompute": False},
    },
    "data": {
        "name": "python-reference",
        "version": "sha256:abc",
        "rows": {"train": 57, "valid": 5},
    },
    "metrics": {"loss": 3.2134567, "perplexity": 24.8649},
    "seconds": 345.4,
    "steps": 1000,
    "seed": 7,
    "versions": {"zoo": "0.1.0", "torch": "2.13.0+cpu"},
    "published": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"},
}


def front_of(text):
    """Read the front matter with a YAML of others."""
    start, matter, rest = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter), rest


def section(text, name):
    """Give the lines under a heading."""
    return text.split(f"## {name}\n", 1)[1].split("\n## ")[0]


def rows_of(text, name):
    """Read the table under a heading: first column -> the others."""
    cells = [
        re.split(r"(?<!\\) \| ", line[2:-2])
        for line in section(text, name).splitlines()
        if line.startswith("|")
    ]
    return {row[0]: row[1:] for row in cells[2:]}


def test_the_hub_reads_what_it_is():
    matter, _ = front_of(card(FACTS))
    assert matter == {
        "license": "unknown",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["zoo", "gpt2", "lm"],
        "datasets": ["python-reference"],
        "metrics": ["loss", "perplexity"],
    }


def test_a_reader_learns_what_it_is_in_a_sentence():
    text = card(FACTS)
    assert "\n# gpt2-python\n" in text
    assert (
        "A GPT-2 of 1.23 million parameters that continues a text, trained for 1,000 steps, "
        "5:45 minutes, seed 7.\n\nReaches a loss of 3.3.\n" in text
    )


def test_the_tables_hold_the_facts():
    text = card(FACTS)
    assert rows_of(text, "Results") == {"loss": ["3.213"], "perplexity": ["24.86"]}
    assert rows_of(text, "Data") == {
        "name": ["python-reference"],
        "version": ["sha256:abc"],
        "rows, train": ["57"],
        "rows, valid": ["5"],
    }
    assert rows_of(text, "Settings") == {
        "data.files": ["a.txt, b.txt"],  # and not where they lay
        "data.valid": ["0.1"],
        "optimizer.rate": ["0.0004"],
        "optimizer.frozen": ["none"],
        "model.base": ["none"],
        "model.recompute": ["false"],
    }
    assert "someone" not in text and "secret" not in text
    assert "Versions: zoo 0.1.0, torch 2.13.0+cpu." in text
    assert all(f"- {line}" in section(text, "Limits") for line in LIMITS)


def test_metrics_of_several_splits_have_a_column_each():
    text = card(FACTS | {"metrics": {"valid": {"loss": 1.5}, "test": {"loss": 2, "f1": 0.25}}})
    assert rows_of(text, "Results") == {"loss": ["1.5", "2"], "f1": ["", "0.25"]}
    assert "| metric | valid | test |" in text


@pytest.mark.parametrize(
    ("published", "library", "said"),
    [
        ({"architectures": ["ViTModel"], "model_type": "vit"}, "transformers", "import ViTModel"),
        ({"architectures": ["X"], "model_type": "zoo_vit"}, "zoo", "transformers has no class"),
        ({"model_type": "vit"}, "zoo", "transformers has no class"),
        ({"architectures": ["X; y()"], "model_type": "vit"}, "zoo", "transformers has no class"),
        (None, "zoo", 'model = zoo.load("path/to/this/folder")'),
    ],
    ids=["published", "our-own-type", "no-class", "no-name", "not-known"],
)
def test_how_it_is_loaded_depends_on_what_it_is(published, library, said):
    text = card(FACTS | {"published": published})
    assert front_of(text)[0]["library_name"] == library
    assert said in section(text, "Use")
    assert ("from transformers" in text) == (library == "transformers")


def test_nothing_known_is_still_a_card():
    matter, text = front_of(card({}))
    assert matter == {"license": "unknown", "library_name": "zoo", "tags": ["zoo"]}
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == ["# model", "## Use", "## Limits"]
    assert "None" not in text and "\n\n\n" not in text


NASTY = [
    "a | b",
    "*bold* _it_ `code` [x](y) <b> #",
    "two\nlines\r\n---\nlicense: mit",
    'quote " and \\ back',
    "ü 日本 \U0001f600",
    "\x00\x07\x7f\x85\u2028\ufeff\ufffe",
    "{{ jinja }} $x$ & !x",
    "",
    "- item",
    "key: value # comment",
]


@pytest.mark.parametrize("text", NASTY, ids=[f"text{i}" for i in range(len(NASTY))])
def test_any_text_is_shown_as_text_and_read_back_by_the_hub(text, tmp_path):
    facts = FACTS | {
        "name": text,
        "says": text,
        "license": text,
        "data": {"name": text},
        "metrics": {text or "x": 1.0},
        "config": {"a": text},
    }
    path = write_card(tmp_path, facts)
    matter, rest = front_of(path.read_bytes().decode("utf-8").replace("\r", ""))
    assert matter["license"] == text
    assert matter.get("datasets", [""]) == [text]
    assert matter["metrics"] == [text or "x"]
    assert re.findall(r"^#+ \w+", rest, re.MULTILINE)[-4:] == [
        *(["## Data"] if text else ["## Results"]),
        "## Settings",
        "## Use",
        "## Limits",
    ]
    assert rows_of(rest, "Settings").keys() == {"a"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a|b", r"a\|b"),
        ("[x](y)", r"\[x\](y)"),
        ("<b>_*`#", r"\<b\>\_\*\`\#"),
        ("two\n lines ", "two lines"),
        (None, "none"),
        (True, "true"),
        (0.1, "0.1"),
        ((), "none"),
        ((1, "a_b"), r"1, a\_b"),
    ],
    ids=[f"value{i}" for i in range(9)],
)
def test_a_cell_is_one_line_without_markup(value, shown):
    assert plain(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.2134567, "3.213"),
        (0.00012345, "0.0001234"),
        (7, "7"),
        (float("nan"), "not a number"),
        (None, ""),
        (1.0, "1"),
    ],
)
def test_a_metric_has_four_digits(value, shown):
    assert number(value) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (12_345, "12,345"), (999_999, "999,999"), (1_000_000, "1 million")],
)
def test_a_count_is_read_at_a_glance(count, shown):
    assert many(count) == shown


def test_a_card_lies_beside_the_weights_and_knows_its_neighbours(tmp_path):
    facts = {key: value for key, value in FACTS.items() if key != "published"}
    (tmp_path / "config.json").write_text(json.dumps(FACTS["published"]))
    (tmp_path / "README.md").write_text("an older card")
    assert "curves.png" not in write_card(tmp_path, facts).read_text()
    (tmp_path / "curves.png").write_bytes(b"")
    path = write_card(tmp_path, facts)
    assert path == tmp_path / "README.md"
    assert path.read_text() == card(FACTS | {"curves": "curves.png"})
    assert "![Curves of the training](curves.png)" in path.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "curves.png"]


def test_half_a_character_is_written_as_a_question_mark(tmp_path):
    assert "\n# a?b\n" in write_card(tmp_path, {"name": "a\ud800b"}).read_text(encoding="utf-8")


def test_every_family_and_head_is_known_by_name():
    heads = {head for spec in MODELS.values() for head in spec.heads}
    assert MODELS.keys() == FAMILIES.keys()
    assert DOES.keys() <= heads and PIPELINES.keys() <= heads | {"features"}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.4, "0:00 minutes"),
        (59.6, "1:00 minutes"),
        (3599.4, "59:59 minutes"),
        (3599.6, "1:00:00 hours"),
        (3600, "1:00:00 hours"),
        (7325, "2:02:05 hours"),
    ],
)
def test_a_time_has_its_unit(seconds, told):
    assert f"trained for {told}." in card({"name": "a", "seconds": seconds})

"""The model card: a README.md beside the weights, in Hugging Face's form.

    front matter in YAML, then what it is, how well it does, what it learnt from, with which
    settings, how to load it, and where it ends

Facts come as a dict, and what is not in it is not said:

    name, says, family, head, parameters, steps, seconds, seed, license
    config      nested: the run's own
    data        name, version, rows (split -> count), source, license
    metrics     name -> number, or split -> name -> number
    versions    package -> version
    curves      the file of the curves, beside the card
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from zoo.checkpoint.write import synchronise, write_new
from zoo.train.log import PARTIAL
from zoo.train.progress import hours

FILE = "README.md"
CURVES = "curves.png"
HIDDEN = ("data.folder", "says", "name")  # of the config: said elsewhere, or of one machine alone

FAMILIES = {"bert": "BERT", "clip": "CLIP", "gpt2": "GPT-2", "vit": "ViT"}
# head -> Hugging Face's name of the task
PIPELINES = {
    "features": "feature-extraction",
    "image": "image-classification",
    "lm": "text-generation",
    "masked_lm": "fill-mask",
    "match": "zero-shot-image-classification",
    "multiple_choice": "multiple-choice",
    "sequence": "text-classification",
    "span": "question-answering",
    "token": "token-classification",
}
# head -> what the model does
DOES = {
    "image": "says which class a picture is of",
    "lm": "continues a text",
    "masked_image": "draws the hidden patches of a picture",
    "masked_lm": "fills in the masked tokens of a text",
    "match": "finds texts for pictures and pictures for texts",
    "multiple_choice": "chooses among answers",
    "next_sentence": "says whether a sentence follows another",
    "sequence": "says which class a text is of",
    "span": "finds the answer to a question in a text",
    "token": "says which class each token of a text is of",
}
LIMITS = (
    "What it was never shown it does not know: rows of another origin, language or time than those "
    "it learnt from may be answered worse than the numbers above say, and no warning is given.",
    "The numbers were measured on rows kept back from the same data, once, with one seed; another "
    "seed moves them.",
    "It was not examined for bias, for safety, or for text or pictures that it may repeat from its "
    "data.",
)


def write_card(folder: str | Path, facts: Mapping[str, Any]) -> Path:
    """Write README.md into a model's folder, whole or not at all; give where it is.

    The folder's config.json tells whether transformers loads it, and curves.png there is shown.
    Raises OSError when it cannot be written.
    """
    folder = Path(folder)
    known = dict(facts)
    if (folder / CURVES).is_file():
        known.setdefault("curves", CURVES)
    published = folder / "config.json"
    if published.is_file():
        known.setdefault("published", json.loads(published.read_text(encoding="utf-8")))
    path = folder / FILE
    draft = path.with_name(path.name + PARTIAL)
    draft.unlink(missing_ok=True)
    try:
        # half a character, which no file can hold, becomes a question mark
        write_new(draft, card(known).encode("utf-8", errors="replace"))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    synchronise(folder)
    return path


def card(facts: Mapping[str, Any]) -> str:
    """Give the card's text."""
    parts = [
        "\n".join(["---", *front(facts), "---"]),
        f"# {plain(facts.get('name', 'model'))}",
        *about(facts),
        *measured(facts),
        *learnt_from(facts),
        *settings(facts),
        *loading(facts),
        "## Limits",
        "\n".join(f"- {line}" for line in LIMITS),
    ]
    return "\n\n".join(parts) + "\n"


def front(facts: Mapping[str, Any]) -> Iterator[str]:
    """Give the lines of the YAML that the Hub reads."""
    head, data, metrics = facts.get("head"), facts.get("data") or {}, tables(facts)
    yield f"license: {quoted(facts.get('license', 'unknown'))}"
    yield f"library_name: {'transformers' if architecture(facts) else 'zoo'}"
    if head in PIPELINES:
        yield f"pipeline_tag: {PIPELINES[head]}"
    yield "tags:"
    yield from (f"- {quoted(tag)}" for tag in ("zoo", facts.get("family"), head) if tag)
    if data.get("name"):
        yield "datasets:"
        yield f"- {quoted(data['name'])}"
    names = list(dict.fromkeys(name for table in metrics.values() for name in table))
    if names:
        yield "metrics:"
        yield from (f"- {quoted(name)}" for name in names)


def about(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say in a sentence what it is, and what its recipe says of it."""
    family, head, count = facts.get("family"), facts.get("head"), facts.get("parameters")
    said = f"A {plain(FAMILIES.get(family, family))}" if family else "A model"
    if count is not None:
        said += f" of {many(count)} parameters"
    if head in DOES:
        said += f" that {DOES[head]}"
    taught = []
    if facts.get("steps") is not None:
        taught.append(f"{facts['steps']:,} steps")
    if facts.get("seconds") is not None:
        unit = "hours" if round(facts["seconds"]) >= 3600 else "minutes"
        taught.append(f"{hours(facts['seconds'])} {unit}")
    if facts.get("seed") is not None:
        taught.append(f"seed {facts['seed']}")
    yield said + (f", trained for {', '.join(taught)}." if taught else ".")
    if facts.get("says"):
        yield plain(facts["says"])


def measured(facts: Mapping[str, Any]) -> Iterator[str]:
    """Give the metrics, a column a split, and the curves."""
    metrics = tables(facts)
    names = list(dict.fromkeys(name for table in metrics.values() for name in table))
    if names:
        yield "## Results"
        rows = [[name, *(number(t.get(name)) for t in metrics.values())] for name in names]
        yield table(["metric", *metrics], rows)
    if facts.get("curves"):
        yield f"![Curves of the training]({quote(facts['curves'])})"


def learnt_from(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say which data it was."""
    data = facts.get("data") or {}
    told = [[key, data[key]] for key in ("name", "version", "source", "license") if data.get(key)]
    rows = [[f"rows, {split}", many(count)] for split, count in (data.get("rows") or {}).items()]
    if told or rows:
        yield "## Data"
        yield table(["", ""], told + rows)


def settings(facts: Mapping[str, Any]) -> Iterator[str]:
    """Give the run's config and the versions of what it ran on."""
    rows = [[k, v] for k, v in flat(facts.get("config") or {}) if k not in HIDDEN]
    if rows:
        yield "## Settings"
        yield table(["key", "value"], rows)
    versions = facts.get("versions") or {}
    if versions:
        yield "Versions: " + ", ".join(f"{plain(k)} {plain(v)}" for k, v in versions.items()) + "."


def loading(facts: Mapping[str, Any]) -> Iterator[str]:
    """Show how to load it, here and in transformers."""
    yield "## Use"
    yield '```python\nimport zoo\n\nmodel = zoo.load("path/to/this/folder")\n```'
    name = architecture(facts)
    if name:
        yield (
            f"```python\nfrom transformers import {name}\n\n"
            f'model = {name}.from_pretrained("path/to/this/folder")\n```'
        )
    elif facts.get("published"):
        yield "transformers has no class that computes the same."


def architecture(facts: Mapping[str, Any]) -> str | None:
    """Give the class of transformers that reads the folder, if one computes the same."""
    published = facts.get("published") or {}
    names = published.get("architectures") or []
    if str(published.get("model_type", "zoo_")).startswith("zoo_") or not names:
        return None
    return names[0] if re.fullmatch(r"[A-Za-z]\w*", str(names[0])) else None


def tables(facts: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Give the metrics of each split; what names no split is of the rows kept back."""
    metrics = facts.get("metrics") or {}
    flat_ones = {name: value for name, value in metrics.items() if not isinstance(value, Mapping)}
    split = {name: value for name, value in metrics.items() if isinstance(value, Mapping)}
    return ({"validation": flat_ones} if flat_ones else {}) | split


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give the settings by the names that `--set` knows; an empty part says nothing."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write a Markdown table."""
    lines = [[plain(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(value: Any) -> str:
    """Write a value so that Markdown shows it as it is, on one line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    text = str(value)
    if isinstance(value, str) and Path(text).is_absolute():  # where it lay is nobody's business
        text = Path(text).name
    return re.sub(r"([\\`*_{}\[\]<>#|~$&!])", r"\\\1", " ".join(text.split()))


def quoted(text: Any) -> str:
    """Write a text as YAML's double-quoted form, which takes any."""
    return "".join(
        c if c == " " or c.isprintable() else f"\\U{ord(c):08X}"
        for c in json.dumps(str(text), ensure_ascii=False)
    )


def number(value: Any) -> str:
    """Write a metric with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "not a number"
    return "" if value is None else str(value)


def many(count: int) -> str:
    """Write a count: 12,345 or 1.24 million."""
    return f"{count / 1e6:.3g} million" if count >= 1e6 else f"{count:,}"

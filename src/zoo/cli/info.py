"""Say what a checkpoint folder or a preset is; without a name, which presets there are.

zoo info gpt2-xl
zoo info FOLDER
zoo info minilm --json
"""

import argparse
from pathlib import Path
from typing import Any

from zoo.cli.common import emit

BYTES = {"float32": 4, "bfloat16": 2}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a folder, minilm, a preset, or a hub name")


def run(args: argparse.Namespace) -> None:
    from zoo.models import MODELS
    from zoo.tasks import find

    presets = {name: spec for spec in MODELS.values() for name in spec.presets}
    if args.name is None:
        for name, spec in presets.items():
            record = of_preset(spec, name)
            emit(args, record, f"{name:<20} {spec.name:<6} {record['parameters']:>14,} parameters")
    elif args.name in presets and not Path(args.name).is_dir():
        show(args, of_preset(presets[args.name], args.name))
    else:
        show(args, of_folder(find(args.name)))


def of_preset(spec: Any, name: str) -> dict[str, Any]:
    """Describe a preset; its weights are never made."""
    import torch

    with torch.device("meta"):
        # the size that papers state: the encoder with its pooler, the decoder with a tied head
        model = spec.build(spec.presets[name], head=None)
    return {"name": name, **of_model(model), "heads": [head or "none" for head in spec.heads]}


def of_folder(folder: Path) -> dict[str, Any]:
    """Read a checkpoint and say what was read."""
    from zoo.models import load
    from zoo.tokenizers import Tokenizer

    model = load(folder)
    report = model.report
    assert report is not None
    record = {
        "name": str(folder),
        **of_model(model),
        "head": model.head_name or "none",
        "heads": [head or "none" for head in model.spec.heads],
        "stored": list(report.dtypes),
        "tensors": report.read,
        "unread": list(report.unread),
    }
    try:
        record["tokenizer"] = f"{Tokenizer.from_folder(folder).vocab_size} tokens"
    except (ValueError, ImportError) as error:
        record["tokenizer"] = f"none: {error}"
    return record


def of_model(model: Any) -> dict[str, Any]:
    config = model.config
    count = model.parameter_count()
    return {
        "family": model.spec.name,
        "parameters": count,
        "bytes": {dtype: size * count for dtype, size in BYTES.items()},
        "training_bytes": 16 * count,  # float32 weights, gradients and AdamW's two moments
        "cache_bytes_a_token": (
            2 * 4 * config.depth * config.width if hasattr(model, "new_cache") else None
        ),
        "config": {
            name: value for name, value in vars(config).items() if name not in ("labels", "pad")
        },
    }


def show(args: argparse.Namespace, record: dict[str, Any]) -> None:
    sizes = ", ".join(f"{size / 2**20:,.1f} MiB {dtype}" for dtype, size in record["bytes"].items())
    cache = record["cache_bytes_a_token"]
    training = f"{record['training_bytes'] / 2**20:,.1f} MiB in float32 with AdamW"
    lines = {
        "family": record["family"],
        "parameters": f"{record['parameters']:,}",
        "weights": sizes,
        "training": training + ", activations apart",
        "cache": f"{cache / 2**10:,.1f} KiB a token (float32)" if cache else None,
        "config": ", ".join(f"{name} {value}" for name, value in record["config"].items()),
        "head": record.get("head"),
        "heads": ", ".join(record["heads"]),
        "stored": ", ".join(record.get("stored", ())),
        "tensors": record.get("tensors"),
        "unread": ", ".join(record.get("unread", ())),
        "tokenizer": record.get("tokenizer"),
    }
    text = "\n".join(f"  {name:<11} {value}" for name, value in lines.items() if value)
    emit(args, record, f"{record['name']}\n{text}")

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
# the head with which papers count parameters; of others the encoder with its pooler, the decoder
# with a tied head
COUNTED = {"clip": "match", "vit": "image"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a folder, minilm, a preset, or a hub name")


def run(args: argparse.Namespace) -> None:
    from zoo.models import MODELS
    from zoo.tasks import find

    presets = {name: spec for spec in MODELS.values() for name in spec.presets}
    if args.name is None:
        for name, spec in presets.items():
            record = of_preset(spec, name)
            emit(args, record, f"{name:<22} {spec.name:<5} {record['parameters']:>14,} parameters")
    elif args.name in presets and not Path(args.name).is_dir():
        show(args, of_preset(presets[args.name], args.name))
    else:
        show(args, of_folder(find(args.name)))


def of_preset(spec: Any, name: str) -> dict[str, Any]:
    """Describe a preset; its weights are never made."""
    import torch

    with torch.device("meta"):
        model = spec.build(spec.presets[name], head=COUNTED.get(spec.name))
    return {"name": name, **of_model(model), "heads": [head or "none" for head in spec.heads]}


def of_folder(folder: Path) -> dict[str, Any]:
    """Read a checkpoint and say what was read."""
    from zoo.models import load
    from zoo.tokenizers import Tokenizer

    model = load(folder, probe=False)
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
        "probe": probe_of(folder, model),
    }
    if record["image"] is not None:
        record["pixels"] = pixels_of(folder)
    if record["family"] == "vit":
        return record
    try:
        record["tokenizer"] = f"{Tokenizer.from_folder(folder).vocab_size} tokens"
    except (ValueError, ImportError) as error:
        record["tokenizer"] = f"none: {error}"
    return record


def probe_of(folder: Path, model: Any) -> str:
    """Say whether the folder still answers as it did when its probe was made."""
    from zoo.models import CheckpointError, check_probe

    if not (folder / "probe.json").exists():
        return f"none: zoo convert --probe {folder} makes one"
    try:
        return f"holds, of {', '.join(check_probe(folder, model))}"
    except CheckpointError as error:
        return f"does not hold: {error}"


def pixels_of(folder: Path) -> str:
    """Say how a folder's settings make pixels of a picture."""
    try:
        from zoo.images import ImageProcessor

        made = ImageProcessor.from_folder(folder)
    except (ValueError, ImportError) as error:
        return f"none: {error}"
    steps = [
        f"resize to {sides(made.size)}" if made.do_resize else "",
        f"cut out {sides(made.crop_size)}" if made.do_center_crop else "",
        f"mean {rounded(made.image_mean)}, deviation {rounded(made.image_std)}"
        if made.do_normalize
        else "not normalised",
    ]
    return ", ".join(step for step in steps if step)


def sides(size: dict[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {side}" for name, side in size.items())


def rounded(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.4g}" for number in numbers)


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
        "image": image_of(config) if hasattr(config, "patch") else None,
        "config": {
            name: value for name, value in vars(config).items() if name not in ("labels", "pad")
        },
    }


def image_of(config: Any) -> dict[str, Any]:
    """Say what a model sees at once."""
    (high, wide), (down, across) = config.image, config.grid
    return {"height": high, "width": wide, "patch": list(config.patch), "patches": down * across}


def seen(image: dict[str, Any] | None) -> str | None:
    if image is None:
        return None
    patch = " x ".join(map(str, image["patch"]))
    size = f"{image['height']} x {image['width']} pixels"
    return f"{size}, {image['patches']} patches of {patch}"


def towers(config: dict[str, Any]) -> str | None:
    """Lay the two towers of a CLIP side by side."""
    if "image_width" not in config:
        return None
    parts = [
        f"{tower}: width {config[f'{tower}_width']}, depth {config[f'{tower}_depth']}, "
        f"heads {config[f'{tower}_heads']}"
        for tower in ("image", "text")
    ]
    return f"{'; '.join(parts)}; both to {config['embed']}"


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
        "image": seen(record["image"]),
        "towers": towers(record["config"]),
        "config": ", ".join(f"{name} {value}" for name, value in record["config"].items()),
        "head": record.get("head"),
        "heads": ", ".join(record["heads"]),
        "stored": ", ".join(record.get("stored", ())),
        "tensors": record.get("tensors"),
        "unread": ", ".join(record.get("unread", ())),
        "pixels": record.get("pixels"),
        "tokenizer": record.get("tokenizer"),
        "probe": record.get("probe"),
    }
    text = "\n".join(f"  {name:<11} {value}" for name, value in lines.items() if value)
    emit(args, record, f"{record['name']}\n{text}")

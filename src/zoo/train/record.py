"""RUN/run.json: what a run was begun with, so that it goes on with the same or not at all."""

import json
import os
import platform
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo import __version__
from zoo.config import ConfigError
from zoo.train.config import RunConfig, differences
from zoo.train.settings import as_table, from_table

FORMAT = "zoo run 1"
NAME = "run.json"


def read_record(folder: Path) -> dict[str, Any] | None:
    """Give what a run was begun with, None where no run is; raise ConfigError for what is none."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ConfigError(f"{path} is not a run's: expected format {FORMAT!r}; give another --out")
    return record


def check_config(folder: Path, config: RunConfig) -> None:
    """Raise ConfigError unless the run in `folder`, if there is one, was begun with this config."""
    record = read_record(folder)
    if record is None:
        strange = sorted(p.name for p in folder.glob("[!.]*") if p.name != "lock")
        if strange:
            raise ConfigError(
                f"{folder} holds {', '.join(strange[:3])} and no {NAME}: it is no run; "
                "give another --out"
            )
        return
    begun = as_table(from_table(RunConfig, record["config"]))  # keys that are newer have defaults
    changed = differences(begun, as_table(config))
    if changed:
        told = ", ".join(f"{key} was {old!r} and is {new!r}" for key, (old, new) in changed.items())
        raise ConfigError(
            f"the run in {folder} was begun otherwise: {told}. Give the same values to go on with "
            "it, or another --out"
        )


def known_data(folder: Path, version: str) -> dict[str, Any] | None:
    """Give what the run in `folder` noted about the rows of this version."""
    record = read_record(folder)
    data = None if record is None else record["data"]
    return data if data is not None and data["version"] == version else None


def check_data(folder: Path, version: str) -> None:
    """Raise ConfigError when the run in `folder` learnt from other rows than these."""
    record = read_record(folder)
    begun = None if record is None or record["data"] is None else record["data"]["version"]
    if begun not in (None, version):
        raise ConfigError(
            f"the run in {folder} learnt from data {begun}, and these are "
            f"{version}: the files have changed. Give the same files, or another --out"
        )


def write_record(
    folder: Path, config: RunConfig, data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write run.json whole or not at all; what an earlier start wrote keeps data and versions."""
    earlier = read_record(folder)
    if data is None and earlier is not None:
        data = earlier["data"]
    record = {
        "format": FORMAT,
        "config": as_table(config),
        "data": None if data is None else dict(data),
        "versions": versions() if earlier is None else earlier["versions"],
    }
    write_json(folder / NAME, record)
    return record


def versions() -> dict[str, Any]:
    """Say what the numbers of a run may depend on beside its config."""
    return {
        "zoo": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Put a JSON file in place: the old one or the new one is there, whatever happens."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(beside, "x", encoding="utf-8") as file:
            json.dump(table, file, indent=2, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)

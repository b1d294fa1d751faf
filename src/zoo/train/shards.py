"""A folder of safetensors that many processes write and read together, each its own share.

torch.distributed.checkpoint plans and reshards; its own metadata file would be a pickle, so the
files are written by its HuggingFaceStorageWriter, which keeps each share's place in the header.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def write_shards(folder: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this process's share into an existing folder, files fsynced; all processes call.

    A DTensor's share is its own rows; a plain tensor is taken to be the same everywhere and is
    written once. Writes *.safetensors only. Raises CheckpointError when it cannot.
    """
    raise NotImplementedError


def read_shards(folder: str | Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors, DTensors of any sharding too, from a folder; all processes call.

    Files without shares (`write_folder`'s) are read too. Raises CheckpointError that says which
    name is absent or of another shape or dtype, and then nothing has changed.
    """
    raise NotImplementedError

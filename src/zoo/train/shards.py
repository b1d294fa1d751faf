"""A folder of safetensors that many processes write and read together, each its own share.

torch.distributed.checkpoint plans and reshards. Its own metadata file would be a pickle, so the
files are those of its HuggingFaceStorageWriter, which keeps each share's place in a file's header.
Its reader takes what it finds; that every row of every tensor is there once is checked here.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor

from zoo.checkpoint import CheckpointError

PATTERN = "*.safetensors"
SHOWN = 8  # names in one message


def write_shards(folder: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write this process's share into a folder without weights, files fsynced; all must call.

    A DTensor's share is its own rows; a plain tensor is taken to be the same everywhere and is
    written once. Writes *.safetensors only. Raises CheckpointError in every process when one of
    them cannot write.
    """
    from torch.distributed.checkpoint import state_dict_saver
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    folder = Path(folder)
    old = sorted(folder.glob(PATTERN))
    # nobody has written yet: the engine makes no file before all processes have sent their plans
    if old:
        raise CheckpointError(
            f"{folder} already holds {old[0].name}: shares of two saves must not mix; write into "
            "a fresh folder and rename it"
        )
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    held = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with told(folder, "write"):
        state_dict_saver.save(held, storage_writer=writer, no_dist=not together())


def read_shards(folder: str | Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors, DTensors of any sharding too, from a folder; all processes must call.

    Files without shares (`write_folder`'s) are read too. Raises CheckpointError that says which
    name is absent, incomplete or of another shape or dtype, and then nothing has changed.
    """
    from torch.distributed.checkpoint import state_dict_loader
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    folder = Path(folder)
    reader = HuggingFaceStorageReader(str(folder))
    with told(folder, "read"):
        stored = reader.read_metadata()
    check_stored(folder, stored.state_dict_metadata, into)
    # the engine would read every header again
    vars(reader)["read_metadata"] = lambda: stored
    with told(folder, "read"):
        state_dict_loader.load(dict(into), storage_reader=reader, no_dist=not together())


def together() -> bool:
    return dist.is_available() and dist.is_initialized()


def check_stored(folder: Path, stored: Mapping[str, Any], into: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError unless the folder holds each wanted tensor once and whole."""
    absent = sorted(into.keys() - stored.keys())
    if absent:
        raise CheckpointError(f"{folder} has no {', '.join(absent[:SHOWN])}")
    for name, wanted in into.items():
        found = stored[name]
        shape, dtype = tuple(found.size), found.properties.dtype
        if shape != tuple(wanted.shape) or dtype != wanted.dtype:
            raise CheckpointError(
                f"{folder}: {name} is {dtype} {shape}; expected {wanted.dtype} "
                f"{tuple(wanted.shape)}"
            )
        check_rows(f"{folder}: {name}", found.chunks, shape or (1,))


def check_rows(what: str, chunks: Sequence[Any], shape: tuple[int, ...]) -> None:
    """Raise CheckpointError unless shares of rows follow each other from the first to the last."""
    places = sorted(  # a scalar is one row
        ((*chunk.offsets,) or (0,), (*chunk.sizes,) or (1,)) for chunk in chunks
    )
    end = 0
    for start, size in places:
        if 0 in size:
            continue  # more processes than rows
        if start != (end, *[0] * (len(shape) - 1)) or size[1:] != shape[1:]:
            break
        end += size[0]
    else:
        if end == shape[0] or 0 in shape:
            return
    raise CheckpointError(
        f"{what} goes wrong at row {end} of {shape[0]}: a share is missing, or shares of two saves "
        "are mixed"
    )


def _told(folder: Path, act: str) -> Iterator[None]:
    from torch.distributed.checkpoint.api import CheckpointException  # which is no Exception

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as we said ourselves
        try:
            yield
        except CheckpointException as error:
            rank, (cause, _) = min(error.failures.items())
            raise CheckpointError(f"cannot {act} {folder}: process {rank}: {said(cause)}") from None
        except Exception as error:  # the file formats' own kinds: header, JSON, name
            raise CheckpointError(f"cannot {act} {folder}: {said(error)}") from None


told = contextmanager(_told)


def said(error: BaseException) -> str:
    """Give one line of an error, with its kind where it says little without."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, OSError) else f"{type(error).__name__}: {text}"

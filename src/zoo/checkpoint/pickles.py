"""Pickles: nanoGPT's ckpt.pt and states of CLIP and ViT, only ever by `zoo convert --unpickle`.

torch's restricted unpickler builds tensors and plain values and nothing else; what comes out is
checked again here. Nothing that unfolds is taken: neither compressed entries nor tensors that claim
more elements than they bring bytes.
"""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoint.errors import CheckpointError

WRAPPED = "_orig_mod."  # torch.compile's name for the module that it wraps


def read_nanogpt(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give `model_args` and the tensors of `model`; raise CheckpointError for anything else."""
    return nanogpt_of(Path(path), unpickle(Path(path)))


def nanogpt_of(path: Path, content: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give the arguments and tensors of what `unpickle` found at `path`."""
    if not isinstance(content, dict) or not {"model", "model_args"} <= content.keys():
        raise CheckpointError(f"{path} is not nanoGPT's: it needs 'model' and 'model_args'")
    arguments, state = content["model_args"], content["model"]
    if not isinstance(arguments, dict) or not all(
        isinstance(k, str) and isinstance(v, bool | int | float) for k, v in arguments.items()
    ):
        raise CheckpointError(f"{path}: model_args is not a table of numbers")
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and is_plain(v) for k, v in state.items()
    ):
        raise CheckpointError(f"{path}: model is not a table of floating point tensors")
    tensors = {name.removeprefix(WRAPPED): tensor.detach() for name, tensor in state.items()}
    if len(tensors) != len(state):
        raise CheckpointError(f"{path}: model holds a name both with and without {WRAPPED!r}")
    return dict(arguments), tensors


def state_of(path: Path, content: Any) -> dict[str, Tensor]:
    """Give the tensors of an unpickled state, also of one that `model` or `state_dict` holds.

    Raises CheckpointError for anything else. Names lose the `module.` of a parallel wrapper.
    """
    for name in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(
        isinstance(k, str) and (is_plain(v) or is_number(v)) for k, v in content.items()
    ):
        raise CheckpointError(f"{path} is not a table of floating point tensors")
    return {name.removeprefix("module."): v.detach() for name, v in content.items() if is_plain(v)}


def is_number(value: Any) -> bool:
    """Tell whether this is a single whole number, as OpenAI's archives carry sizes."""
    return type(value) is Tensor and value.ndim == 0 and not value.is_floating_point()


def unpickle(path: Path) -> Any:
    """Read what torch's restricted unpickler is willing to."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        with zipfile.ZipFile(path) as archive:
            if any("/code/" in i.filename for i in archive.infolist()):
                raise CheckpointError(
                    f"{path} is a TorchScript archive, which holds code that is not run here; "
                    "where you trust it, save its tensors: "
                    "torch.save(torch.jit.load(path).state_dict(), 'model.pt')"
                )
            packed = [i for i in archive.infolist() if i.compress_type != zipfile.ZIP_STORED]
        if not packed:
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # bytes of anybody's making: whatever is said, it is one error
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{path} cannot be read as tensors: {said[0][:200]}") from None
    raise CheckpointError(f"{path} holds compressed entries, which torch.save does not write")


def is_plain(value: Any) -> bool:
    """Tell whether this is a dense floating point tensor that brings all of its data."""
    return (
        type(value) in (Tensor, nn.Parameter)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.is_floating_point()
        and value.nbytes <= value.untyped_storage().nbytes()
    )

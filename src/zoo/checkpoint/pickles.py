"""nanoGPT's ckpt.pt, the one pickle that is ever read, and only by `zoo convert --unpickle`.

torch's restricted unpickler builds tensors and plain values and nothing else; what comes out is
checked again here.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.errors import CheckpointError


def read_nanogpt(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give `model_args` and the tensors of `model`; raise CheckpointError for anything else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of anybody's making: whatever torch says, it is one error
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{path} cannot be read as tensors: {said[0][:200]}") from None
    if not isinstance(content, dict) or not {"model", "model_args"} <= content.keys():
        raise CheckpointError(f"{path} is not nanoGPT's: it needs 'model' and 'model_args'")
    arguments, state = content["model_args"], content["model"]
    if not isinstance(arguments, dict) or not all(
        isinstance(k, str) and isinstance(v, bool | int | float) for k, v in arguments.items()
    ):
        raise CheckpointError(f"{path}: model_args is not a table of numbers")
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) and v.is_floating_point()
        for k, v in state.items()
    ):
        raise CheckpointError(f"{path}: model is not a table of floating point tensors")
    # torch.compile's name for a wrapped module
    return arguments, {name.removeprefix("_orig_mod."): t.detach() for name, t in state.items()}

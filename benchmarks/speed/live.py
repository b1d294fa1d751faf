"""Count the bytes of tensors that operations make and that live at the same time.

What lived before is not counted, nor is what a kernel takes and gives back inside itself; the
figure is the same in every run, other than the resident set of a process.
"""

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Inside `with Live() as live`, `live.peak` is the most bytes that lived at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = storages((args, kwargs))
        out = func(*args, **(kwargs or {}))
        self.sizes = {ref: size for ref, size in self.sizes.items() if not ref.expired()}
        for ref, size in storages(out).items():
            if ref in self.sizes or ref not in given:  # not a view of, or in place on, older ones
                self.sizes[ref] = size
        self.peak = max(self.peak, self.now)
        return out

    @property
    def now(self) -> int:
        """Bytes that live at this moment."""
        return sum(size for ref, size in self.sizes.items() if not ref.expired())


def storages(values: Any) -> dict[StorageWeakRef, int]:
    """Give the storages of all tensors among the values, with their bytes."""
    result = {}
    for x in tree_leaves(values):
        if isinstance(x, Tensor) and x.layout == torch.strided:
            storage = x.untyped_storage()
            result[StorageWeakRef(storage)] = storage.nbytes()
    return result

"""Elements of parameters whose gradient is not the slope by design: padding rows of embeddings."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.testing.stress import Bench


class Tables(TorchFunctionMode):
    """A block that notes which rows of which tables are read as padding, renormed or scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, tuple[Tensor, list[int]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and look at its arguments if it reads a table."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "embedding":
            self.note(args, kwargs, ("input", "weight", "padding_idx", "max_norm"))
        elif name == "embedding_bag":
            self.note(args, kwargs, ("input", "weight"))
        return func(*args, **kwargs)

    def note(self, args: Any, kwargs: Any, names: tuple[str, ...]) -> None:
        """Keep the table and the rows that get no gradient; -1 stands for all of them."""
        given = dict(zip(names, args, strict=False)) | kwargs
        table, row = given.get("weight"), given.get("padding_idx")
        if not isinstance(table, Tensor) or not table.is_floating_point():
            return
        rows = self.rows.setdefault(id(table), (table, []))[1]
        if given.get("max_norm") is not None or given.get("scale_grad_by_freq"):
            rows.extend(range(table.shape[0]))
        elif isinstance(row, int):
            rows.append(row)


def blocked_rows(bench: Bench, batch: Any) -> tuple[dict[int, Tensor], Any]:
    """Give, by id, the elements of parameters that no direction may move; and a run's output."""
    tables = Tables()
    with tables:
        output = bench.run(batch)
    blocked: dict[int, Tensor] = {}
    for part in bench.module.modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            rows = tables.rows.setdefault(id(part.weight), (part.weight, []))[1]
            if part.max_norm is not None or part.scale_grad_by_freq:
                rows.extend(range(part.num_embeddings))
            elif part.padding_idx is not None:
                rows.append(part.padding_idx)
    for key, (table, rows) in tables.rows.items():
        if rows and table.dim():
            stays = torch.zeros(table.shape, dtype=torch.bool, device=table.device)
            stays[torch.tensor(sorted(set(rows)))] = True
            blocked[key] = stays
    return blocked, output

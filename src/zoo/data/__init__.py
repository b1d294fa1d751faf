"""Data: from files to batches (the extra `train`).

Importing this loads nothing heavy: a public name is imported when it is first asked for, so that
orders, loaders and packed windows need torch and numpy alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.data.errors import DataError
    from zoo.data.kinds import KINDS, Kind
    from zoo.data.reader import from_frame, read
    from zoo.data.rows import Rows

# public name -> the file it lives in
PUBLIC = {
    "KINDS": "zoo.data.kinds",
    "DataError": "zoo.data.errors",
    "Kind": "zoo.data.kinds",
    "Rows": "zoo.data.rows",
    "from_frame": "zoo.data.reader",
    "read": "zoo.data.reader",
}

__all__ = [
    "KINDS",
    "DataError",
    "Kind",
    "Rows",
    "from_frame",
    "read",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'zoo.data' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Data: from files to batches (the extra `train`).

Importing this loads nothing heavy: a public name is imported when it is first asked for, so that
orders, loaders and packed windows need torch and numpy alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.data.check import inspect, read_reference
    from zoo.data.errors import DataError
    from zoo.data.findings import Finding, Report
    from zoo.data.kinds import KINDS, Kind
    from zoo.data.loader import Loader
    from zoo.data.order import Order
    from zoo.data.pack import Packed
    from zoo.data.reader import from_frame, read
    from zoo.data.rows import Rows

# public name -> the file it lives in
PUBLIC = {
    "DataError": "zoo.data.errors",
    "Finding": "zoo.data.findings",
    "KINDS": "zoo.data.kinds",
    "Kind": "zoo.data.kinds",
    "Loader": "zoo.data.loader",
    "Order": "zoo.data.order",
    "Packed": "zoo.data.pack",
    "Report": "zoo.data.findings",
    "Rows": "zoo.data.rows",
    "from_frame": "zoo.data.reader",
    "inspect": "zoo.data.check",
    "read": "zoo.data.reader",
    "read_reference": "zoo.data.check",
}

__all__ = [
    "KINDS",
    "DataError",
    "Finding",
    "Kind",
    "Loader",
    "Order",
    "Packed",
    "Report",
    "Rows",
    "from_frame",
    "inspect",
    "read",
    "read_reference",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'zoo.data' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

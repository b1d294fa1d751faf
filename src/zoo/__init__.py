"""Four transformers you can trust, and the kit that proves it.

Importing zoo loads nothing heavy: a public name is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zoo.models import (
        BERT,
        CLIP,
        GPT2,
        BERTConfig,
        CLIPConfig,
        GPT2Config,
        ViT,
        ViTConfig,
        load,
    )

# public name -> the room it lives in
PUBLIC = {
    "BERT": "zoo.models",
    "BERTConfig": "zoo.models",
    "CLIP": "zoo.models",
    "CLIPConfig": "zoo.models",
    "GPT2": "zoo.models",
    "GPT2Config": "zoo.models",
    "ViT": "zoo.models",
    "ViTConfig": "zoo.models",
    "load": "zoo.models",
}

__all__ = [
    "BERT",
    "CLIP",
    "GPT2",
    "BERTConfig",
    "CLIPConfig",
    "GPT2Config",
    "ViT",
    "ViTConfig",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

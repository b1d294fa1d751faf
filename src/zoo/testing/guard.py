"""Leave no trace: the process's settings are put back, and a module's every bit can be hashed."""

import hashlib
import os
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn


def seed_all(seed: int) -> None:
    """Seed torch, Python and, where it is loaded, numpy."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # manual_seed would write a traceback down for every backend that is not there: 2 ms
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def settings() -> dict[str, Any]:
    """Give the process-wide settings that a model could change, as plain values."""
    return {
        "default dtype": torch.get_default_dtype(),
        "grad mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "deterministic warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "working folder": os.getcwd(),
        "attention fast path": torch.backends.mha.get_fastpath_enabled(),
    }


def put_back(old: Mapping[str, Any]) -> None:
    """Set every setting to what `settings` gave."""
    torch.set_default_dtype(old["default dtype"])
    torch.set_grad_enabled(old["grad mode"])
    if torch.get_num_threads() != old["threads"]:
        torch.set_num_threads(old["threads"])
    deterministic = old["deterministic algorithms"], old["deterministic warn only"]
    now = settings()
    if deterministic != (now["deterministic algorithms"], now["deterministic warn only"]):
        # setting it, even to what it is, imports the compiler: seconds
        torch.use_deterministic_algorithms(deterministic[0], warn_only=deterministic[1])
    torch.autograd.set_detect_anomaly(old["anomaly mode"])
    torch.set_float32_matmul_precision(old["float32 matmul precision"])
    torch.backends.cudnn.benchmark = old["cudnn benchmark"]
    torch.backends.cudnn.deterministic = old["cudnn deterministic"]
    torch.backends.mha.set_fastpath_enabled(old["attention fast path"])
    if os.getcwd() != old["working folder"]:
        os.chdir(old["working folder"])


def generators() -> dict[str, Any]:
    """Give the state of every random generator that is loaded."""
    found: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        found["numpy"] = sys.modules["numpy"].random.get_state()
    return found


def put_generators_back(old: Mapping[str, Any]) -> None:
    """Set every random generator to what `generators` gave."""
    torch.set_rng_state(old["torch"])
    random.setstate(old["python"])
    if "cuda" in old:
        torch.cuda.set_rng_state_all(old["cuda"])
    if "numpy" in old:
        sys.modules["numpy"].random.set_state(old["numpy"])


class Untouched:
    """A block after which generators and settings stand as they stood, whatever happens in it.

    Inside, gradients are on, warnings are quiet, and generators are seeded.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.settings, self.generators = settings(), generators()
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.simplefilter("ignore")
        torch.set_grad_enabled(True)
        torch.backends.mha.set_fastpath_enabled(False)
        seed_all(self.seed)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.warnings.__exit__(kind, error, trace)
        put_generators_back(self.generators)
        put_back(self.settings)


class DefaultDtype:
    """A block in which new tensors have a dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __enter__(self) -> None:
        self.old = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(self.old)


def fingerprint(module: nn.Module) -> str:
    """Hash all that a module is: tensors by name, flags, gradients, hooks, plain attributes."""
    digest = hashlib.sha256()
    for name, part in module.named_modules():
        digest.update(f"{name} {type(part).__qualname__} {part.training}".encode())
        for key, value in sorted(vars(part).items()):
            if key.startswith("_") and key.endswith("_hooks"):
                digest.update(f"{key} {len(value)}".encode())
            elif not key.startswith("_"):
                for piece in described(value):
                    digest.update(f"{key} ".encode() + piece)
        for key, tensor in (*part._parameters.items(), *part._buffers.items()):
            digest.update(key.encode())
            for piece in described(tensor):
                digest.update(piece)
            if tensor is not None and tensor.is_leaf:
                for piece in described(tensor.grad):
                    digest.update(b"grad " + piece)
    return digest.hexdigest()


def described(value: Any, depth: int = 0) -> Iterator[bytes]:
    """Give bytes that change when a plain value or a tensor does."""
    if isinstance(value, Tensor):
        lazy = nn.parameter.is_lazy(value)
        shape = None if lazy else tuple(value.shape)
        head = f"{value.dtype} {shape} {value.device} {value.requires_grad} "
        if value.device.type == "meta" or lazy:
            yield head.encode()
        else:
            flat = value.detach().to_dense() if value.layout != torch.strided else value.detach()
            yield head.encode() + raw(flat)
    elif isinstance(value, bool | int | float | str | bytes | None.__class__):
        yield repr(value).encode()
    elif isinstance(value, Mapping) and depth < 3:
        for key, item in value.items():
            yield repr(key).encode()
            yield from described(item, depth + 1)
    elif isinstance(value, list | tuple) and depth < 3:
        yield str(len(value)).encode()
        for item in value:
            yield from described(item, depth + 1)


def raw(tensor: Tensor) -> bytes:
    """Give a dense tensor's bytes."""
    flat = tensor.resolve_conj().resolve_neg().contiguous().reshape(-1).cpu()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""

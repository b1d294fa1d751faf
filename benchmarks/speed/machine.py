"""What a figure was measured on: processor, threads, versions, commit, load."""

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "transformers", "ctranslate2", "onnxruntime", "tokenizers", "pillow")
SETTINGS = ("OMP_", "MKL_", "MALLOC_", "KMP_", "GOMP_", "ONEDNN_", "DNNL_", "LD_PRELOAD", "TORCH")
BUSY = 0.5  # of the processors, before anything is measured


def facts(threads: int) -> dict[str, Any]:
    """Describe this machine and this checkout."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := version_of(name))},
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith(SETTINGS)},
        "load": load(),
        **commit(),
    }


def processor() -> str:
    """Name the processor, and the extensions of it that products use."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return platform.processor() or platform.machine()
    fields = dict(
        (part.strip() for part in line.split(":", 1))
        for line in file.read_text().splitlines()
        if ":" in line
    )
    flags = {*fields.get("flags", "").split()}
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    return " ".join(
        [fields.get("model name", platform.machine()), *(f for f in known if f in flags)]
    )


def version_of(package: str) -> str | None:
    """Give a package's version, None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def load() -> float:
    """Processes that want a processor, in the mean over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def commit() -> dict[str, Any]:
    """Say which commit this is, when it was made, and whether files differ from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {
        "commit": git("rev-parse", "--short", "HEAD"),
        "date": git("log", "-1", "--format=%cI"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no", "src")),
    }


def warning(threads: int) -> str | None:
    """Say so when others are using this machine."""
    busy, cores = load(), os.cpu_count() or 1
    if busy + threads <= cores or busy < BUSY:
        return None
    return (
        f"load {busy:.1f} on {cores} cores before anything was measured: others compute here; "
        "ratios and processor seconds suffer little, wall time much"
    )


def forget_peak() -> None:
    """Let `peak_rss` count from what is resident now, where the system can and may (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_rss() -> int:
    """Bytes of the largest resident set that this process has had.

    On Linux of its own memory: what getrusage tells there is at least what its parent had.
    """
    file = Path("/proc/self/status")
    if file.is_file():
        (line,) = [x for x in file.read_text().splitlines() if x.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024

"""Compute the set of results under several settings of one machine: `settings_child FOLDER NAME...`

Libraries choose their kernels once, at the first call. So all is imported once, nothing is
computed, and a forked child for each setting sets it and computes.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path

import torch

from integration import results
from zoo_pytest.deterministic import settle_torch

# name -> threads, the capability that torch must then have (None: whatever it has), environment
SETTINGS = {
    "plain": (1, None, {}),
    "again": (1, None, {}),
    "two threads": (2, None, {}),
    "default kernels": (1, "DEFAULT", {"ATEN_CPU_CAPABILITY": "default"}),
    "avx2 kernels": (1, "AVX2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    "older libraries": (
        1,
        None,
        {"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    ),
}
LAZY = ("torch._dynamo", "torch._inductor.config", "numpy.random", "tokenizers")  # 2 s, paid once


def long_sums():
    """Give what hangs on the number of threads: long sums, and rows that are added up."""
    for count in (30_000, 40_000):
        x = results.direction(torch.empty(count))
        yield results.Result(f"long/sum of {count}", x.sum(), 2 * count, 1.0)
    x = results.direction(torch.empty(64, 128)).requires_grad_()
    w = torch.ones(128, requires_grad=True)
    y = torch.nn.functional.layer_norm(x, (128,), w, torch.zeros(128))
    dx, dw = torch.autograd.grad((y * results.direction(y)).sum(), (x, w))
    yield results.Result("long/layer_norm forward", y, 2 * 2 * 128, results.largest(y))
    yield results.Result("long/layer_norm input's gradient", dx, 2 * 3 * 128, 1.0)
    yield results.Result("long/layer_norm weight's gradient", dw, 2 * 64, 64.0)


def compute(name: str, file: Path) -> None:
    """Set one setting, compute, and write values and bounds."""
    threads, capability, environment = SETTINGS[name]
    os.environ.update(environment)
    settle_torch()
    torch.set_num_threads(threads)
    if capability is not None:
        assert torch.backends.cpu.get_cpu_capability() == capability
    found = {r.name: r for make in (*results.groups().values(), long_sums) for r in make()}
    values = {name: (r.value.detach().clone(), r.bound()) for name, r in found.items()}
    torch.save(values, file)


def forked(name: str, file: Path) -> int:
    """Compute in a forked child; give its exit code."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        compute(name, file)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main(folder: str, *names: str) -> int:
    """Compute all that is asked for."""
    for name in LAZY:
        importlib.import_module(name)
    return max(forked(name, Path(folder, f"{name}.pt")) for name in names)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

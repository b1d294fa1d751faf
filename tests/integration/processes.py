"""Several fresh processes that find each other as torchrun's do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch.distributed as dist

TESTS = Path(__file__).parents[1]
PATH = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
SETTINGS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": PATH}


def run(folder, module, call, world=2, seconds=300.0):
    """Run `call` of a module under tests/ in `world` processes; fail with what one says.

    The meeting place is a store of this process on a port that is free, as torchrun's agent's is.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    code = f"import torch, {module} as t; torch.set_num_threads(1); t.{call}"
    started = []
    for rank in range(world):
        env = os.environ | SETTINGS | environment(rank, world, store.port)
        with Path(folder, f"rank{rank}.err").open("w") as said:
            process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=said)
        started.append(process)
    wait(started, time.monotonic() + seconds)
    said = [Path(folder, f"rank{rank}.err").read_text() for rank in range(world)]
    failed = [f"rank {r}:\n{text}" for r, text in enumerate(said) if started[r].returncode]
    assert not failed, "\n".join(failed)


def environment(rank, world, port):
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def wait(started, end):
    """Wait for all to end; when one fails or time is up, end those that would wait for it."""
    while any(process.poll() is None for process in started):
        if any(process.returncode for process in started) or time.monotonic() > end:
            time.sleep(2.0)  # the others may have something to say too
            for process in started:
                process.kill()
        time.sleep(0.05)
    for process in started:
        process.wait()

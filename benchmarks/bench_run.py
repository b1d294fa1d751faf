"""What a step of `zoo train` costs beside a bare PyTorch loop: loader, log and all, interleaved.

    python benchmarks/bench_run.py [--threads 2] [--rounds 40] [--each 5] [--json FILE]

Both train a GPT-2 (width 128, depth 4, 128 tokens, 8 rows) on Python's language reference. The bare
loop holds all windows in memory and does no more than it must: index, zero_grad, loss, backward,
clip, a look at the loss, fused AdamW. Ours reads packed windows through the loader, seeds the
step, and writes a log line every ten steps. A round times `each` steps of both, in turn; the
ratio is ours over the loop's, and 1.02 is two per cent more. Memory is the peak of live tensors
above what lay there before, in a process of its own for each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from zoo.objectives import next_token
from zoo.train import make_optimizer
from zoo.train.config import RunConfig
from zoo.train.run import begin, take
from zoo.train.settings import from_table
from zoo.train.shown import Shown, units
from zoo.train.world import World

RATE = 1e-3
TABLE = {
    "data": {"source": "python-reference", "vocab": 1536, "check": False},
    "model": {
        "family": "gpt2",
        "config": {"context": 128, "width": 128, "depth": 4, "heads": 4}
        | {"dropout": 0.0, "attention_dropout": 0.0},
    },
    "optimizer": {"rate": RATE, "shape": "constant"},
    "train": {"steps": 10**6, "batch": 8},
}


def ours(folder):
    """Give a run, and a function that takes its next step as `follow` does."""
    folder = Path(folder)
    folder.mkdir(parents=True)
    run = begin(from_table(RunConfig, TABLE), folder, World(), fallback=False)
    show = Shown(run, quiet=True).__enter__()

    def step():
        number = run.state.step
        share = next(run.loader)
        result, rate = take(run, share)
        run.state.step = number + 1
        run.seen += units(share.micros, run.course.train.unit)
        show.step(number, result, rate)

    return run, step


def bare(run):
    """Give a step of a loop by hand, over a copy of the run's model and its windows in memory."""
    model = run.course.fresh_model(run.config)
    optimizer = make_optimizer(model, RATE)
    ids = torch.from_numpy(run.course.train.packed.ids.astype("int64"))
    windows = ids[: len(ids) // 128 * 128].view(-1, 128)
    order = torch.randperm(len(windows))
    place = 0

    def step():
        nonlocal place
        batch = {"input_ids": windows[order[place : place + 8]]}
        place = (place + 8) % (len(order) - 8)
        optimizer.zero_grad()
        loss = next_token(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.item()
        optimizer.step()

    return step


def seconds(step, each):
    start = (time.perf_counter(), time.process_time())
    for _ in range(each):
        step()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def peak(which, folder):
    """Give the largest resident set of a process that takes twenty steps, in MiB."""
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); import bench_run as b, torch\n"
        "torch.set_num_threads(1); run, step = b.ours(sys.argv[2])\n"
        "step = b.bare(run) if sys.argv[3] == 'bare' else step\n"
        "for _ in range(20): step()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    here = str(Path(__file__).parent)
    line = [sys.executable, "-c", code, here, str(folder), which]
    return float(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as place:
        run, step = ours(Path(place, "run"))
        hand = bare(run)
        for warm in (step, hand):
            seconds(warm, 5)
        rounds = []
        for number in range(args.rounds):
            pair = (step, hand) if number % 2 else (hand, step)
            times = {which: seconds(which, args.each) for which in pair}
            rounds.append([a / b for a, b in zip(times[step], times[hand], strict=True)])
        run.loader.close()
        memory = {which: peak(which, Path(place, which)) for which in ("bare", "ours")}
    wall, processor = ([r[i] for r in rounds] for i in (0, 1))
    result = {
        "wall": statistics.median(wall),
        "wall_quartiles": statistics.quantiles(wall, n=4)[::2],
        "processor": statistics.median(processor),
        "processor_quartiles": statistics.quantiles(processor, n=4)[::2],
        "peak_mib": memory,
    }
    print(
        f"ours / bare loop over {args.rounds} rounds of {args.each} steps, {args.threads} threads"
    )
    for name in ("wall", "processor"):
        low, high = result[f"{name}_quartiles"]
        print(f"  {name:<10} {result[name]:.3f}  (half of the rounds: {low:.3f} to {high:.3f})")
    print(f"  peak memory of a process: {memory['ours']:.0f} MiB and {memory['bare']:.0f} MiB")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

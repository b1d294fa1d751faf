"""Run one side of one item in a process of its own, and print its peak resident set.

The peak is of two calls; how the model was built before them does not count.

python -m benchmarks.speed.child gpt2-train-512 hf 1 [--tiny]
"""

import gc
import json
import sys

import torch
from benchmarks.speed.items import ITEMS
from benchmarks.speed.machine import forget_peak, peak_rss


def main(words: list[str]) -> int:
    name, side, threads = words[:3]
    torch.set_num_threads(int(threads))
    made = ITEMS[name].job(tiny="--tiny" in words, alone=True).sides[side]()
    gc.collect()
    forget_peak()
    made.call()
    made.call()
    print(json.dumps({"rss": peak_rss()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

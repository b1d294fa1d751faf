"""What a training step costs beside a bare PyTorch loop over the same model, interleaved.

    python benchmarks/bench_step.py [--threads 1] [--rounds 60] [--rows 8] [--device cpu]
                                    [--only float32 ...] [--json FILE]

The loop is zero_grad, loss, backward, clip, a look at the loss and fused AdamW, written by hand.
Two copies of a GPT-2 (width 128, depth 4, 128 tokens) read the same batches, one with the loop and
one with zoo's Learner; a round times a step of each, in turn, and its ratio is ours over the
loop's: 1.02 is two per cent more. Seconds are of the processor, on a card those of the clock.
"""

import argparse
import copy
import json
import statistics
import sys
import time

import torch

from zoo.models import GPT2, GPT2Config
from zoo.objectives import next_token
from zoo.train import make_optimizer
from zoo.train.learner import Learner

WIDTH, DEPTH, TOKENS, VOCAB = 128, 4, 128, 2048
RATE = 1e-3


def by_hand(model, dtype, micros):
    """Give a step as one writes it without zoo's loop; the pieces are as large."""
    optimizer = make_optimizer(model, RATE)
    device = model.tokens.weight.device.type

    def step(batches):
        optimizer.zero_grad()
        total = 0.0
        for batch in batches:
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                loss = next_token(model, batch) / micros
            loss.backward()
            total = total + loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        total.item()
        optimizer.step()

    return step


def with_learner(model, dtype, micros):
    learner = Learner(model, make_optimizer(model, RATE), "lm", dtype=dtype)
    return lambda batches: learner.step(batches, RATE)


ITEMS = {
    "float32": (torch.float32, 1),
    "float32-4-pieces": (torch.float32, 4),
    "bfloat16": (torch.bfloat16, 1),
}


def compare(dtype, micros, *, rounds, rows, device):
    torch.manual_seed(0)
    config = GPT2Config(vocab=VOCAB, context=TOKENS, width=WIDTH, depth=DEPTH, heads=4)
    model = GPT2(config).to(device).train()
    steps = by_hand(copy.deepcopy(model), dtype, micros), with_learner(model, dtype, micros)
    now = time.process_time if device == "cpu" else time.perf_counter
    times = []
    for number in range(-3, rounds):
        ids = torch.randint(1, VOCAB, (rows, TOKENS), device=device)
        batches = [{"input_ids": part} for part in ids.chunk(micros)]
        pair = [0.0, 0.0]
        for index in (0, 1) if number % 2 else (1, 0):
            start = now()
            steps[index](batches)
            if device != "cpu":
                torch.cuda.synchronize()
            pair[index] = now() - start
        times += [pair] if number >= 0 else []  # the first three make buffers and warm caches
    ratios = statistics.quantiles((ours / loop for loop, ours in times), n=4)
    return {
        "loop_s": statistics.median(loop for loop, _ in times),
        "ours_s": statistics.median(ours for _, ours in times),
        "ratio": ratios[1],
        "ratio_low": ratios[0],
        "ratio_high": ratios[2],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", choices=ITEMS, default=list(ITEMS))
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for name in options.only:
        results[name] = compare(
            *ITEMS[name], rounds=options.rounds, rows=options.rows, device=options.device
        )
        r = results[name]
        print(
            f"{name:18} loop {r['loop_s'] * 1e3:8.2f} ms  ours {r['ours_s'] * 1e3:8.2f} ms  "
            f"ratio {r['ratio']:.4f} ({r['ratio_low']:.3f} to {r['ratio_high']:.3f})",
            file=sys.stderr,
        )
    text = json.dumps(results, indent=2)
    if options.json:
        with open(options.json, "w") as file:
            file.write(text)
    print(text)


if __name__ == "__main__":
    main()

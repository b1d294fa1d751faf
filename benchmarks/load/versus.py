"""Side by side with Hugging Face's `generate` behind FastAPI: the same folder, the same prompts.

Both servers stand ready on the same processors; rounds alternate between them, so that whatever
else the machine does meets both. Prompts are ids, answers are greedy and as long as was asked.
"""

import argparse
import json
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load.drive import Plan, Run, drive, tokens
from benchmarks.load.serving import ROOT, Serving, zoo_serve
from benchmarks.load.stages import milliseconds
from benchmarks.load.stats import quantiles, span

VOCAB = 50257
PROMPTS = 32
LENGTHS, NEW = (16, 64), (16, 48)  # tokens of a prompt, and of what is to follow
THREADS = 2


def write_folder(folder: Path) -> Path:
    """Write a GPT-2 of the small size with random weights, and a tokenizer as large as it.

    The tokenizer is that of the golden GPT-2 with words added that no text holds: prompts are ids.
    """
    from zoo.models import MODELS

    if not (folder / "tokenizer.json").is_file():
        import torch

        torch.manual_seed(0)
        family = MODELS["gpt2"]
        model: Any = family.build(family.presets["gpt2"])
        model.save_pretrained(folder)
        words = json.loads((ROOT / "golden/gpt2-english/tokenizer.json").read_text())
        vocab = words["model"]["vocab"]
        vocab |= {f"<extra {i}>": i for i in range(len(vocab), VOCAB)}
        (folder / "tokenizer.json").write_text(json.dumps(words))
    return folder


def items(seed: int) -> list[dict[str, Any]]:
    """Draw prompts of ids."""
    draw = random.Random(seed)
    found = []
    for i in range(PROMPTS):
        ids = [draw.randrange(256, VOCAB) for _ in range(draw.randint(*LENGTHS))]
        body = {"model": "gpt2", "prompt": ids, "max_tokens": draw.randint(*NEW), "temperature": 0}
        found.append({"name": f"prompt {i}", "path": "/v1/completions", "body": json.dumps(body)})
    return [{"method": "POST", "good": True} | item for item in found]


def texts(runs: Sequence[Run]) -> dict[int, str]:
    """Give the text of each item, as it was answered first."""
    found: dict[int, str] = {}
    for run in runs:
        for number, said in run.variants:
            if '"choices"' in said:
                found.setdefault(number, json.loads(said)["choices"][0]["text"])
    return found


def speed(run: Run) -> float:
    """Give the new tokens a second."""
    right = [one for one in run.asked if one.status == 200]
    made = sum(tokens(run.variants[one.variant][1])["new_tokens"] for one in right)
    return made / span(run.asked)


def side(runs: Sequence[Run]) -> dict[str, Any]:
    """Sum the rounds of one server up."""
    every = [one for run in runs for one in run.asked]
    return {
        "tokens_per_second": [speed(run) for run in runs],
        "latency": quantiles([one.seconds for one in every if one.status == 200]),
        "errors": sum(one.status != 200 for one in every),
        "answers": sum(one.status == 200 for one in every),
    }


def compared(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """Set zoo beside its peer."""
    found: dict[str, Any] = {name: side(rounds) for name, rounds in runs.items()}
    ours, theirs = (found[name]["tokens_per_second"] for name in ("zoo", "peer"))
    found["ratios"] = [a / b for a, b in zip(ours, theirs, strict=True)]
    found["ratio"] = statistics.median(found["ratios"])
    mine, other = texts(runs["zoo"]), texts(runs["peer"])
    both = mine.keys() & other.keys()
    found["same_texts"] = [sum(mine[i] == other[i] for i in both), len(both)]
    return found


def table(found: Mapping[str, Any]) -> str:
    """Write the comparison as Markdown."""
    lines = ["| server | tokens/s | p50 | p95 | p99 | errors |", "|---|---:|---:|---:|---:|---:|"]
    for name, says in (("zoo", "zoo serve"), ("peer", "FastAPI and Hugging Face's generate")):
        one = found[name]
        times = " | ".join(milliseconds(one["latency"][share]) for share in ("p50", "p95", "p99"))
        rate = statistics.median(one["tokens_per_second"])
        lines.append(f"| {says} | {rate:.0f} | {times} | {one['errors']} |")
    least, most = min(found["ratios"]), max(found["ratios"])
    same, both = found["same_texts"]
    return "\n".join(
        [
            *lines,
            "",
            f"{found['ratio']:.2f} times the tokens a second (rounds: {least:.2f} to {most:.2f}); "
            f"{same} of {both} texts are the same.",
        ]
    )


def main(args: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure, and print the table; 1 where an answer failed."""
    out: Path = args.out / "versus"
    folder = write_folder(out / "gpt2-small")
    file = out / "items.json"
    file.write_text(json.dumps(items(args.seed)))
    options = [*(["--weights", args.weights] if args.weights else []), *args.serve]
    peer = ["-m", "benchmarks.load.peer", str(folder), str(THREADS), str(args.at_once)]
    runs: dict[str, list[Run]] = {"zoo": [], "peer": []}
    with (
        zoo_serve({"gpt2": str(folder)}, options, out / "zoo.log") as zoo,
        Serving(peer, out / "peer.log") as other,
    ):
        servers = {"zoo": zoo, "peer": other}
        for number in range(args.rounds):
            for name in ("zoo", "peer") if number % 2 else ("peer", "zoo"):
                plan = Plan(users=args.users, seconds=args.seconds, seed=args.seed + number)
                servers["peer" if name == "zoo" else "zoo"].rest()
                runs[name].append(drive(servers[name], file, plan, out / f"{name}-{number}"))
                say(f"round {number}: {name} {speed(runs[name][-1]):.0f} tokens/s")
    found = compared(runs)
    (out / "results.json").write_text(json.dumps(found, indent=1))
    (out / "table.md").write_text(table(found) + "\n")
    print(table(found))
    return int(found["zoo"]["errors"] > 0)

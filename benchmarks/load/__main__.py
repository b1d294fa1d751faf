"""How much can `zoo serve` do, and what does it do when it is asked for more?

python -m benchmarks.load all --out build/load             the golden models, all stages
python -m benchmarks.load ramp --models gpt2=FOLDER --verbs complete
python -m benchmarks.load soak --ceiling 40 --soak-seconds 600
python -m benchmarks.load versus --out build/load          beside Hugging Face's generate

Each stage writes its records and results.json, table.md and latency.png into --out. Locust is the
extra `load`, installed into .venv/load. Exit code 1 when an answer was wrong or counts differ.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.load import stages, table
from benchmarks.load.serving import ROOT, zoo_serve
from benchmarks.load.stats import ceiling

STAGES = ("baseline", "ramp", "soak", "overload")
GOLDEN = {
    "gpt2": "golden/gpt2-english",
    "bert": "golden/bert-english",
    "spam": "golden/bert-spam",
    "digits": "golden/vit-mnist",
    "clip": "golden/clip-openmoji",
}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add = made.add_argument
    add("stage", choices=(*STAGES, "all", "versus"))
    add("--models", nargs="+", default=[], metavar="NAME=FOLDER", help="default: golden models")
    add("--verbs", nargs="+", default=[], help="only these: complete embed fill classify match")
    add("--tokens", type=int, default=16, help="new tokens of a completion (16)")
    add("--serve", nargs=argparse.REMAINDER, default=[], help="what follows goes to zoo serve")
    add("--weights", choices=("float32", "float16", "int8"), help="of zoo serve and offline")
    add("--out", type=Path, default=Path("build/load"))
    add("--seed", type=int, default=0)
    add("--seconds", type=float, default=10.0, help="of the baseline and each level (10)")
    add("--soak-seconds", type=float, default=600.0, help="of the soak (600)")
    add("--overload-seconds", type=float, default=20.0, help="of each of its phases (20)")
    add("--ceiling", type=float, help="right answers a second, where no ramp is to find it")
    add("--share", type=float, default=stages.SHARE, help="of the ceiling, in the soak (0.8)")
    add("--times", type=float, default=stages.TIMES, help="the ceiling, in the overload (5)")
    add("--even", action="store_true", help="arrivals evenly spaced, not as people come")
    add("--users", type=int, default=8, help="of versus (8)")
    add("--at-once", type=int, default=1, help="requests that the peer of versus works on (1)")
    add("--rounds", type=int, default=6, help="of versus (6)")
    return made


def folders_of(words: list[str]) -> dict[str, str]:
    """Read NAME=FOLDER; the golden models where none is named."""
    if not words:
        return {name: str(ROOT / folder) for name, folder in GOLDEN.items()}
    return dict(word.split("=", 1) for word in words)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Carry out the stages that were asked for."""
    folders = folders_of(args.models)
    asked = STAGES if args.stage == "all" else (args.stage,)
    weights = ["--weights", args.weights] if args.weights else []
    result: dict[str, Any] = {}
    with zoo_serve(folders, [*weights, *args.serve], args.out / "serve.log") as server:
        result["ready_seconds"] = server.ready_seconds
        options = {"seed": args.seed, "tokens": args.tokens, "only": args.verbs}
        bench = stages.prepare(server, folders, args.out, weights=args.weights, say=say, **options)
        stages.baseline(bench, min(3.0, args.seconds))  # whatever is slow at first is over
        for stage in asked:
            carry_out(stage, bench, args, result)
        result["exit_code"] = server.end()
    write(result, args.out)
    return result


def carry_out(
    stage: str, bench: stages.Bench, args: argparse.Namespace, result: dict[str, Any]
) -> None:
    """Carry out a stage; what needs the ceiling finds it first where nobody has said it."""
    if stage in ("soak", "overload") and "ceiling" not in result:
        if args.ceiling is None:
            carry_out("ramp", bench, args, result)
        else:
            result["ceiling"] = args.ceiling
    if stage == "baseline":
        result[stage] = stages.baseline(bench, args.seconds)
    elif stage == "ramp":
        result[stage] = stages.ramp(bench, args.seconds)
        result["ceiling"] = ceiling([level["goodput"] for level in result[stage]])
    elif stage == "soak":
        peak, share = result["ceiling"], args.share
        result[stage] = stages.soak(bench, peak, args.soak_seconds, even=args.even, share=share)
    else:
        peak, times = result["ceiling"], args.times
        seconds = args.overload_seconds
        result[stage] = stages.overload(bench, peak, seconds, even=args.even, times=times)
    write(result, args.out)


def write(result: dict[str, Any], out: Path) -> None:
    """Write what there is so far."""
    (out / "results.json").write_text(json.dumps(result, indent=1))
    (out / "table.md").write_text(table.table(result) + "\n")
    if "ramp" in result:
        table.curve(result["ramp"], out / "latency.png")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    if args.stage == "versus":
        from benchmarks.load import versus

        return versus.main(args, say)
    result = measure(args)
    print(table.table(result))
    every = [found for _, found in table.runs(result)] + [result.get("overload", {})]
    bad = [found for found in every if found.get("wrong") or found.get("counts_differ")]
    return int(bool(bad) or result["exit_code"] != 0)


if __name__ == "__main__":
    sys.exit(main())

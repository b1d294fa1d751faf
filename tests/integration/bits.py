"""Whether a set of results has the accepted bits: `.ci/bits`, and golden/bits.json.

    .ci/bits                             two runs, and one on two workers: the same bits everywhere?
    .ci/bits --compare A.xml B.xml       the same, of two reports of pytest's (--junitxml)
    .ci/bits --accept --because REASON   what is computed here is what shall be

On a kind of machine that bits.json knows, the hashes must be equal. On another one each number that
is kept must lie within its bound of the accepted one, and what is exact must be exact. Exit code 0:
the same; 1: something differs, and is named.
"""

import argparse
import datetime
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo_pytest.deterministic import settle_torch

ROOT = Path(__file__).parents[2]
FILE = ROOT / "golden" / "bits.json"
TESTS = "tests/integration/test_determinism_bits.py"
KEPT = 8  # numbers of a result, from the first to the last, beside their sum
PROPERTY = "bits "  # and a result's name: what a test records in JUnit's file
LEAST_WORDS = 3  # of a reason
SETTINGS = ("MKL_CBWR", "ONEDNN_MAX_CPU_ISA")  # named where they are set: they change the kernels
HOW = '.ci/bits --accept --because "why it may change"'


def processor() -> str:
    """Name the processor as finely as libraries choose their kernels: model, and what it can do."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or "unknown"
    found = dict(re.findall(r"^([\w ]+?)\s*:\s*(.*)$", text, re.M))
    words = [found.get(k, "?") for k in ("vendor_id", "cpu family", "model")]
    can = sorted({w for w in found.get("flags", "").split() if w.startswith(("avx", "amx", "fma"))})
    return f"{'-'.join(words)}-{hashlib.sha256(' '.join(can).encode()).hexdigest()[:6]}"


def kind() -> str:
    """Name the kind of this machine: processes on one kind give the same bits."""
    words = [platform.machine(), processor(), torch.backends.cpu.get_cpu_capability()]
    words += [f"torch-{torch.__version__}", f"threads-{torch.get_num_threads()}"]
    return " ".join(
        words + [f"{name}-{os.environ[name]}" for name in SETTINGS if name in os.environ]
    )


def places(count: int) -> list[int]:
    """Choose which numbers of a result are kept."""
    if count <= KEPT:
        return list(range(count))
    return [round(k * (count - 1) / (KEPT - 1)) for k in range(KEPT)]


def number(value: float) -> Any:
    """Write a number so that it reads the same; what is not finite as text."""
    return value if math.isfinite(value) else str(value)


def kept(result: Any) -> dict[str, Any]:
    """Give what bits.json keeps of a result, beside its hash."""
    flat = result.value.detach().reshape(-1)
    numbers = flat[places(len(flat))].tolist()
    if flat.dtype is torch.float32:  # nine digits are enough for it
        numbers = [float(f"{x:.9g}") for x in numbers]
    return {
        "shape": list(result.value.shape),
        "bound": [result.roundings, number(result.scale), number(result.slack)],
        "sum": number(float(flat.double().sum())),
        "numbers": [number(x) for x in numbers],
    }


def read(file: Path = FILE) -> dict[str, Any]:
    """Read the accepted results; none where there is no file."""
    if not file.exists():
        return {"schema": 1, "reference": None, "kinds": {}, "results": {}}
    return json.loads(file.read_text())


def moved(result: Any, accepted: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Give how far each kept number is from the accepted one, as (share of its bound, words)."""
    flat = result.value.detach().reshape(-1).double()
    roundings, scale, slack = accepted["bound"]
    share = roundings * torch.finfo(dtype_of(result)).eps / 2
    chosen = places(len(flat))
    rows = [
        (f"number {place} of {len(flat)}", float(flat[place]), float(old), 1)
        for place, old in zip(chosen, accepted["numbers"], strict=True)
    ]
    rows.append(
        (f"the sum of {len(flat)} numbers", float(flat.sum()), float(accepted["sum"]), len(flat))
    )
    told = []
    for what, new, old, terms in rows:
        bound = terms * (share * (abs(old) / terms + float(scale)) + float(slack))
        off = abs(new - old)
        if off != 0:  # a NaN is off as well
            ratio = off / bound if bound else math.inf
            words = f"{what} is {new:.9g}, accepted is {old:.9g}: off by {off:.2g}"
            told.append((ratio, f"{words}, where rounding can make {bound:.2g}"))
    return told


def dtype_of(result: Any) -> torch.dtype:
    """Give the dtype whose rounding counts: whole numbers have none, and no roundings either."""
    return result.value.dtype if result.value.is_floating_point() else torch.float64


def judge(result: Any, known: Mapping[str, Any], here: str) -> str | None:
    """Say what is wrong with a result: None where it has the accepted bits, or may lack them."""
    accepted = known["results"].get(result.name)
    if accepted is None:
        return f"{result.name}: no accepted value: {HOW}"
    if list(result.value.shape) != accepted["shape"]:
        return f"{result.name}: shape {list(result.value.shape)}, accepted {accepted['shape']}"
    hashes = known["kinds"].get(here, {}).get("hashes", {})
    same_kind = result.name in hashes
    right = (
        hashes[result.name]
        if same_kind
        else known["kinds"][known["reference"]]["hashes"][result.name]
    )
    if result.hash() == right:
        return None
    told = sorted(moved(result, accepted), key=lambda row: -row[0])
    exact = not result.roundings and not result.slack
    if same_kind or exact:
        same = f"none of the {len(accepted['numbers'])} numbers that are kept changed, others did"
        return f"{result.name}: not the accepted bits: {told[0][1] if told else same}"
    worst = [words for ratio, words in told if not ratio <= 1]
    return f"{result.name}: too far from the accepted value: {worst[0]}" if worst else None


def judge_all(results: Mapping[str, Any], known: Mapping[str, Any], here: str) -> list[str]:
    """Say what is wrong with results, a sentence each."""
    return [told for r in results.values() if (told := judge(r, known, here)) is not None]


def accepted(
    results: Mapping[str, Any], known: Mapping[str, Any], here: str, because: str, today: str
) -> dict[str, Any]:
    """Take over results for a kind of machine, with the reason; the first kind keeps the numbers.

    Raises ValueError for no reason, and where another kind than the reference would change what the
    reference's numbers are: those are accepted where they were made.
    """
    if len(because.split()) < LEAST_WORDS:
        raise ValueError(f"--because {because!r}: say in a few words why the bits may change")
    reference = known["reference"] or here
    wrong = judge_all(results, known, "") if here != reference else []
    if wrong:
        raise ValueError(
            f"this machine is not of the kind that the numbers were accepted on ({reference}), "
            f"and is too far from them: {wrong[0]}"
        )
    hashes = {name: result.hash() for name, result in sorted(results.items())}
    before = known["kinds"].get(here, {"history": [], "hashes": {}})
    changed = sum(before["hashes"].get(name) != value for name, value in hashes.items())
    line = {"date": today, "because": because, "changed": changed}
    kinds = dict(known["kinds"])
    if here == reference and before["hashes"]:  # hashes of other kinds may no longer be those
        old = before["hashes"]
        stale = {name for name in old if hashes.get(name) != old[name]}
        kinds = {k: v | {"hashes": without(v["hashes"], stale)} for k, v in kinds.items()}
    kinds[here] = {"history": [*before["history"], line], "hashes": hashes}
    kept_now = known["results"]
    if here == reference:
        kept_now = {name: kept(result) for name, result in sorted(results.items())}
    return {"schema": 1, "reference": reference, "kinds": kinds, "results": kept_now}


def without(hashes: Mapping[str, str], names: set[str]) -> dict[str, str]:
    """Leave names out."""
    return {name: value for name, value in hashes.items() if name not in names}


def text_of(known: Mapping[str, Any]) -> str:
    """Write bits.json with a line for each result, so that a change reads well."""
    parts = [f'"schema": 1,\n"reference": {json.dumps(known["reference"])},\n"kinds": {{']
    kinds = []
    for name, about in known["kinds"].items():
        lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in about["hashes"].items())
        history = ",\n".join(json.dumps(line) for line in about["history"])
        kinds.append(f'{json.dumps(name)}: {{"history": [\n{history}], "hashes": {{\n{lines}}}}}')
    rows = ",\n".join(
        f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
        for k, v in known["results"].items()
    )
    return "{" + parts[0] + ",\n".join(kinds) + '},\n"results": {\n' + rows + "}}\n"


def recorded(file: Path) -> dict[str, str]:
    """Read the hashes that tests recorded in a report of pytest's."""
    return {
        prop.get("name", "").removeprefix(PROPERTY): prop.get("value", "")
        for prop in ElementTree.parse(file).iter("property")
        if prop.get("name", "").startswith(PROPERTY)
    }


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Name the results that two runs do not share, or not with the same bits."""
    told = [f"{name}: only in one of the two runs" for name in sorted(one.keys() ^ other.keys())]
    both = sorted(one.keys() & other.keys())
    return told + [f"{n}: {one[n]} and {other[n]}" for n in both if one[n] != other[n]]


def run(report: Path, workers: int) -> int:
    """Run the tests that record results."""
    plain = ["-q", "-p", "no:cacheprovider", "-n", str(workers), f"--junitxml={report}"]
    return subprocess.run([sys.executable, "-m", "pytest", TESTS, *plain], cwd=ROOT).returncode


def compare(one: Path, other: Path, what: str) -> bool:
    """Say whether two reports hold the same results, and which differ."""
    first, second = recorded(one), recorded(other)
    told = unlike(first, second)
    for line in told:
        print(f"{what}: {line}")
    if not first:
        print(f"{one} holds no results: run {TESTS} with --junitxml")
        return False
    if not told:
        print(f"{what}: the same {len(first)} results")
    return not told


def runs(place: Path) -> int:
    """Compare two runs, and one on two workers; each is compared with bits.json by its tests."""
    code = 0
    for name, workers in (("first", 0), ("second", 0), ("workers", 2)):
        code |= run(place / f"{name}.xml", workers)
    good = compare(place / "first.xml", place / "second.xml", "two runs")
    good &= compare(place / "first.xml", place / "workers.xml", "-n 0 and -n 2")
    return int(bool(code) or not good)


def take_over(because: str) -> int:
    """Compute everything here and write bits.json."""
    from integration.results import all_results

    settle_torch()
    results, known, here = all_results(), read(), kind()
    for told in judge_all(results, known, here)[:20] if known["kinds"] else ():
        print(told)
    try:
        new = accepted(results, known, here, because, datetime.date.today().isoformat())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    FILE.write_text(text_of(new))
    changed = new["kinds"][here]["history"][-1]["changed"]
    print(f"{FILE.relative_to(ROOT)}: {changed} of {len(results)} results are new for {here}")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Do what the first lines of this file say."""
    parser = argparse.ArgumentParser(prog=".ci/bits", description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="what is computed here shall be")
    parser.add_argument("--because", default="", metavar="REASON", help="with --accept: why")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="XML", help="two JUnit reports")
    args = parser.parse_args(arguments)
    if args.compare:
        return int(not compare(*args.compare, "two reports"))
    if args.accept:
        return take_over(args.because)
    with tempfile.TemporaryDirectory() as place:
        return runs(Path(place))


if __name__ == "__main__":
    sys.exit(main())

"""Turn lines of results into the table: how much is found, how often rightly, how often wrongly.

    python -m benchmarks.testers.table results*.jsonl [--json table.json]

Intervals are Wilson's, 95 %. A complaint that a kit also makes of the architecture without the bug
finds nothing: "net" counts what is left (where the correct models of the corpus were run too).
"""

import argparse
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

NEEDS = ("nothing", "facts", "reference")
Line = dict[str, Any]


def wilson(hits: int, of: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a proportion; (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def ratio(hits: int, of: int) -> dict[str, Any]:
    """Describe a proportion."""
    low, high = wilson(hits, of)
    return {"hits": hits, "of": of, "share": hits / of if of else None, "low": low, "high": high}


def complaints(line: Line) -> set[tuple[str, str]]:
    """List what was said with severity fail: the check, and the first kind."""
    told = [one for one in line["findings"] if one["severity"] == "fail"]
    return {(one["check"], *one["kinds"][:1]) for one in told}


def is_bug(line: Line) -> bool:
    """Tell a line of the corpus from one of the correct models."""
    return "needs" in line


def sound_id(line: Line) -> str:
    """Name the correct model that this bug was put into."""
    half, arch, _ = line["id"].split("/")
    return f"corpus/{half}-{arch}/{'declared' if line['declared'] == 'yes' else 'bare'}"


def net(lines: Sequence[Line], correct: dict[str, Line]) -> int | None:
    """Count the bugs for which something is said that is not said of the sound architecture."""
    if not all(sound_id(line) in correct for line in lines):
        return None
    return sum(bool(complaints(x) - complaints(correct[sound_id(x)])) for x in lines)


def detection(lines: Sequence[Line], correct: dict[str, Line]) -> dict[str, Any]:
    """Sum up bugs of one kit."""
    caught = [line for line in lines if line["caught"]]
    exact = sum(line["right_place"] == 1 for line in caught)
    seconds = [line["seconds"] for line in lines]
    return {
        "caught": ratio(len(caught), len(lines)),
        "net": net(lines, correct),
        "right_kind": ratio(sum(line["right_kind"] for line in caught), len(caught)),
        "right_place": ratio(exact, len(caught)),
        "place_score": sum(x["right_place"] for x in caught) / len(caught) if caught else None,
        "errors": sum("error" in line for line in lines),
        "median_seconds": statistics.median(seconds),
        "max_seconds": max(seconds),
    }


def alarms(lines: Sequence[Line]) -> dict[str, Any]:
    """Sum up correct models of one kit."""
    seconds = [line["seconds"] for line in lines]
    return {
        "alarms": ratio(sum(line["caught"] for line in lines), len(lines)),
        "errors": sum("error" in line for line in lines),
        "median_seconds": statistics.median(seconds),
        "max_seconds": max(seconds),
        "ids": sorted(line["id"] for line in lines if line["caught"]),
    }


def groups(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Put together what one kit said with and without facts."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        found.setdefault((line["tool"], line["declared"]), []).append(line)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] != "zoo", item[0])))


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """Compute everything that the tables show."""
    answer: dict[str, Any] = {"bugs": [], "correct": []}
    for (tool, declared), some in groups(lines).items():
        correct = {line["id"]: line for line in some if not is_bug(line)}
        buggy = [line for line in some if is_bug(line)]
        for half in sorted({line["id"].split("/")[0] for line in buggy}):
            mine = [line for line in buggy if line["id"].startswith(f"{half}/")]
            parts = [(need, [x for x in mine if x["needs"] == need]) for need in NEEDS]
            for need, part in [("all", mine), ("no reference", parts[0][1] + parts[1][1]), *parts]:
                head = {"half": half, "tool": tool, "declared": declared, "needs": need}
                answer["bugs"] += [head | detection(part, correct)] if part else []
        named = [("all", list(correct.values()))]
        for name in sorted({line["id"].split("/")[0] for line in correct.values()}):
            named.append((name, [x for x in correct.values() if x["id"].startswith(f"{name}/")]))
        for name, part in named:
            head = {"tool": tool, "declared": declared, "group": name}
            answer["correct"] += [head | alarms(part)] if part else []
    return answer


def percent(value: dict[str, Any]) -> str:
    """Write a proportion with its interval."""
    if value["share"] is None:
        return "–"
    low, high = 100 * value["low"], 100 * value["high"]
    return f"{value['hits']}/{value['of']} = {100 * value['share']:.0f} % ({low:.0f}–{high:.0f})"


def markdown(table: dict[str, Any]) -> str:
    """Write both tables."""
    rows = []
    if table["bugs"]:
        rows.append(
            "| half | kit | facts | bug needs | found | net | first names the kind "
            "| … the module | (near = ½) | no answer | median s | max s |"
        )
        rows.append("|---" * 12 + "|")
    for x in table["bugs"]:
        score = "–" if x["place_score"] is None else f"{100 * x['place_score']:.0f} %"
        left = "–" if x["net"] is None else str(x["net"])
        cells = [x["half"], x["tool"], x["declared"], x["needs"], percent(x["caught"]), left]
        cells += [percent(x["right_kind"]), percent(x["right_place"]), score, str(x["errors"])]
        cells += [f"{x['median_seconds']:.1f}", f"{x['max_seconds']:.1f}"]
        rows.append("| " + " | ".join(cells) + " |")
    if table["correct"]:
        rows += [
            "",
            "| kit | facts | correct models | false alarms | no answer | median s | max s |",
        ]
        rows.append("|---" * 7 + "|")
    for x in table["correct"]:
        cells = [x["tool"], x["declared"], x["group"], percent(x["alarms"]), str(x["errors"])]
        cells += [f"{x['median_seconds']:.1f}", f"{x['max_seconds']:.1f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of the files of results; write the numbers where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.testers.table")
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    texts = [path.read_text(encoding="utf-8") for path in given.results]
    table = summary([json.loads(line) for text in texts for line in text.splitlines() if line])
    print(markdown(table))
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

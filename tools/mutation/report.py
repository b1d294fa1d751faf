"""Records of shards -> one table for people, and tests/mutation/scores.json."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tools.mutation import survivors
from tools.mutation.plan import COSTS
from tools.mutation.score import Score, both

SCORES = Path("tests/mutation/scores.json")
HEAD = "| room | mutants | run | killed | score | operators and numbers | unknown | date |"


def read(files: Iterable[Path]) -> list[dict]:
    """Read records; a folder gives all that are in it."""
    found = []
    for file in files:
        inside = sorted(file.rglob("*.json")) if file.is_dir() else [file]
        found += [json.loads(one.read_text()) for one in inside]
    broken = [i for i, record in enumerate(found) if not {"room", "rows", "of"} <= record.keys()]
    if broken:
        raise ValueError(f"record {broken[0] + 1} of {len(found)} is not a record of this tool")
    return found


def merged(records: list[dict]) -> dict[str, dict]:
    """Join the records of each room: of a mutant run twice, the newer row; whole runs win."""
    rooms: dict[str, dict] = {}
    groups: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        groups[record["room"]].append(record)
    for name, group in sorted(groups.items()):
        whole = [record for record in group if not record.get("sampled")]
        used = sorted(whole or group, key=lambda record: record["date"])
        rows = {row["id"]: row for record in used for row in record["rows"]}
        rooms[name] = {
            "rows": list(rows.values()),
            "of": used[-1]["of"],
            "sampled": not whole,
            "date": used[-1]["date"],
            "since": used[0]["date"],
            "commit": used[-1]["commit"],
            "minutes": round(sum(record["minutes"] for record in used), 1),
        }
    return rooms


def numbers(score: Score) -> dict:
    """Give a score as the numbers that are kept."""
    percent, (low, high) = score.percent(), score.interval()
    return {
        "killed": score.killed,
        "survivors": score.open,
        "equivalent": score.equivalent,
        "unknown": sum(score.unknown.values()),
        "score": None if percent is None else round(percent, 2),
        "interval": [round(low, 1), round(high, 1)],
    }


def scores(rooms: dict[str, dict]) -> dict[str, dict]:
    """Give what scores.json says of each room."""
    found = {}
    for name, room in rooms.items():
        every, computing = both(room["rows"])
        found[name] = {
            "mutants": room["of"],
            "run": every.mutants,
            "sampled": room["sampled"],
            **numbers(every),
            "endless": every.unknown.get("endless", 0),
            "operators_and_numbers": numbers(computing),
            "date": room["date"],
            "commit": room["commit"],
            "minutes": room["minutes"],
        }
    return found


def summary(rooms: dict[str, dict], found: dict[str, dict]) -> str:
    """Write the table and the survivors that nothing explains, as Markdown."""
    lines = ["## Mutation", "", HEAD, "|" + " --- |" * 8]
    lines += [row(name, one) for name, one in found.items()]
    everything = [r for room in rooms.values() if not room["sampled"] for r in room["rows"]]
    if everything:
        every, computing = both(everything)
        total = {"mutants": every.mutants, "run": every.mutants, "sampled": False, "date": ""}
        one = total | numbers(every) | {"operators_and_numbers": numbers(computing)}
        lines.append(row("**all that ran whole**", one))
    fresh = [r for room in rooms.values() for r in survivors.new(room["rows"])]
    lines += ["", f"{len(fresh)} survivors are not explained." if fresh else ""]
    for r in fresh[:50]:
        lines += [f"- `{r['function']}` {r['file']}:{r['line']}", "", "```diff", r["diff"], "```"]
    if len(fresh) > 50:
        lines.append(f"and {len(fresh) - 50} more: the records in the artifacts have all of them")
    return "\n".join(lines).rstrip() + "\n"


def row(name: str, one: dict) -> str:
    """Write a room's row."""
    cells = [
        name,
        str(one["mutants"]),
        f"{one['run']} drawn" if one["sampled"] else str(one["run"]),
        str(one["killed"]),
        percent(one),
        percent(one["operators_and_numbers"]),
        str(one["unknown"]),
        one["date"],
    ]
    return "| " + " | ".join(cells) + " |"


def percent(one: dict) -> str:
    """Write a score with its interval."""
    if one["score"] is None:
        return "none"
    low, high = one["interval"]
    return f"{one['score']:.1f} % [{low:.1f}, {high:.1f}]"


def costs(records: list[dict], old: dict[str, dict]) -> dict[str, dict]:
    """Give what rooms took, for the plan: fixed seconds, seconds a mutant, and by file."""
    found = dict(old)
    for record in records:
        rows = [row for row in record["rows"] if "seconds" in row]
        if not rows:
            continue
        by_file: dict[str, list[float]] = defaultdict(list)
        for one in rows:
            by_file[one["file"]].append(one["seconds"])
        files = {f: round(mean(taken), 3) for f, taken in by_file.items() if len(taken) >= 10}
        found[record["room"]] = {
            "fixed": record["fixed"],
            "each": round(mean([one["seconds"] for one in rows]), 3),
            "files": dict(sorted(files.items())),
        }
    return dict(sorted(found.items()))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def write(found: dict[str, dict], records: list[dict]) -> None:
    """Keep the scores and the costs, room by room; rooms without a record stay as they are."""
    for file, new in ((SCORES, found), (COSTS, None)):
        old = json.loads(file.read_text()) if file.exists() else {}
        rows = costs(records, old) if new is None else dict(sorted((old | new).items()))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=1) + "\n")

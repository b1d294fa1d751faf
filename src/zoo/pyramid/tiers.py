"""The table of tiers: what a suite has, what it costs, and what it catches.

Everything is read from files that runs have left; nothing is run. A project says where they are in
its pyproject.toml, and only what differs from the defaults:

    [tool.zoo.pyramid]
    reports = ["build/report/*.xml"]              # pytest --junitxml
    power = ["tests/mutation/scores.json"]        # see zoo.pyramid.tally_extra
    flakes = ["build/report/flake*.json*"]
    coverage = "build/report/coverage.json"
    mutation = "unit"                             # the tier whose tests kill mutants

    [tool.zoo.pyramid.tiers]
    unit = {tests = ["tests/unit"], budget = 90}  # seconds of the wall; said, never asserted

Without a table of tiers each folder in tests/ is one.
"""

import ast
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.pyramid.tally import Case, ReportError, read_reports, shared
from zoo.pyramid.tally_extra import Power, read_coverage, read_flakes, read_power

REPORTS = ("build/report/*.xml", "report.xml", "junit.xml", "reports/*.xml", "test-results/*.xml")
POWER = ("tests/mutation/scores.json", "build/report/power*.json*")
FLAKES = ("build/report/flake*.json*",)
COVERAGE = "build/report/coverage.json"
ELSEWHERE = "elsewhere"  # what lies in no tier's folder
SLOWER, MORE = 1.5, 0.3  # a test got slower: by this factor, and by so many seconds


class SettingsError(ValueError):
    """A table [tool.zoo.pyramid] that makes no sense, or a folder without tests."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a project says of its pyramid."""

    folders: dict[str, list[str]]  # of each tier
    budgets: dict[str, float]  # seconds; of the tiers that have one
    reports: list[str]
    power: list[str]
    flakes: list[str]
    coverage: str
    mutation: str  # the tier whose tests kill mutants


def plan_of(root: Path) -> Plan:
    """Read the table of a project, or guess it from the folders in tests/."""
    table = table_of(root)
    tiers = table.get("tiers") or {name: {"tests": [path]} for name, path in guessed(root)}
    folders, budgets = {}, {}
    for name, tier in tiers.items():
        if not isinstance(tier, dict) or not isinstance(tier.get("tests"), list):
            raise SettingsError(
                f'[tool.zoo.pyramid.tiers] {name} = {tier!r}; expected {{tests = ["a/folder"]}}'
            )
        folders[name] = [str(path).rstrip("/") for path in tier["tests"]]
        if "budget" in tier:
            budgets[name] = float(tier["budget"])
    if not folders:
        raise SettingsError(f"{root} has no folder tests/ and no [tool.zoo.pyramid.tiers]")
    return Plan(
        folders=folders,
        budgets=budgets,
        reports=list(table.get("reports", REPORTS)),
        power=list(table.get("power", POWER)),
        flakes=list(table.get("flakes", FLAKES)),
        coverage=str(table.get("coverage", COVERAGE)),
        mutation=str(table.get("mutation", next(iter(folders)))),
    )


def table_of(root: Path) -> dict[str, Any]:
    """Give [tool.zoo.pyramid] of a folder's pyproject.toml; empty where there is none."""
    path = root / "pyproject.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    found: dict[str, Any] = table.get("tool", {}).get("zoo", {}).get("pyramid", {})
    return found


def guessed(root: Path) -> list[tuple[str, str]]:
    """Give each folder of tests/ that holds tests, and tests/ itself for what lies beside them."""
    for top in ("tests", "test"):
        if (root / top).is_dir():
            folders = sorted(p for p in (root / top).iterdir() if p.is_dir() and any(files(p)))
            found = [(p.name, f"{top}/{p.name}") for p in folders]
            beside = any(is_test(path) for path in (root / top).iterdir())
            return [*found, (top, top)] if beside or not found else found
    return []


def is_test(path: Path) -> bool:
    """Say whether pytest would take a file for one of tests."""
    return path.suffix == ".py" and (path.stem.startswith("test_") or path.stem.endswith("_test"))


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of tests in a folder, or the file itself."""
    found = folder.rglob("*.py") if folder.is_dir() else [folder]
    return (path for path in sorted(found) if is_test(path) and path.is_file())


def written(root: Path, folders: Iterable[str]) -> int:
    """Count the test functions in the source of a tier."""
    count = 0
    for path in sorted({path for folder in folders for path in files(root / folder)}):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # pytest will say it better
        bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
        count += sum(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test")
            for body in bodies
            for node in body
        )
    return count


def found_files(root: Path, patterns: Iterable[str]) -> list[Path]:
    """Give the files that patterns name, each once."""
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def gather(root: Path) -> dict[str, Any]:
    """Gather all that is known of a project's tests, as plain data.

    Raises SettingsError for a project without tests, ReportError for a damaged file.
    """
    plan = plan_of(root)
    suites = read_reports(found_files(root, plan.reports), root)
    dealt = shared(suites, plan.folders, ELSEWHERE)
    power = read_power(found_files(root, plan.power), plan.mutation)
    names = [*plan.folders, *(name for name in dealt if name not in plan.folders)]
    tiers = {}
    for name in names:
        wall, cases = dealt.get(name, (0.0, []))
        own = [one for one in power if one.tier == name]
        tier = tier_record(cases, wall, plan.budgets.get(name), own)
        if not cases:
            tier["tests"] = written(root, plan.folders[name])
        tiers[name] = tier
    return {
        "when": suites[0].stamp if suites else None,
        "first": suites[-1].stamp if suites else None,
        "tiers": tiers,
        "other_power": [vars(one) for one in power if one.tier not in names],
        "waiting": waiting({name: cases for name, (_, cases) in dealt.items()}),
        "functions": functions({name: cases for name, (_, cases) in dealt.items()}),
        "flakes": read_flakes(found_files(root, plan.flakes)),
        "coverage": read_coverage(root / plan.coverage),
    }


def tier_record(
    cases: list[Case], wall: float, budget: float | None, power: list[Power]
) -> dict[str, Any]:
    """Give what is said of one tier; `cases` is None where no report tells of it."""
    cpu = [case.cpu for case in cases if case.cpu is not None]
    return {
        "tests": len({case.function for case in cases}),
        "cases": len(cases) if cases else None,
        "failed": sum(case.outcome == "failed" for case in cases),
        "skipped": sum(case.outcome == "skipped" for case in cases),
        "seconds": round(wall, 3) if cases else None,
        "cpu": round(sum(cpu), 3) if cpu else None,
        "budget": budget,
        "share": round(wall / budget, 4) if cases and budget else None,
        "power": [vars(one) for one in power],
    }


def waiting(tiers: dict[str, list[Case]]) -> list[dict[str, Any]]:
    """Give what skipped cases wait for, the most awaited first."""
    counts: dict[tuple[str, str], int] = {}
    for name, cases in tiers.items():
        for case in cases:
            if case.outcome == "skipped":
                key = name, case.reason
                counts[key] = counts.get(key, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"tier": t, "reason": why, "cases": count} for (t, why), count in ordered]


def functions(tiers: dict[str, list[Case]]) -> dict[str, dict[str, Any]]:
    """Give every test function's cases and seconds, the slowest first."""
    found: dict[str, dict[str, Any]] = {}
    for name, cases in tiers.items():
        for case in cases:
            blank = {"tier": name, "cases": 0, "seconds": 0.0, "cpu": None}
            own = found.setdefault(case.function, blank)
            own["cases"] += 1
            own["seconds"] = round(own["seconds"] + case.seconds, 4)
            if case.cpu is not None:
                own["cpu"] = round((own["cpu"] or 0.0) + case.cpu, 4)
    return dict(sorted(found.items(), key=lambda item: (-item[1]["seconds"], item[0])))


def trend(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Compare with an older table: seconds and cases of tiers, and which tests got slower.

    Processor seconds are compared where both runs recorded them: the wall is noisy.
    """
    if not isinstance(old.get("tiers"), dict) or not isinstance(old.get("functions"), dict):
        raise ReportError("the older table has no tiers; expected what `zoo pyramid --json` writes")
    tiers = [
        {"tier": name, "what": what, "before": old["tiers"][name].get(what), "now": tier[what]}
        for name, tier in new["tiers"].items()
        for what in ("tests", "cases", "seconds")
        if name in old["tiers"]
    ]
    slower = []
    for name, now in new["functions"].items():
        before = old["functions"].get(name)
        if before is None:
            continue
        both = now["cpu"] is not None and before.get("cpu") is not None
        what = "cpu" if both else "seconds"
        a, b = before[what], now[what]
        if b > SLOWER * a and b - a > MORE:
            slower.append({"test": name, "what": what, "before": a, "now": b})
    return {
        "before": old.get("when"),
        "tiers": tiers,
        "slower": sorted(slower, key=lambda one: one["before"] - one["now"]),
        "added": len(new["functions"].keys() - old["functions"].keys()),
        "gone": len(old["functions"].keys() - new["functions"].keys()),
    }

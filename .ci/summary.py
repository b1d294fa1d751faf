"""Write a job's summary: what failed first, then the table of tiers.

    python3 .ci/summary.py [--since build/trend/pyramid.json] [--json build/trend/pyramid.json]

It goes to the file that GITHUB_STEP_SUMMARY names, or to stdout. Standard library and the source
tree only: it works after an installation that failed.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE / "src"))

from zoo.pyramid.tally_words import as_markdown  # noqa: E402
from zoo.pyramid.tiers import gather, trend  # noqa: E402

MOST = 30  # failures that are shown; the report in the artifact has them all


def failures(folder: Path) -> list[tuple[str, str]]:
    """Give the failed cases of all reports: a name, and the first line of what it said."""
    found = []
    for path in sorted(folder.glob("*.xml")):
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            for bad in (*case.iterfind("failure"), *case.iterfind("error")):
                said = (bad.get("message") or bad.text or "").strip().splitlines() or ["?"]
                found.append((f"{case.get('classname')}::{case.get('name')}", said[0][:200]))
    return found


def failed_lines(found: list[tuple[str, str]]) -> list[str]:
    """Write failures as Markdown."""
    if not found:
        return []
    lines = [f"### {len(found)} failed", ""]
    # in a code span nothing is Markdown but the backtick
    lines += [f"- `{name.replace('`', ' ')}`  \n  {quoted(said)}" for name, said in found[:MOST]]
    if len(found) > MOST:
        lines.append(f"- and {len(found) - MOST} more: see the report in the artifacts")
    return [*lines, ""]


def quoted(text: str) -> str:
    """Write text of a failure so that it shows as it is."""
    return "`" + text.replace("`", "'") + "`"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=HERE)
    parser.add_argument("--since", type=Path, help="an older table, where there is one")
    parser.add_argument("--json", type=Path, help="write the table, to compare with later")
    args = parser.parse_args(arguments)
    record = gather(args.root)
    if args.since and args.since.is_file():
        record["trend"] = trend(json.loads(args.since.read_text()), record)
    lines = failed_lines(failures(args.root / "build/report"))
    text = "\n".join([*lines, "### Tests", "", as_markdown(record, 10), ""])
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record))
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if place:
        with open(place, "a", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

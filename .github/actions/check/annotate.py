"""Turn what `zoo check --json` says into annotations of lines and a job's summary.

    python annotate.py report.jsonl

Annotations go to stdout in the form that GitHub reads; the table goes to the file that
GITHUB_STEP_SUMMARY names, or to stderr. Standard library only.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

LEVELS = {"fail": "error", "warn": "warning", "info": "notice"}
LEFT_OUT = {".git", ".venv", "venv", "node_modules", "build", "site-packages", "__pycache__"}


def place(line: str, root: Path) -> tuple[str, int] | None:
    """Give the file and number of "model.py:41 scores.softmax(1)": the file that has that line."""
    where, _, code = line.partition(" ")
    name, _, number = where.rpartition(":")
    if not name or not number.isdigit():
        return None
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(one for one in folders if one not in LEFT_OUT)
        if Path(name).name in files:
            path = Path(folder, Path(name).name)
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            if int(number) <= len(lines) and first(code) in lines[int(number) - 1]:
                return path.relative_to(root).as_posix(), int(number)
    return None


def first(code: str) -> str:
    """Give what is surely in the line: a long statement is quoted in part."""
    return code.split("...")[0].split("\n")[0].strip()[:40].strip()


def escaped(text: str, inside: bool = False) -> str:
    """Escape text for a workflow command; `inside` its properties more is special."""
    pairs = [("%", "%25"), ("\r", "%0D"), ("\n", "%0A")]
    for plain, code in [*pairs, (":", "%3A"), (",", "%2C")] if inside else pairs:
        text = text.replace(plain, code)
    return text


def annotation(finding: dict[str, Any], target: str, root: Path) -> str:
    """Write one finding as a workflow command."""
    title = f"{finding['kind']} at {finding['where'] or 'the model'} of {target}"
    said = f"{finding['evidence']}. {finding['explanation']}.\nFix: {finding['fix']}"
    at = place(finding.get("line") or "", root)
    parts = [f"file={escaped(at[0], True)}", f"line={at[1]}"] if at else []
    parts.append(f"title={escaped(title, True)}")
    return f"::{LEVELS.get(finding['severity'], 'notice')} {','.join(parts)}::{escaped(said)}"


def cell(text: str) -> str:
    """Write text so that it stays in its cell."""
    flat = " ".join(str(text).split())
    for plain, code in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_")):
        flat = flat.replace(plain, code)
    return flat.replace("`", "\\`")


def table(reports: list[dict[str, Any]]) -> str:
    """Write the summary."""
    lines = []
    for report in reports:
        checks = report.get("checks", [])
        ran = sum(check["status"] in ("passed", "found") for check in checks)
        verdict = "nothing is wrong" if report["ok"] else "something is wrong"
        lines += [f"### {cell(report['target'])}: {verdict}", "", f"{ran} checks ran.", ""]
        if report["findings"]:
            lines += ["| | kind | where | evidence | fix |", "|---|---|---|---|---|"]
        for one in report["findings"]:
            line = (one.get("line") or "").partition(" ")[0]
            where = f"{one['where'] or 'the model'} {line}"
            cells = (one["severity"], one["kind"], where, one["evidence"], one["fix"])
            lines.append("| " + " | ".join(map(cell, cells)) + " |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    text = Path(arguments[0]).read_text(encoding="utf-8")
    reports = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    for report in reports:
        for finding in report["findings"]:
            print(annotation(finding, report["target"], Path.cwd()))
    written = table(reports) if reports else "### zoo check gave no report: see the log\n"
    place_of_summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if place_of_summary:
        with open(place_of_summary, "a", encoding="utf-8") as file:
            file.write(written + "\n")
    else:
        print(written, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

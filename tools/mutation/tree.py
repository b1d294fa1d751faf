"""A work copy in which a room's mutants live, and the run of its tests there.

mutmut has no way to narrow its files and tests from the command line, and mutates all of `src`
before each run. Here a copy of the checkout under build/mutation/<room> gets the chosen mutants
alone, so that the fixed cost is that of the room.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from tools.mutation.mutants import mutated
from tools.mutation.rooms import Room
from tools.mutation.score import OPEN

LINKS = ("golden", "benchmarks", "examples", "docs", "tools", "README.md", ".ci", ".github")
PLAIN = ("-q", "-s", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=native", "--rootdir=.")
MARKS = "not compile and not subproc and not scheduled"


class RunError(RuntimeError):
    """The run of a room's tests did not get as far as its mutants."""


def make(room: Room, chosen: Collection[str], place: Path) -> dict[str, str]:
    """Make the copy with the chosen mutants (ids); give the ids by mutmut's name."""
    shutil.rmtree(place, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree("src", place / "src", ignore=skip)
    shutil.copytree("tests", place / "tests", ignore=skip)
    shutil.copy2("pyproject.toml", place)
    for name in LINKS:
        if Path(name).exists():
            (place / name).symlink_to(Path(name).resolve())
    ids = {}
    wanted = set(chosen)
    for file in room.files:
        made = mutated(file)
        if any(mutant.id in wanted for mutant in made.mutants):
            text, names = made.write(wanted)
            (place / file).write_text(text)
            ids |= {name: mutant for mutant, name in names.items()}
    return ids


def run(room: Room, names: list[str], place: Path, *, jobs: int) -> list[dict]:
    """Run the mutants (mutmut's names) in the copy; give their records.

    A function that is called at import has its mutants that live run again in children that import
    everything under the mutant: what a test file makes there is made of the original otherwise.
    """
    records = run_once(room, names, place, {"jobs": jobs})
    imported = [r["mutant"] for r in records if r.get("imported") and r["verdict"] in OPEN]
    if imported:
        again = run_once(room, imported, place, {"jobs": jobs, "fresh": True})
        records = [r for r in records if r["mutant"] not in set(imported)] + again
    missing = sorted(set(names) - {record["mutant"] for record in records})
    if missing:
        raise RunError(f"room {room.name}: no verdict for {missing[:3]} and {len(missing)} in all")
    return records


def run_once(room: Room, names: list[str], place: Path, options: dict) -> list[dict]:
    """Start pytest with the plugin of loop.py, and read what it has written."""
    place = place.resolve()
    results, job = place / "results.jsonl", place / "job.json"
    results.write_text("")
    work = {
        "mutants": names,
        "results": str(results),
        "scratch": str(place / "scratch"),
        "source": str(place / "src"),
    }
    job.write_text(json.dumps(work | options))
    words = [*PLAIN, "-m", MARKS, "-p", "tools.mutation.loop"]
    words += [argument for test in room.leave for argument in ("--deselect", test)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *room.tests],
        cwd=place,
        env=os.environ | one_thread() | {"ZOO_MUTATION_JOB": str(job), "PYTHONPATH": paths()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    (place / "log.txt").write_text(done.stdout + done.stderr)
    if done.returncode not in (0, 5):
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-30:])
        raise RunError(f"room {room.name}: pytest ended with {done.returncode}\n{tail}")
    return [json.loads(line) for line in results.read_text().splitlines()]


def paths() -> str:
    """Give where modules come from: the copy first, and this tool."""
    return os.pathsep.join(["src", str(Path(__file__).resolve().parents[2])])


def one_thread() -> dict[str, str]:
    """Give the environment of every run: a forked child of a threaded parent would hang."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, "1") | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

"""The scripts of .ci and of the action, run as CI runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANNOTATE = ROOT / ".github/actions/check/annotate.py"


OUTSIDE = {name: text for name, text in os.environ.items() if not name.startswith("GITHUB_")}


def call(*words, cwd=ROOT, **environment):
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env=OUTSIDE | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


GATES = {
    "all good": ({"lint": "success", "test": "success"}, 0),
    "one failed": ({"lint": "success", "test": "failure"}, 1),
    "one skipped": ({"lint": "success", "test": "skipped"}, 1),
    "one cancelled": ({"lint": "cancelled"}, 1),
    "nothing ran": ({}, 1),
}


@pytest.mark.parametrize("name", GATES)
def test_the_gate_opens_only_when_all_went_well(name):
    results, code = GATES[name]
    needs = {job: {"result": result, "outputs": {}} for job, result in results.items()}
    assert call(".ci/gate", NEEDS=json.dumps(needs))[0] == code


TORCHES = {
    "oldest": "torch==2.11",
    "newest": "torch without a pin",
    "2.12.1": "torch==2.12.1",
}


@pytest.mark.parametrize("torch", TORCHES)
def test_another_torch_takes_the_place_of_the_pinned_one(torch):
    code, out, said = call(".ci/install", TORCH=torch, DRY="1")
    assert (code, out.strip()) == (0, TORCHES[torch]), said


@pytest.mark.parametrize("words", [[], ["nothing"]], ids=["none", "unknown"])
def test_a_tier_that_is_none_is_refused(words):
    code, _, said = call(".ci/tier", *words)
    assert code and "there are unit, shapes, integration, e2e" in said


def floor_folder(folder, floor, lines, branches):
    (folder / "floor.json").write_text(json.dumps(floor))
    totals = {
        "covered_lines": lines,
        "num_statements": 1000,
        "covered_branches": branches,
        "num_branches": 1000,
    }
    (folder / "coverage.json").write_text(json.dumps({"totals": totals}))
    return ["--floor", folder / "floor.json", "--measured", folder / "coverage.json"]


FLOORS = {
    "above": (990, 960, 0),
    "just": (980, 950, 0),
    "lines": (979, 999, 1),
    "branches": (999, 949, 1),
}


@pytest.mark.parametrize("name", FLOORS)
def test_coverage_below_the_floor_is_refused(tmp_path, name):
    lines, branches, code = FLOORS[name]
    given = floor_folder(tmp_path, {"lines": 98.0, "branches": 95.0}, lines, branches)
    assert call(sys.executable, ".ci/floor.py", *given)[0] == code


def test_the_floor_only_goes_up(tmp_path):
    given = floor_folder(tmp_path, {"lines": 98.0, "branches": 95.0}, 987, 900)
    assert call(sys.executable, ".ci/floor.py", "--raise", *given)[0] == 0
    assert json.loads((tmp_path / "floor.json").read_text()) == {"lines": 98.7, "branches": 95.0}


def test_a_change_that_lowers_the_floor_is_refused(tmp_path):
    given = floor_folder(tmp_path, {"lines": 98.0, "branches": 95.0}, 0, 0)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "floor.json"], ["commit", "-qm", "floor"]):
        assert call(*git, *words, cwd=tmp_path)[0] == 0
    since = [sys.executable, ".ci/floor.py", "--since", "HEAD", *given]
    assert call(*since)[0] == 0
    (tmp_path / "floor.json").write_text(json.dumps({"lines": 97.9, "branches": 96.0}))
    code, _, said = call(*since)
    assert code == 1 and said == "lines: 97.90 % is below the floor of 98.0 %\n"


def test_a_benchmark_is_held_against_the_last_runs(tmp_path):
    history = tmp_path / "trend/bench.jsonl"
    (tmp_path / "ops.json").write_text('{"op": "gelu", "kind": "forward", "ratio": 1.0}\n' * 2)
    (tmp_path / "models.json").write_text(json.dumps({"items": {"gpt2": {"ratio": 1.2}}}))
    files = [tmp_path / "ops.json", tmp_path / "models.json"]
    trend = [sys.executable, ".ci/trend.py", *files, "--history", history]
    for _ in range(3):
        assert "| ops gelu forward | 1.000 |" in call(*trend)[1]
    (tmp_path / "models.json").write_text(json.dumps({"items": {"gpt2": {"ratio": 0.7}}}))
    code, out, said = call(*trend, "--commit", "abc")
    assert code == 0, said
    worst = "| models gpt2 | 0.700 | 1.200 | 1.200 to 1.200 | outside |"
    assert out.splitlines()[2] == worst
    assert [json.loads(line)["commit"] for line in history.read_text().splitlines()] == [
        *("", "", ""),
        "abc",
    ]


def test_the_summary_begins_with_what_failed(tmp_path):
    report = (
        '<testsuites><testsuite time="3" timestamp="2026-01-02T03:04:05">'
        '<testcase classname="tests.unit.test_x" name="test_a[`x`]" time="1">'
        '<failure message="assert 1 == 2&#10;more">long</failure></testcase>'
        '<testcase classname="tests.unit.test_x" name="test_b" time="1"/>'
        "</testsuite></testsuites>"
    )
    (tmp_path / "tests/unit").mkdir(parents=True)
    (tmp_path / "tests/unit/test_x.py").write_text("def test_a(): ...\n")
    (tmp_path / "build/report").mkdir(parents=True)
    (tmp_path / "build/report/unit.xml").write_text(report)
    page, table = tmp_path / "page.md", tmp_path / "table.json"
    summary = [".ci/summary", "--root", tmp_path, "--json", table, "--since", table]
    assert call(*summary, GITHUB_STEP_SUMMARY=str(page))[0] == 0
    lines = page.read_text().splitlines()
    assert lines[:4] == [
        "### 1 failed",
        "",
        "- `tests.unit.test_x::test_a[ x ]`  ",
        "  `assert 1 == 2`",
    ]
    assert "| unit | 2 | 2 | 1 | 3.0 s |" in lines
    assert call(*summary)[1].count("since then") == 1  # the table of the first call is read


FINDING = {
    "kind": "causal-leak",
    "severity": "fail",
    "where": "blocks.0",
    "evidence": "100 % of a|b, `x`",
    "explanation": "why",
    "fix": "a\nb",
    "line": "net.py:2 x = softmax(1)",
}
# what differs in the finding, and how its annotation begins
NOTES = {
    "line": ({}, "::error file=pkg/net.py,line=2,title=causal-leak at blocks.0 of net%3Aspec::"),
    "warning": (
        {"severity": "warn", "line": ""},
        "::warning title=causal-leak at blocks.0 of net%3Aspec::",
    ),
    "other text there": ({"line": "net.py:2 y = 3"}, "::error title=causal-leak"),
    "past the end": ({"line": "net.py:9 x"}, "::error title=causal-leak"),
    "no such file": ({"line": "other.py:2 x"}, "::error title=causal-leak"),
    "cut short": ({"line": "net.py:2 x = soft..."}, "::error file=pkg/net.py,line=2,"),
}


@pytest.mark.parametrize("name", NOTES)
def test_a_finding_becomes_an_annotation_of_its_line(tmp_path, name):
    changes, begins = NOTES[name]
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/net.py").write_text("import torch\n    x = softmax(1)\n")
    report = {"target": "net:spec", "ok": False, "findings": [FINDING | changes], "checks": []}
    (tmp_path / "report.jsonl").write_text(json.dumps(report) + "\n")
    code, out, table = call(sys.executable, ANNOTATE, "report.jsonl", cwd=tmp_path)
    assert code == 0, table
    assert out.startswith(begins)
    assert out.endswith("::100 %25 of a|b, `x`. why.%0AFix: a%0Ab\n")
    assert "100 % of a\\|b, \\`x\\` | a b |" in table


BROKEN = ROOT / "docs/broken/decoder.py"


@pytest.mark.parametrize(("spec", "code"), [("decoder.py:spec", 1), ("decoder.py:nothing", 2)])
def test_the_action_says_what_the_check_says(tmp_path, spec, code):
    (tmp_path / "decoder.py").write_text(BROKEN.read_text())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {"SPEC": spec, "TIER": "quick", "INSTALL": "echo installed", "PATH": path}
    page = tmp_path / "page.md"
    got, out, said = call(
        ROOT / ".github/actions/check/check",
        cwd=tmp_path,
        RUNNER_TEMP=str(tmp_path),
        GITHUB_STEP_SUMMARY=str(page),
        GITHUB_OUTPUT=str(tmp_path / "output"),
        **given,
    )
    assert got == code, said
    assert ("::error file=decoder.py,line=21,title=causal-leak" in out) == (code == 1)
    assert ("something is wrong" in page.read_text()) == (code == 1)
    assert (tmp_path / "output").read_text().startswith(f"report={tmp_path}")


def test_pre_commit_finds_the_hook_and_runs_it(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for folder, name, text in (
        (ours, ".pre-commit-hooks.yaml", (ROOT / ".pre-commit-hooks.yaml").read_text()),
        (theirs, "model.py", "spec = None\n"),
    ):
        folder.mkdir()
        (folder / name).write_text(text)
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            assert call(*git, *words, cwd=folder)[0] == 0
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = [sys.executable, "-m", "pre_commit", "try-repo", ours, "zoo-check", "--all-files"]
    code, out, said = call(*run, cwd=theirs, PATH=path, PRE_COMMIT_HOME=str(tmp_path / "home"))
    assert code == 1, said  # no model was named: the hook says so
    assert "hook id: zoo-check" in out and "give pkg.mod:spec" in out

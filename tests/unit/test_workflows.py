"""The rules of .github and .ci: pinned, least rights, in time, and runnable by hand."""

import os
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((ROOT / ".github/workflows").glob("*.yml"))
}
ACTION = ROOT / ".github/actions/check/action.yml"
FILES = [*sorted((ROOT / ".github/workflows").glob("*.yml")), ACTION]
JOBS = {
    f"{name}-{key}": job for name, flow in WORKFLOWS.items() for key, job in flow["jobs"].items()
}
TARGETS = set(re.findall(r"^([a-z][a-z0-9 ]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TARGETS = {word for line in TARGETS for word in line.split()}
PIN = re.compile(r"uses: [\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$")
SCRIPTS = [path for path in sorted((ROOT / ".ci").iterdir()) if path.is_file() and not path.suffix]


def trigger(flow):
    """Give what starts a workflow: YAML 1.1 reads the key `on` as true."""
    return flow[True]


def steps(job):
    return job["steps"]


def runs(job):
    return [step["run"] for step in steps(job) if "run" in step]


def test_the_five_workflows_are_there():
    assert sorted(WORKFLOWS) == ["gpu", "merge", "nightly", "pull-request", "release"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_action_is_pinned_by_its_hash_and_says_its_version(path):
    lines = [line.strip(" -") for line in path.read_text().splitlines() if "uses:" in line]
    assert [line for line in lines if not PIN.match(line)] == []
    assert lines


def test_an_action_has_one_hash_everywhere():
    pins = {}
    for path in FILES:
        for name, rest in re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@(.*)", path.read_text()):
            pins.setdefault(name, set()).add(rest)
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read(name):
    assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})


def test_only_the_job_that_publishes_may_do_more_and_it_runs_no_script():
    more = {key: job["permissions"] for key, job in JOBS.items() if "permissions" in job}
    assert more == {"release-publish": {"id-token": "write"}}
    publish = JOBS["release-publish"]
    assert runs(publish) == [] and publish["environment"] == "pypi"
    assert not any("checkout" in step["uses"] for step in steps(publish))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_says_what_may_run_beside_it(name):
    assert set(WORKFLOWS[name]["concurrency"]) == {"group", "cancel-in-progress"}


def test_nobody_outside_starts_a_run_with_rights():
    for flow in WORKFLOWS.values():
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(trigger(flow))
    assert "secrets." not in "".join(path.read_text() for path in FILES)


@pytest.mark.parametrize("key", JOBS)
def test_a_job_ends_in_time(key):
    assert 0 < JOBS[key]["timeout-minutes"] <= 240


@pytest.mark.parametrize("key", JOBS)
def test_a_checkout_keeps_no_credentials(key):
    for step in steps(JOBS[key]):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("key", JOBS)
def test_a_run_is_one_line_that_calls_a_script_or_a_target(key):
    for line in runs(JOBS[key]):
        assert "\n" not in line.strip() and "${{" not in line
        assert not re.search(r"[;&|<>`]|\$\(", line), f"{line}: that is for a script"
        program, first = [*line.split(), ""][:2]
        if program == "make":
            assert first in TARGETS, f"the Makefile has no {first}"
        else:
            path = ROOT / program
            assert program.startswith(".ci/") and path.is_file() and os.access(path, os.X_OK), line


def test_the_action_runs_its_own_script():
    action = yaml.safe_load(ACTION.read_text())
    (step,) = [step for step in action["runs"]["steps"] if "run" in step]
    assert step["run"] == '"$GITHUB_ACTION_PATH/check"'
    assert os.access(ACTION.with_name("check"), os.X_OK)
    given = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert given == set(action["inputs"]) == {"spec", "tier", "python-version", "install"}


def test_a_pull_request_sees_every_python_another_system_and_the_oldest_torch():
    rows = JOBS["pull-request-test"]["strategy"]["matrix"]["include"]
    assert {row["python"] for row in rows} >= {"3.11", "3.12", "3.13"}
    assert {row["os"].split("-")[0] for row in rows} == {"ubuntu", "macos"}
    assert {row["torch"] for row in rows} == {"pinned", "oldest"}
    assert JOBS["nightly-newest"]["env"]["TORCH"] == "newest"


def test_the_one_check_of_a_pull_request_waits_for_all_others():
    jobs = WORKFLOWS["pull-request"]["jobs"]
    assert set(jobs["good"]["needs"]) == set(jobs) - {"good"}
    assert "always()" in jobs["good"]["if"]


@pytest.mark.parametrize("key", JOBS)
def test_a_report_is_kept_when_tests_fail(key):
    for step in steps(JOBS[key]):
        keeps = "upload-artifact" in step.get("uses", "") or step.get("run") == ".ci/summary"
        if keeps and key != "release-build":
            assert "cancelled()" in step["if"]


def test_the_night_has_its_parts():
    assert set(WORKFLOWS["nightly"]["jobs"]) == {
        *(
            "plan",
            "mutation",
            "scores",
            "escapes",
            "power",
            "flake",
            "slow",
            "properties",
            "reproduce",
        ),
        *("quality", "testers", "bench", "pyramid", "newest"),
    }
    assert "schedule" in trigger(WORKFLOWS["nightly"])
    shards = JOBS["nightly-mutation"]["strategy"]["matrix"]
    assert shards == "${{ fromJSON(needs.plan.outputs.matrix) }}"


def test_what_is_trained_again_has_a_recipe():
    names = JOBS["nightly-reproduce"]["strategy"]["matrix"]["name"]
    assert names
    assert all((ROOT / "src/zoo/recipes" / f"{name}.toml").is_file() for name in names)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_can_be_run_and_says_what_it_does(script):
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert text.splitlines()[0] in ("#!/usr/bin/env bash", "#!/usr/bin/env python3")
    assert text.splitlines()[1].startswith(("# ", '"""'))
    assert "bash" not in text.splitlines()[0] or "\nset -euo pipefail\n" in text


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_called_somewhere(script):
    callers = [*FILES, *SCRIPTS, ROOT / "Makefile"]
    texts = [path.read_text() for path in callers if path != script]
    assert any(re.search(rf"\.ci/{script.name}\b", text) for text in texts)


def test_a_tier_is_run_as_the_makefile_runs_it():
    (names,) = re.findall(r"^  ([a-z0-9 |]+)\) shift", (ROOT / ".ci/tier").read_text(), re.M)
    assert set(names.split(" | ")) == {"unit", "shapes", "integration", "e2e"} <= TARGETS


def test_other_projects_find_the_hook():
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "zoo-check" and hook["entry"].startswith("zoo check")
    assert hook["pass_filenames"] is False

"""Nonsense by the thousand: what comes back is deliberate, nothing is left behind, and what is
good is answered right afterwards."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.door import ROOT, environment
from e2e.fuzz_bodies import GOOD
from e2e.fuzz_wire import draw_request, exchange, fault_of
from e2e.serving import serving, until

FEW, MANY = 5_000, 100_000
CLIENTS = 8
KEY = "a-key"
SIZES = [FEW, pytest.param(MANY, marks=pytest.mark.scheduled)]
LOAD = ROOT / ".venv" / "load"  # where schemathesis is


@pytest.fixture(scope="module")
def folders(models):
    return [f"{name}={models / name}" for name in ("gpt2", "masked", "vit", "clip")]


def answers(server, **headers):
    """Give the answers to good requests, without what is drawn anew each time."""
    drawn = ("id", "created")
    found = {}
    for path, body in GOOD.items():
        more = {"seed": 1} if path == "/v1/completions" else {}
        told = server.post(path, **body, **more).json
        found[path] = {key: value for key, value in told.items() if key not in drawn}
        assert found[path]["model"] == f"{body['model']}@1"
    return found


@pytest.mark.parametrize("count", SIZES)
def test_bytes_that_mean_nothing_harm_nobody(folders, tmp_path, count):
    limits = {"header_seconds": 0.5, "body_seconds": 0.5, "connections": 64}
    with serving(tmp_path, folders, limits=limits) as server:
        before = answers(server)
        until(lambda: server.ask("GET", "/healthz").status == 200)
        held = server.held()

        def one(seed):
            sent = draw_request(seed)
            fault = fault_of(sent, exchange(server.port, sent, seed))
            return fault and f"{seed} {sent.kind}: {fault}"

        with ThreadPoolExecutor(CLIENTS) as pool:
            faults = [fault for fault in pool.map(one, range(count)) if fault]
        assert not faults, "\n".join(faults[:20])
        until(lambda: server.held() <= held)
        assert answers(server) == before
        assert {model["state"] for model in server.ask("GET", "/v1/models").json["data"]} == {
            "ready"
        }
        assert not server.records("version restarting")


CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "404", "422"]
"""


@pytest.mark.parametrize("count", SIZES)
def test_what_the_document_allows_is_taken_and_what_it_does_not_is_refused(
    folders, tmp_path, count
):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    with serving(tmp_path, folders, keys=(KEY,)) as server:
        held = server.held()
        done = schemathesis(server.url, tmp_path, count)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        told = int(re.search(r"([0-9,]+) generated", done.stdout)[1].replace(",", ""))
        assert told >= count
        until(lambda: server.held() <= held)
        statuses = {record["status"] for record in server.records()}
        assert 200 in statuses and 401 in statuses
        assert not {status for status in statuses if status >= 500}


def schemathesis(url, place, count):
    """Let schemathesis put requests to a server."""
    words = ["--config-file", "schemathesis.toml", "run", f"{url}/openapi.json"]
    words += ["--header", f"Authorization: Bearer {KEY}", "--checks", "all", "--seed", "1"]
    words += ["--max-examples", str((count - 500) // 6), "--phases", "coverage,fuzzing"]
    words += ["--generation-database", "none", "--continue-on-failure", "--no-shrink"]
    words += ["--no-color", "--suppress-health-check", "all"]
    paths = os.pathsep.join(map(str, (LOAD, Path(__file__).parents[1])))
    return subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *words],
        cwd=place,
        env=environment(PYTHONPATH=paths, SCHEMATHESIS_HOOKS="e2e.fuzz_hooks"),
        capture_output=True,
        text=True,
        check=False,
    )

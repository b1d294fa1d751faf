"""`zoo check` as a user calls it: what it prints, writes and refuses, and the exit code."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from e2e.browser import Browser, program
from e2e.door import ROOT, SECONDS, Answer, call, environment
from e2e.test_report_page import CONTRAST, HEADINGS, VIEWS, WIDE
from zoo.testing import CHECKS, KINDS

BROKEN = ROOT / "docs" / "broken"
MINE = """
import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 5))

    def forward(self, features):
        return self.layers(features)


class Leaking(Net):
    def forward(self, features):
        return self.layers(features - features.mean(0))


class Broken(Net):
    def forward(self, features):
        return self.layers(features[:, :5])


def wide(width):
    return Net()


def batch(size):
    return {"features": torch.randn(size, 6), "labels": torch.randint(5, (size,))}


def loss(output, batch):
    return F.cross_entropy(output, batch["labels"])


good = ModelSpec(build=Net, batch=batch, loss=loss, task="classification", num_classes=5)
leaking = ModelSpec(build=Leaking, batch=batch, loss=loss, name="<b>leaking & co</b>")
broken = ModelSpec(build=Broken, batch=batch)
nothing = 3
"""
QUICK = ("--only", "batch_independence", "--only", "determinism")
SKIPPED = ("--skip", "determinism", "--skip", "forward")
FLOW = ("--only", "gradient_flow")
# one process for many calls: most of a call's time is the import of torch
MANY = """
import contextlib, io, json, sys
from zoo.cli import main
for words in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""


def calls(rows, cwd):
    """Run `zoo check` with the words of each row, one after the other; give the answers by row."""
    words = [["check", *map(str, row)] for row in rows.values()]
    done = subprocess.run(
        [sys.executable, "-c", MANY],
        input=json.dumps(words),
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=5 * SECONDS,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {key: Answer(*line) for key, line in zip(rows, lines, strict=True)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("mine")
    (place / "mine.py").write_text(MINE)
    (place / "empty.py").write_text("import torch\n")
    (place / "broken_file.py").write_text("import torch\nraise RuntimeError('not today')\n")
    return place


CODES = {
    "a sound model": (("mine.py:good",), 0),
    "a sound model as a module": (("mine:good",), 0),
    "a bare module class": (("mine.py:Net", "--fact", "num_classes=5"), 0),
    "a model with a bug": (("mine.py:leaking",), 1),
    "a bare module class with a bug": (("mine.py:Leaking",), 1),
    "one of two has a bug": (("mine.py:good", "mine.py:leaking"), 1),
    "a model that does not run": (("mine.py:broken",), 1),
}


@pytest.fixture(scope="module")
def judged(place):
    return calls({name: (*words, *QUICK) for name, (words, _) in CODES.items()}, place)


@pytest.mark.parametrize("name", CODES)
def test_the_exit_code_says_whether_all_is_well(name, judged):
    code, answer = CODES[name][1], judged[name]
    assert (answer.code, answer.err) == (code, "")
    assert ("FAIL" in answer.out) == bool(code)


def test_a_sound_model_passes_every_check(place):
    answer = call("check", "mine.py:good", cwd=place, limit=5 * SECONDS)
    assert (answer.code, answer.err) == (0, "")
    headline, *rest = answer.out.splitlines()
    assert re.fullmatch(r"Net: \d+ checks in \d+\.\d s, all good", headline)
    assert not [line for line in rest if "could not be run" in line]


def test_a_module_without_a_name_gives_all_its_specs(place):
    answer = call("check", "mine.py", *QUICK, "--json", cwd=place)
    assert answer.code == 1
    found = [(record["target"], record["ok"]) for record in answer.records]
    assert found == [("mine.py:broken", False), ("mine.py:good", True), ("mine.py:leaking", False)]


TOLD = {
    "words": ("mine.py:leaking", *QUICK),
    "json": ("mine.py:leaking", *QUICK, "--json"),
    "crash": ("mine.py:broken", "--json"),
    "named": ("mine.py:good", "--json", "--only", "determinism", "--only", "forward"),
    "quick": ("mine.py:good", "--json", "--tier", "quick", *SKIPPED),
    "fact": ("mine.py:Net", "--only", "forward", "--json", "--fact", "name=a=b c"),
    "quoted": ("mine.py:Net", "--only", "forward", "--json", "--fact", "name='12'"),
    "kept": ("mine.py:good", *FLOW),
    "broken": ("mine.py:good", *FLOW, "--json", "--fact", "frozen=['layers.0.*']"),
    "list": ("--list",),
    "list in json": ("--list", "--json"),
}


@pytest.fixture(scope="module")
def told(place):
    return calls(TOLD, place)


def test_a_finding_is_told_whole_in_words_and_in_json(told):
    (record,) = told["json"].records
    words = told["words"].out
    (finding,) = record["findings"]
    assert (finding["kind"], finding["severity"]) == ("batch-leak", "fail")
    assert finding["check"] == "batch_independence"
    assert finding["line"].startswith("mine.py:")
    assert KINDS["batch-leak"] in words
    for field in ("line", "explanation", "fix"):
        assert finding[field] in words
    assert all(line.strip() in words for line in finding["repro"].splitlines())
    assert [check["check"] for check in record["checks"]] == ["batch_independence", "determinism"]
    assert {check["status"] for check in record["checks"]} == {"found", "passed"}
    assert record["parameters"] == 6 * 16 + 16 + 16 * 5 + 5
    assert record["seconds"] > 0


def test_a_findings_example_shows_it_again(told, place, run_python):
    (finding,) = told["json"].records[0]["findings"]
    again = f"""
import sys
sys.path.insert(0, {str(place)!r})
try:
{re.sub("^", "    ", finding["repro"], flags=re.MULTILINE)}
except AssertionError as error:
    print(error)
"""
    assert "FAIL batch-leak" in run_python(again)


def test_a_model_that_does_not_run_is_one_finding_with_its_line(told):
    (finding,) = told["crash"].records[0]["findings"]
    assert finding["kind"] == "crash"
    text = "return self.layers(features[:, :5])"
    number = 1 + MINE.splitlines().index(f"        {text}")
    assert finding["line"] == f"mine.py:{number} {text}"
    assert "mat1 and mat2 shapes cannot be multiplied" in finding["evidence"]


def ran(answer):
    return [check["check"] for check in answer.records[0]["checks"]]


def test_checks_are_chosen_by_name_and_by_tier(told):
    assert ran(told["named"]) == ["determinism", "forward"]
    quick = [name for name, check in CHECKS.items() if check.tier == "quick"]
    assert ran(told["quick"]) == [name for name in quick if name not in SKIPPED]


def test_a_fact_becomes_a_field_of_the_spec(told):
    assert told["fact"].records[0]["name"] == "a=b c"
    assert told["quoted"].records[0]["name"] == "12"


def test_a_fact_that_the_model_breaks_is_a_finding(told):
    assert told["kept"].code == 0
    assert told["broken"].code == 1
    assert [f["kind"] for f in told["broken"].records[0]["findings"]] == ["frozen"]


def test_the_list_names_every_check_with_its_tier_and_what_it_proves(told):
    assert [record["check"] for record in told["list in json"].records] == list(CHECKS)
    lines = told["list"].out.splitlines()
    for line, check in zip(lines, CHECKS.values(), strict=True):
        assert line.split()[:2] == [check.name, check.tier]
        assert line.endswith(check.about)


REFUSED = {
    "no target": ((), "no target"),
    "a module that is not there": (("nowhere.at.all:spec",), "no module 'nowhere'"),
    "a file that is not there": (("no/such.py:spec",), "there is no file no/such.py"),
    "a name that is not there": (("mine.py:god",), "it has Broken, Leaking, Net, batch, broken"),
    "a file without a spec": (("empty.py",), "empty.py has no ModelSpec"),
    "a file that raises": (("broken_file.py:x",), "RuntimeError: not today"),
    "what is no model": (("mine.py:nothing",), "int cannot be checked"),
    "a function with arguments": (("mine.py:wide",), "wide needs width to be built"),
    "a check that is none": (("mine.py:good", "--only", "causalty"), "no check 'causalty'"),
    "a skip that is none": (("mine.py:good", "--skip", "x"), "no check 'x'"),
    "a fact without a value": (("mine.py:good", "--fact", "causal"), "expected FIELD=VALUE"),
    "a fact that is no field": (("mine.py:good", "--fact", "casual=x"), "did you mean 'causal'?"),
    "a tier that is none": (("mine.py:good", "--tier", "slow"), "invalid choice: 'slow'"),
    "a page that is no page": (("mine.py:good", "--html", "x.txt"), "ends in .html"),
    "a page in no folder": (("mine.py:good", "--html", "no/x.html"), "no folder"),
}


@pytest.fixture(scope="module")
def refused(place):
    return calls({name: words for name, (words, _) in REFUSED.items()}, place)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_checked_is_refused_in_one_line(name, refused):
    answer = refused[name]
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("zoo: error: ") and answer.err.count("\n") == 1
    assert REFUSED[name][1] in answer.err


@pytest.fixture(scope="module")
def page(place):
    """Make the page of a sound model, of one with hostile names, and of a leaking decoder."""
    out = place / "page.html"
    targets = ("mine.py:good", "mine.py:leaking", BROKEN / "decoder.py")
    words = (*QUICK, "--only", "causality", "--html", out)
    answer = call("check", *targets, *words, cwd=place)
    assert (answer.code, answer.err) == (1, f"wrote {out}\n")
    return out


def test_the_page_is_well_formed_and_fetches_nothing(page, place):
    text = page.read_text(encoding="utf-8")
    body = text.removeprefix("<!doctype html>\n").replace('<meta charset="utf-8">', "")
    body = re.sub(r'<meta name="viewport"[^>]*>', "", body)
    tree = ET.fromstring(body)
    assert not list(tree.iter("script")) and not list(tree.iter("link"))
    assert not re.search(r"(src|href)=|url\(|@import|https?:", text)
    for told in (ROOT, place, Path.home()):
        assert str(told) not in text
    assert not [p for p in place.iterdir() if p.name.endswith(".part")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if program() is None:
        pytest.skip("waits for chromium: make browser")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_is_whole_in_a_browser(view, page, browser, tmp_path):
    tab = browser.open(page.as_uri(), **VIEWS[view])
    assert tab.screenshot(tmp_path / f"check-{view}.png").stat().st_size > 10_000
    assert tab.complaints() == []
    assert tab.requests() == [page.as_uri()]
    wide, room = tab.value(WIDE)
    assert wide <= room == VIEWS[view]["width"]
    levels = tab.value(HEADINGS)
    assert levels[0] == 1 and max(levels) == 2
    contrast, *where = tab.value(CONTRAST)
    assert contrast >= 4.5, where
    shown = tab.value("document.body.innerText")
    assert "<b>leaking & co</b>" in shown
    assert "causal-leak: an output sees the future" in shown
    assert tab.value("document.querySelectorAll('article.fail').length") == 2


def test_the_influence_matrix_is_drawn_for_a_leaking_decoder(page, browser):
    tab = browser.open(page.as_uri(), width=1280)
    drawn = tab.value("[...document.querySelectorAll('figure svg')].map(s => s.ariaLabel)")
    assert len(drawn) == 1
    assert "which" in drawn[0]

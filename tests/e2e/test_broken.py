"""docs/testing.md holds: broken models are told and mended as it shows, its tables are whole."""

import dataclasses
import re

import pytest

from e2e.door import ROOT, call
from zoo import testing
from zoo.cli import VERBS
from zoo.testing import CHECKS, Finding, Input, ModelSpec, Trainer

PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
SHOWN = {
    file: (told, diff)
    for file, told, diff in re.findall(
        r"```sh\nzoo check docs/broken/(\w+)\.py:spec\n```\n\n"
        r"```text\n(.*?)```\n\n```diff\n(.*?)```",
        PAGE,
        re.DOTALL,
    )
}
MINUTES = 600  # seconds that a busy machine may take for all checks
FIGURE = re.compile(r"(?<![\w.])-?\d+(\.\d+)?(e[-+]?\d+)?\b")


def parts(told):
    """Give the head and the line of a finding as they are, and all of it without its figures."""
    head, *rest = told.rstrip().splitlines()
    line = [text for text in rest if text.startswith("   line:")]
    return head, line, FIGURE.sub("#", "\n".join(rest))


def mended(source, diff):
    """Apply a diff: lines that stay or go are found exactly once, together."""
    old = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] != "+")
    new = "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] != "-")
    assert source.count(old) == 1, old
    return source.replace(old, new)


def test_every_broken_model_is_shown():
    assert sorted(SHOWN) == sorted(path.stem for path in (ROOT / "docs" / "broken").glob("*.py"))
    assert len(SHOWN) >= 5


@pytest.mark.parametrize("name", SHOWN)
def test_the_first_finding_is_the_one_on_the_page(name):
    answer = call("check", f"docs/broken/{name}.py:spec", cwd=ROOT, limit=MINUTES)
    assert (answer.code, answer.err) == (1, "")
    _, told, *_ = answer.out.split("\n\n")
    assert parts(SHOWN[name][0]) == parts(told), f"paste into docs/testing.md:\n{told}"


@pytest.mark.parametrize("name", SHOWN)
def test_the_change_on_the_page_mends_it(name, tmp_path):
    source = (ROOT / "docs" / "broken" / f"{name}.py").read_text(encoding="utf-8")
    (tmp_path / f"{name}.py").write_text(mended(source, SHOWN[name][1]), encoding="utf-8")
    answer = call("check", f"{name}.py:spec", cwd=tmp_path, limit=MINUTES)
    assert (answer.code, answer.err) == (0, ""), answer.out
    assert "could not be run" not in answer.out


def rows(head):
    """Give the rows of the page's table that begins with a line."""
    _, _, rest = PAGE.partition(f"{head}\n")
    assert rest, f"docs/testing.md has no table {head}"
    lines = [line for line in rest.partition("\n\n")[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_page_lists_every_check_as_it_is():
    now = [[f"`{c.name}`", c.tier, c.about] for c in CHECKS.values()]
    text = "\n".join(f"| {' | '.join(row)} |" for row in now)
    assert rows("| check | tier | what it proves |") == now, f"paste into docs/testing.md:\n{text}"


TABLES = {ModelSpec: 0, Input: 1, Trainer: 2}


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_the_page_says_what_every_field_is_with_an_example(kind):
    table = PAGE.split("| field | says | example |\n")[1 + TABLES[kind]]
    found = [line.split(" | ") for line in table.partition("\n\n")[0].splitlines()[1:]]
    assert [row[0].strip("| `") for row in found] == [f.name for f in dataclasses.fields(kind)]
    assert all(len(row) == 3 and row[1] and row[2].startswith("`") for row in found)


def test_the_page_says_what_a_finding_holds():
    told = {row[0].strip("`") for row in rows("| part | holds |")}
    assert told == {field.name for field in dataclasses.fields(Finding)}


def test_every_counterpart_of_another_kits_check_exists():
    ours = {*CHECKS, *dir(testing), "--zoo-model"}
    ours |= {f"zoo {verb}" for verb in VERBS} | {f.name for f in dataclasses.fields(ModelSpec)}
    found = rows("| kit | theirs | ours |")
    assert len(found) > 60
    for kit, theirs, counterpart in found:
        assert kit in ("pytest-torch", "torchtest2")
        named = re.findall(r"`([^`]+)`", counterpart)
        assert named or "out of scope" in counterpart or "finding" in counterpart, theirs
        assert set(named) <= ours, theirs


def test_every_command_on_the_page_is_one():
    for verb in re.findall(r"^zoo (\S+)", PAGE, re.MULTILINE):
        assert verb in VERBS
    options = set(
        re.findall(r"(?<=\s)--[a-z-]+", "\n".join(re.findall(r"^zoo check.*$", PAGE, re.M)))
    )
    told = call("check", "--help").out
    assert options and not [option for option in options if option not in told]

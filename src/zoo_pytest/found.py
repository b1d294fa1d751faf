"""What a random search found is tried first by every later run: `-p zoo_pytest.found`.

A property (a test with hypothesis' `@given`) that fails while `--found-record` is on, or while
ZOO_HYPOTHESIS=fuzz, leaves a line in `tests/rows/found.jsonl`:

    test        the id of the test
    arguments   name -> Python literal, as text; null where one of them has no literal
    blob        the same example in hypothesis' own encoding, for those without literals
    hypothesis  the version that wrote the blob
    date, error what was seen, and when

Literals are handed to the property as an `@example`, and so hold whatever becomes of its
strategies; a blob holds for as long as the property draws in the same order. Lines are committed,
and a mended fault keeps its line.
"""

import ast
import datetime
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

FILE = "tests/rows/found.jsonl"
FIELDS = ("test", "arguments", "blob", "hypothesis", "date", "error")
# hypothesis says the second since 6.16x; an example that was given to it is said in other words
CALL = re.compile(r"^(?:Falsifying example|Failing test case): \w+\(\n(.*)^\)", re.M | re.S)
ARGUMENT = re.compile(r"^    (\w+)=(.*?)(?=^    (?:\w+=|#)|\Z)", re.M | re.S)
BLOB = re.compile(r"@reproduce_failure\('([^']+)', b'([^']*)'\)")
SEEN: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()


def pytest_addoption(parser: Any) -> None:
    """Add the options."""
    group = parser.getgroup("found", "what a random search of properties found")
    group.addoption("--found", metavar="FILE", default=FILE, help=f"the rows (default: {FILE})")
    group.addoption(
        "--found-record", action="store_true", help="write a row for each property that fails"
    )


def pytest_configure(config: Any) -> None:
    """Read the rows once."""
    path = place(config)
    config.stash[SEEN] = parsed(path.read_text("utf-8"), path.name) if path.is_file() else []


def place(config: Any) -> Path:
    """Give the file of rows; a path that is not absolute is seen from pytest's root folder."""
    return Path(config.rootpath) / config.getoption("--found")


def recording(config: Any) -> bool:
    """Tell whether failures are written down."""
    return config.getoption("--found-record") or os.environ.get("ZOO_HYPOTHESIS") == "fuzz"


def parsed(text: str, name: str) -> list[dict[str, Any]]:
    """Read rows; raise pytest.UsageError, with the line's number, for what is none."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or set(row) != set(FIELDS):
            raise pytest.UsageError(
                f"{name}:{number} is {line[:60]!r}; expected a JSON object of {', '.join(FIELDS)}"
            )
        rows.append(row)
    return rows


def rows_of(rows: Iterable[Mapping[str, Any]], test: str) -> list[Mapping[str, Any]]:
    """Give the rows of one test."""
    return [row for row in rows if row["test"] == test]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: Any) -> Any:
    """Try what was found before, then let hypothesis search."""
    function = getattr(pyfuncitem.obj, "__func__", pyfuncitem.obj)
    rows = rows_of(pyfuncitem.config.stash[SEEN], pyfuncitem.nodeid)
    if not rows or not getattr(function, "is_hypothesis_test", False):
        return (yield)
    replay_blobs(pyfuncitem, function, rows)
    before = getattr(function, "hypothesis_explicit_examples", ())
    try:
        function.hypothesis_explicit_examples = [*before, *examples(rows)]
        return (yield)
    finally:
        function.hypothesis_explicit_examples = before


def examples(rows: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Give the rows that have literals as examples of hypothesis."""
    from hypothesis import example

    def holder() -> None: ...

    for row in rows:
        if row["arguments"] is not None:
            example(**{name: ast.literal_eval(text) for name, text in row["arguments"].items()})(
                holder
            )
    return list(getattr(holder, "hypothesis_explicit_examples", ()))


def replay_blobs(item: Any, function: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run a property on the rows that have no literals; one that passes now is as it should be."""
    import hypothesis
    from hypothesis.errors import DidNotReproduce

    name = "_hypothesis_internal_use_reproduce_failure"
    arguments = {n: item.funcargs[n] for n in item._fixtureinfo.argnames}
    for row in rows:
        if row["arguments"] is not None:
            continue
        before = getattr(function, name)
        # the version of today: where the encoding has changed, it does not reproduce either
        setattr(function, name, (hypothesis.__version__, row["blob"].encode()))
        try:
            item.obj(**arguments)
        except DidNotReproduce:
            continue
        finally:
            setattr(function, name, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    """Hand what hypothesis found to the process that writes: a worker only reports."""
    report = yield
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if call.when == "call" and call.excinfo is not None and handle is not None:
        names = list(getattr(handle, "_given_kwargs", {}))
        report.zoo_found = list(found(item.nodeid, call.excinfo.value, names))
    return report


def pytest_runtest_logreport(report: Any) -> None:
    """Gather what reports bring; see `pytest_sessionfinish`."""
    NEW.extend(getattr(report, "zoo_found", ()))


NEW: list[dict[str, Any]] = []


def pytest_sessionfinish(session: Any) -> None:
    """Write the new rows, once for all workers."""
    config = session.config
    if not hasattr(config, "workerinput") and recording(config):
        added(place(config), NEW)
    NEW.clear()


def found(test: str, error: BaseException, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each example that hypothesis names in an error, or in those of a group."""
    wanted = set(names)
    for one in (error, *getattr(error, "exceptions", ())):
        notes = "\n".join(getattr(one, "__notes__", ()))
        call, blob = CALL.search(notes), BLOB.search(notes)
        if call is None:
            continue
        arguments = literals(call[1], wanted)
        if arguments is None and blob is None:
            continue
        yield {
            "test": test,
            "arguments": arguments,
            "blob": blob[2] if blob and arguments is None else None,
            "hypothesis": blob[1] if blob and arguments is None else None,
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "error": f"{type(one).__name__}: {str(one).splitlines()[0] if str(one) else ''}"[:120],
        }


def literals(call: str, wanted: set[str]) -> dict[str, str] | None:
    """Give the drawn arguments of a printed call as literals; None where one of them is none.

    Fixtures stand in the call as well; those and what a parametrisation gives come by themselves.
    """
    result = {}
    for name, text in ARGUMENT.findall(call):
        if name not in wanted:
            continue
        try:
            tree = ast.parse(f"({text}\n)", mode="eval").body  # a comma ends it: a tuple of one
            value = tree.elts[0] if isinstance(tree, ast.Tuple) else tree
            ast.literal_eval(value)
        except (ValueError, SyntaxError, IndexError):
            return None
        result[name] = ast.unparse(value)
    return result if set(result) == wanted else None


def added(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Append rows that the file has not; give how many these were."""
    old = parsed(path.read_text("utf-8"), path.name) if path.is_file() else []
    known = {key(row) for row in old}
    fresh = []
    for row in rows:
        if key(row) not in known:
            known.add(key(row))
            fresh.append(json.dumps(row, ensure_ascii=True) + "\n")
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(fresh)
    return len(fresh)


def key(row: Mapping[str, Any]) -> str:
    """Give what makes two rows one."""
    return json.dumps([row["test"], row["arguments"], row["blob"]], sort_keys=True)

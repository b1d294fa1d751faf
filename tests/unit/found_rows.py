"""What random searches found: tests/rows/found.jsonl, which zoo_pytest.found writes and replays."""

import ast
from pathlib import Path

from zoo_pytest.found import FILE, parsed

ROOT = Path(__file__).parents[2]


def rows(path=None):
    """Read the rows; none where nothing was ever found."""
    path = ROOT / FILE if path is None else path
    return parsed(path.read_text("utf-8"), path.name) if path.is_file() else []


def argument_names(test, root=ROOT):
    """Give the arguments of the function that a test's id names, None where there is none."""
    file, *inside = test.partition("[")[0].split("::")
    if not (root / file).is_file():
        return None
    body = ast.parse((root / file).read_text()).body
    for name in inside:
        kinds = (ast.FunctionDef, ast.ClassDef)
        held = next((n for n in body if isinstance(n, kinds) and n.name == name), None)
        if held is None:
            return None
        body = held.body
    return [argument.arg for argument in held.args.args]

"""Check a model: what is wrong, in which layer, why, and what to change.

zoo check mypkg.mymodel:spec
zoo check train.py:Net --fact tokens=input_ids --fact vocab_size=97
zoo check mypkg.mymodel:spec --tier quick --html report.html
zoo check --list

The target is a zoo.testing.ModelSpec, a torch.nn.Module class, or a function that builds one; a
module or a file without a name after ":" means every ModelSpec in it. A fact is a field of
ModelSpec. Exit code 0: no finding is a failure; 1: one is; 2: the target cannot be checked.
"""

import argparse
import ast
import json
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="pkg.mod:spec or file.py:spec")
    parser.add_argument("--tier", choices=("quick", "full"), default="full", help="default: full")
    parser.add_argument(
        "--only", action="append", default=[], metavar="CHECK", help="this check; repeatable"
    )
    parser.add_argument(
        "--skip", action="append", default=[], metavar="CHECK", help="not this one; repeatable"
    )
    parser.add_argument(
        "--fact",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of ModelSpec, such as causal=input_ids; repeatable",
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="processor time a model; what is left then is not tried (default: 150)",
    )
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--html", metavar="FILE.html", help="write a page too")
    parser.add_argument("--list", action="store_true", help="say which checks there are")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return listed(args)
    if not args.targets:
        raise UsageError("no target; give pkg.mod:spec or file.py:spec (see zoo check --help)")
    facts = dict(fact(pair) for pair in args.fact)
    page = page_path(args.html)
    from zoo.testing.checks.table import CHECKS
    from zoo.testing.engine import BUDGET, check_model
    from zoo.testing.target import importable, load_targets

    for name in (*args.only, *args.skip):
        if name not in CHECKS:
            raise UsageError(f"no check {name!r}; there are {', '.join(CHECKS)}")
    reports = []
    for origin, spec in [found for text in args.targets for found in load_targets(text)]:
        report = check_model(
            spec,
            only=args.only,
            skip=args.skip,
            tier=args.tier,
            seed=args.seed,
            origin=importable(origin),
            budget=BUDGET if args.budget is None else args.budget,
            **facts,
        )
        reports.append(report)
        print(json.dumps({"target": origin, **report.to_json()}) if args.json else report)
    if page is not None:
        from zoo.testing.page import write_page

        write_page(reports, page)
        say(f"wrote {page}")
    return 0 if all(report.ok for report in reports) else 1


def listed(args: argparse.Namespace) -> int:
    """Print every check, a line each."""
    from zoo.testing.checks.table import CHECKS

    for check in CHECKS.values():
        record = {"check": check.name, "tier": check.tier, "about": check.about}
        print(
            json.dumps(record) if args.json else f"{check.name:<26} {check.tier:<6} {check.about}"
        )
    return 0


def fact(pair: str) -> tuple[str, Any]:
    """Read FIELD=VALUE; a value that is no Python literal is text."""
    name, equals, text = pair.partition("=")
    if not equals:
        raise UsageError(f"--fact {pair!r}; expected FIELD=VALUE, such as causal=input_ids")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def page_path(given: str | None) -> Path | None:
    """Give the page's path; raise UsageError where none can be written."""
    if given is None:
        return None
    path = Path(given)
    if path.suffix.lower() != ".html" or path.is_dir():
        raise UsageError(f"--html {path}; expected a file that ends in .html")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--html {path}: there is no folder {path.parent}")
    return path

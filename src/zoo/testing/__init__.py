"""The testing kit: checks to point at any module, and tables to test ops with.

    from zoo.testing import ModelSpec, check_model
    print(check_model(ModelSpec(build=Net, batch=batch, loss=loss)))

Every check is also a function of its own that raises CheckFailed, an AssertionError:
`check_causality(spec)`; `CHECKS` is the table of them. Names are imported when they are used.
"""

import functools
import importlib
from typing import Any

PLACES = {
    "CHECKS": "zoo.testing.checks.table",
    "Check": "zoo.testing.engine",
    "CheckFailed": "zoo.testing.engine",
    "Finding": "zoo.testing.finding",
    "Input": "zoo.testing.spec",
    "KINDS": "zoo.testing.finding",
    "ModelSpec": "zoo.testing.spec",
    "ModelSuite": "zoo.testing.suite",
    "OpInfo": "zoo.testing.opinfo",
    "Refusal": "zoo.testing.opinfo",
    "Report": "zoo.testing.report",
    "Sample": "zoo.testing.opinfo",
    "SpecError": "zoo.testing.subject",
    "Trainer": "zoo.testing.spec",
    "assert_near": "zoo.testing.tolerances",
    "check_model": "zoo.testing.engine",
    "parametrize_with_checks": "zoo.testing.suite",
    "tolerance": "zoo.testing.tolerances",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for; check_NAME is the check of that name as a function."""
    if name in PLACES:
        return getattr(importlib.import_module(PLACES[name]), name)
    if name.startswith("check_"):
        return check_function(name.removeprefix("check_"))
    raise AttributeError(f"zoo.testing has no {name!r}")


def check_function(name: str) -> Any:
    """Give a check as a function: (spec, **facts) -> None, or CheckFailed."""
    from zoo.testing.checks.table import CHECKS
    from zoo.testing.engine import assert_check

    if name not in CHECKS:
        raise AttributeError(f"no check is called {name!r}; there are {', '.join(CHECKS)}")
    return functools.partial(asserted, assert_check, name)


def asserted(run: Any, name: str, spec: Any, **facts: Any) -> None:
    """Run one check on a spec with further facts."""
    run(name, spec, facts)


def __dir__() -> list[str]:
    """Name what can be imported."""
    from zoo.testing.checks.table import CHECKS

    return sorted([*PLACES, *(f"check_{name}" for name in CHECKS)])

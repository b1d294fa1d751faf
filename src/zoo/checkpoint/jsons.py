"""Strict JSON: what two readers could understand differently is refused."""

import json
import math
from collections import Counter
from typing import Any

from zoo.checkpoint.errors import CheckpointError

DEEPEST = 100  # published files stay below 10


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Parse one object of UTF-8: no key twice, no NaN or infinity, no bottomless nesting.

    Raises CheckpointError that begins with `where`. Whole numbers of any size stay whole.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=refuse_twice,
            parse_constant=refuse_constant,
            parse_float=finite,
        )
        if b"\\ud" in data or b"\\uD" in data:  # an escape may be half a character: no text at all
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where} is not UTF-8: byte {error.start}") from None
    except UnicodeEncodeError:
        raise CheckpointError(f"{where} holds half a character, escaped") from None
    except RecursionError:
        raise CheckpointError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}, not a JSON object")
    if is_deep(value):
        raise CheckpointError(f"{where} is nested too deeply")
    return value


def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = [name[:80] for name, count in counts.items() if count > 1]
        raise ValueError(f"{twice[:3]} stands there twice")
    return result


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def finite(text: str) -> float:
    """Read a number that is not whole; 1e999 would become infinity."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:40]} is out of range")
    return value


def is_deep(value: Any) -> bool:
    """Tell whether objects and lists are nested more than DEEPEST times, level by level."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True

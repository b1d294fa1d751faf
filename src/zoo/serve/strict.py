"""JSON as RFC 8259 and 7493 (I-JSON) want it, read in time linear in its size.

Depth and the number of values are known from the bytes before anything is parsed, so that neither
a million brackets nor a million empty lists cost more than a look. Refused besides what is not
JSON: NaN and infinities by name or by overflow, whole numbers of more than 64 bits, a key twice in
one object, text that is not UTF-8, and halves of surrogate pairs.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

VALUES = 200_000  # lists, objects and commas of one body; a batch of 64 x 1,024 ids has a third
KEYS = 64  # of one object
WHOLE = 2**64  # magnitude that a whole number stays below
DIGITS = 20  # of a whole number below 2**64, and a sign

# a string, or what begins one and never ends; possessive, so no byte is looked at twice
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
NOT_SHAPE = bytes(set(range(256)) - set(b"[]{},"))
HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # how a surrogate is written
STEP = {91: 1, 123: 1, 93: -1, 125: -1}  # by the byte: [ { ] }


class Malformed(ValueError):
    """A body that is not JSON as it should be, with a sentence for whoever sent it."""


def parse(body: bytes, *, depth: int) -> Any:
    """Read one JSON value whose lists and objects nest at most `depth` deep; raise Malformed."""
    if not body:
        raise Malformed("the body is empty; a JSON object was expected")
    check_shape(body, depth)
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=unique,
            parse_float=finite,
            parse_int=small,
            parse_constant=refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if HALF.search(body) and any(has_half(text) for text in texts_in(value)):
        raise Malformed("a text holds half of a surrogate pair (\\ud800 to \\udfff)")
    return value


def check_shape(body: bytes, depth: int) -> None:
    """Raise Malformed where lists and objects nest too deep, or are too many."""
    quotes = body.count(b'"') - body.count(b'\\"')  # about two for each text
    if quotes > 4 * VALUES:
        raise Malformed(f"the body holds more than {VALUES:,} texts")
    shape = STRING.sub(b"", body).translate(None, NOT_SHAPE)
    if len(shape) > 2 * VALUES:
        raise Malformed(f"the body holds more than {VALUES:,} values")
    deep = 0
    for byte in shape:
        deep += STEP.get(byte, 0)
        if deep > depth:
            raise Malformed(f"lists and objects are nested more than {depth} deep")


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; raise Malformed where a key comes twice, or keys are too many."""
    if len(pairs) > KEYS:
        raise Malformed(f"an object has {len(pairs):,} keys; {KEYS} are the most")
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [key for key, _ in pairs]
        twice = max(names, key=names.count)
        raise Malformed(f"an object has the key {twice[:40]!r} twice")
    return result


def finite(digits: str) -> float:
    """Read a number with a point or an exponent; raise Malformed where it is too large."""
    value = float(digits)
    if math.isinf(value):
        raise Malformed(f"the number {digits[:40]} is too large")
    return value


def small(digits: str) -> int:
    """Read a whole number; raise Malformed where it needs more than 64 bits."""
    if len(digits) <= DIGITS + 1 and abs(value := int(digits)) < WHOLE:
        return value
    raise Malformed(f"the whole number {digits[:40]} has more than 64 bits")


def refuse_constant(name: str) -> Any:
    """Raise Malformed: NaN, Infinity and -Infinity are no JSON."""
    raise Malformed(f"{name} is not a number in JSON")


def texts_in(value: Any) -> Iterator[str]:
    """Give every text of a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from texts_in(item)


def has_half(text: str) -> bool:
    """Say whether a text cannot be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False

"""JSON read strictly: what passes, what is refused and why, and that nothing costs much."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.serve.strict import DIGITS, KEYS, VALUES, Malformed, parse

MALFORMED = [
    (b"", "the body is empty"),
    (b"   ", "not JSON"),
    (b"{", "not JSON"),
    (b'{"a": 1,}', "not JSON"),
    (b"{'a': 1}", "not JSON"),
    (b'{"a": 1} x', "not JSON"),
    (b'{"a": 01}', "not JSON"),
    (b'{"a": +1}', "not JSON"),
    (b'{"a": .5}', "not JSON"),
    (b'"a\nb"', "not JSON"),
    (b'"\\x41"', "not JSON"),
    (b"\xef\xbb\xbf{}", "not JSON"),
    (b'{"a": "\xff"}', "not UTF-8: invalid start byte at byte 7"),
    ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    (b'{"a": NaN}', "NaN is not a number"),
    (b"[Infinity]", "Infinity is not a number"),
    (b"[-Infinity]", "-Infinity is not a number"),
    (b"[1e309]", "the number 1e309 is too large"),
    (b"[-1e999999999]", "too large"),
    (b"[1" + b"0" * 400 + b".5]", "too large"),
    (b"[18446744073709551616]", "has more than 64 bits"),
    (b"[-18446744073709551616]", "has more than 64 bits"),
    (b"[" + b"9" * 5000 + b"]", "has more than 64 bits"),
    (b'{"a": 1, "b": 2, "a": 1}', "the key 'a' twice"),
    (b'{"a": {"\\u0061": 1, "a": 2}}', "the key 'a' twice"),
    (b'["\\ud800"]', "half of a surrogate pair"),
    (b'{"\\uDFFF": 1}', "half of a surrogate pair"),
    (b'{"a": [{"b": "x\\udc00\\ud800"}]}', "half of a surrogate pair"),
    (b"[" * 33 + b"]" * 33, "nested more than 32 deep"),
    (b'{"a":' * 33 + b"1" + b"}" * 33, "nested more than 32 deep"),
    (b"[" * 100_000, "nested more than 32 deep"),
]


def nested(depth):
    return [] if depth == 1 else [nested(depth - 1)]


FINE = [
    (b"null", None),
    (b'{"a": 1}', {"a": 1}),
    (b' \r\n\t{"a" : [ ] } ', {"a": []}),
    (b"18446744073709551615", 2**64 - 1),
    (b"-18446744073709551615", -(2**64) + 1),
    (b"1e308", 1e308),
    (b"1e-999", 0.0),
    (b'"\\u0000"', "\0"),
    (b'"\\ud83d\\ude00"', "\U0001f600"),
    (b'"\\\\ud800"', "\\ud800"),
    (b'"[[[[{{{{"', "[[[[{{{{"),
    (b'"\\"[[[["', '"[[[['),
    (b"[" * 32 + b"]" * 32, nested(32)),
    (b"[[],[],[]]", [[], [], []]),
]


@pytest.mark.parametrize(("body", "why"), MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_not_json_is_refused_and_told_why(body, why):
    with pytest.raises(Malformed) as refused:
        parse(body, depth=32)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(("body", "value"), FINE, ids=range(len(FINE)))
def test_what_is_json_is_read(body, value):
    assert parse(body, depth=32) == value


def test_depth_is_what_is_asked():
    assert parse(b"[[1]]", depth=2) == [[1]]
    with pytest.raises(Malformed, match="more than 1 deep"):
        parse(b"[[1]]", depth=1)
    assert parse(b"[[],[],[[]]]", depth=3) == [[], [], [[]]]


def test_an_object_has_a_bounded_number_of_keys():
    most = {str(number): number for number in range(KEYS)}
    assert parse(json.dumps(most).encode(), depth=1) == most
    with pytest.raises(Malformed, match=f"has {KEYS + 1} keys; {KEYS} are the most"):
        parse(json.dumps(most | {"more": 1}).encode(), depth=1)


HUGE = 2**20
COSTLY = [
    (b'["' + b'","' * HUGE, "texts"),
    (b"[" + b"1," * HUGE, "values"),
    (b"[" + b"[]," * HUGE, "values"),
    (b"[" + b"{}," * HUGE, "values"),
    (b'"' + b'\\"' * HUGE, "not JSON"),
    (b'"' + b"\\" * HUGE, "not JSON"),
    (b'"' * (2 * VALUES), "not JSON"),
]


@pytest.mark.parametrize(("body", "why"), COSTLY, ids=range(len(COSTLY)))
def test_what_would_cost_much_is_refused_by_a_look(body, why):
    with pytest.raises(Malformed, match=why):
        parse(body, depth=32)


def test_a_batch_of_ids_and_a_large_text_fit():
    ids = [[7] * 1024] * 64
    assert parse(json.dumps(ids).encode(), depth=2) == ids
    text = "a\"'[{,\\" * 20_000
    assert parse(json.dumps([text]).encode(), depth=1) == [text]


def test_digits_are_those_of_64_bits():
    assert len(str(2**64)) == DIGITS


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e300, 1e300) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=15)
@given(VALUE, st.booleans())
def test_what_json_writes_is_read_as_json_reads_it(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert parse(body, depth=32) == json.loads(body)


@given(st.binary(max_size=40))
def test_bytes_are_read_as_json_reads_them_or_refused(body):
    try:
        value = parse(body, depth=32)
    except Malformed:
        return
    assert value == json.loads(body)

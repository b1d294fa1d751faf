"""Cells, schemas and splits: what is accepted keeps the rules, what is refused is named."""

import json
import math
import re
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.property_rows import examples
from zoo.data.cells import as_label, as_labels, as_list, as_number
from zoo.data.errors import DataError
from zoo.data.kinds import KINDS, SPLITS
from zoo.data.rules import list_rules, number_rules, span_fits, tags_fit, text_rules
from zoo.data.schemas import check_frame
from zoo.data.splits import check_options, draw
from zoo.data.version import cells_of, digests, order_of, version_of

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
filled = words.filter(lambda text: text.strip())
odd = st.sampled_from(
    [None, math.nan, "", " \t", "a\0b", 5, -3, 0.5, True, (), {"a": 1}, [], [""], ["a", 3], [None]]
)  # fmt: skip


def good_row(kind):
    """A row that keeps the rules, and cells of its own."""
    if kind == "answers":
        parts = st.tuples(filled, words, filled, words)
        return parts.map(
            lambda p: {"question": p[0], "context": p[1] + p[2] + p[3], "answer": p[2],
                       "start": len(p[1])}
        )  # fmt: skip
    if kind == "tagged_text":
        pairs = st.lists(st.tuples(filled, filled), min_size=1, max_size=3)
        return pairs.map(lambda p: {"tokens": [a for a, _ in p], "tags": [b for _, b in p]})
    return st.fixed_dictionaries(dict.fromkeys(KINDS[kind].columns, filled))


def framed(rows, splits=None):
    """A frame of rows with an id and a split each."""
    about = {"id": [f"row {i}" for i in range(len(rows))]}
    about["split"] = splits or [SPLITS[i % 3] for i in range(len(rows))]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in (about | columns).items()})


def check(kind, frame, **options):
    check_frame(kind, frame, lambda row: f"<row {row}>", **options)


def missing(value):
    return value is None or (isinstance(value, float) and math.isnan(value))


def texts_well(value):
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def keeps(form, value, longest):
    """The rules of a form, said once more and plainly."""
    if form in ("tokens", "labels"):
        return isinstance(value, list) and bool(value) and all(map(texts_well, value))
    if form == "number":
        return type(value) is int and value >= 0
    return texts_well(value) and len(value.encode()) <= longest


def keeps_whole(kind, row):
    if kind == "tagged_text":
        return len(row["tokens"]) == len(row["tags"])
    if kind == "answers":
        return row["context"][row["start"] :].startswith(row["answer"])
    return True


@examples(9)
@given(kind=st.sampled_from([*KINDS]), data=st.data())
def test_a_frame_is_accepted_when_it_keeps_the_rules_and_else_its_first_bad_row_is_named(
    kind, data
):
    rows = data.draw(st.lists(good_row(kind), min_size=1, max_size=4))
    forms = KINDS[kind].columns
    for _ in range(data.draw(st.integers(0, 3))):
        at, name = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from([*forms]))
        rows[at] = rows[at] | {
            name: data.draw(odd | filled | st.lists(filled) | st.integers(-2, 9))
        }
    bad = [
        i for i, row in enumerate(rows)
        if not all(keeps(form, row[name], 24) for name, form in forms.items())
        or not keeps_whole(kind, row)
    ]  # fmt: skip
    if not bad:
        check(kind, framed(rows), longest=24)
        return
    with pytest.raises(DataError) as caught:
        check(kind, framed(rows), longest=24)
    message = str(caught.value)
    assert message.startswith(f"<row {bad[0]}>: "), message
    more = re.search(r"\((\d+) rows? more cannot be used\)$", message)
    assert (int(more[1]) if more else 0) == len(bad) - 1, message


@examples(9)
@given(kind=st.sampled_from([*KINDS]), data=st.data())
def test_one_damaged_cell_is_refused_and_named_with_its_row_and_column(kind, data):
    rows = data.draw(st.lists(good_row(kind), min_size=2, max_size=4))
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(["id", "split", *KINDS[kind].columns]))
    frame = framed(rows)
    check(kind, frame)
    form = KINDS[kind].columns.get(name, "text")
    values = [v for v in (None, "", " ", 0.5, True, {"a": 1}, [], [""], ["a\0"], -1, 3, "a\0b")
              if not keeps(form, v, 10**6)]  # fmt: skip
    value = data.draw(st.sampled_from(values))
    frame.at[at, name] = value
    words = f"^<row {at}>: {name} "
    with pytest.raises(DataError, match=words) as caught:
        check(kind, frame)
    assert "more cannot be used" not in str(caught.value)


@examples(30)
@given(
    values=st.lists(
        odd | filled | st.lists(filled, max_size=2) | st.integers(-2, 9), min_size=1, max_size=6
    )
)
def test_the_rules_of_a_form_are_its_plain_sentence(values):
    column = pd.Series(values, dtype=object)
    for form, rules in (
        ("number", number_rules("n")),
        ("text", text_rules("n", 24)),
        ("tokens", list_rules("n")),
    ):
        good = [all(row) for row in zip(*(rule.good(column) for rule in rules), strict=True)]
        assert good == [keeps(form, value, 24) for value in values], form


@examples(30)
@given(
    tokens=st.lists(filled, max_size=3),
    tags=st.lists(filled, max_size=3),
    context=st.text("ab", max_size=6),
    answer=st.text("ab", min_size=1, max_size=2),
    start=st.integers(-2, 7),
)
def test_the_rules_of_a_row_are_their_plain_sentences(tokens, tags, context, answer, start):
    assert tags_fit(SimpleNamespace(tokens=tokens, tags=tags)) == (len(tokens) == len(tags))
    row = SimpleNamespace(context=context, answer=answer, start=start)
    assert span_fits(row) == (start < 0 or context[start:].startswith(answer))


@examples(3)
@given(
    labels=st.lists(filled, min_size=1, max_size=4, unique=True),
    seen=st.lists(filled, min_size=1, max_size=4),
)
def test_only_classes_that_were_named_are_accepted(labels, seen):
    frame = framed([{"text": "a", "label": label} for label in seen])
    strange = [i for i, label in enumerate(seen) if label not in labels]
    if not strange:
        check("labelled_text", frame, labels=labels)
        return
    with pytest.raises(DataError, match=rf"^<row {strange[0]}>: label has .*, a class that is not"):
        check("labelled_text", frame, labels=labels)


@examples(10)
@given(rows=st.integers(2, 5), one=st.integers(0, 4), other=st.integers(0, 4), split=words)
def test_an_id_twice_and_a_strange_split_are_named(rows, one, other, split):
    first, second = sorted((one % rows, other % rows))
    frame = framed([{"text": "a"}] * rows)
    if first != second:
        frame.at[second, "id"] = frame["id"][first]
        with pytest.raises(
            DataError, match=f"^<row {second}>: id 'row {first}' stands in an earlier"
        ):
            check("text", frame)
        frame.at[second, "id"] = "another"
    frame.at[first, "split"] = split
    if split in SPLITS:
        check("text", frame)
        return
    with pytest.raises(DataError, match=rf"^<row {first}>: split is .*expected one of train"):
        check("text", frame)


cells = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), words, st.lists(words),
    st.integers(-(10**20), 10**20).map(str), st.lists(words).map(repr), st.tuples(words),
)  # fmt: skip


@examples(60)
@given(value=cells)
def test_a_cell_that_was_put_into_its_form_stays_there(value):
    for put in (as_number, as_list, as_label):
        once = put(value)
        again = put(once)
        assert type(again) is type(once)
        assert again == once or missing(once)
    if type(value) is int:
        assert as_number(str(value)) in (value, str(value))  # 18 digits, or left as it is
        assert as_number(str(value)) == value or abs(value) >= 10**18
        assert as_label(value) == str(value)
    if isinstance(value, float) and not isinstance(as_number(value), float):
        assert as_number(value) == value


@examples(20)
@given(values=st.lists(st.integers(-99, 99), min_size=1) | st.lists(st.booleans(), min_size=1))
def test_classes_are_called_as_json_calls_them_whatever_the_columns_type(values):
    expected = [json.dumps(v) for v in values]
    assert as_labels(pd.Series(values)).tolist() == expected
    assert as_labels(pd.Series(values, dtype=object)).tolist() == expected


keys = st.lists(st.binary(max_size=4), min_size=1, max_size=12)


@examples(30)
@given(
    keys=keys,
    named=st.none() | st.lists(st.sampled_from(SPLITS), min_size=12, max_size=12),
    valid=st.integers(0, 8),
    test=st.integers(0, 8),
    order=st.permutations([4, 2, 5, 0, 11, 7, 3, 1, 9, 6, 10, 8]),
)
def test_drawn_splits_follow_from_keys_alone(keys, named, valid, test, order):
    named = None if named is None else named[: len(keys)]
    valid, test = valid / 20, test / 20
    made = draw(keys, named, valid, test)
    assert len(made) == len(keys) and set(made) <= set(SPLITS)
    if named is None:
        assert len({*zip(keys, made, strict=True)}) == len(set(keys))  # one split a key
        assert "train" in made
        at = [i for i in order if i < len(keys)]
        assert draw([keys[i] for i in at], None, valid, test) == [made[i] for i in at]
        more = draw([*keys, b"another", b"one more"], None, valid, test)
        rescued = draw(keys, None, valid, test) != more[: len(keys)]
        assert not rescued or "train" not in more[: len(keys)]
        assert {*draw(keys, None, 0.0, 0.0)} == {"train"}
    else:
        assert all(m == n or n == "train" for m, n in zip(made, named, strict=True))
        for split in ("valid", "test"):
            if split in named:
                assert [m == split for m in made] == [n == split for n in named]


@examples(30)
@given(
    valid=st.floats(-1, 2, width=16),
    test=st.floats(-1, 2, width=16),
    labels=st.none() | st.lists(st.sampled_from("abc"), max_size=4),
)
def test_shares_and_classes_that_cannot_be_are_refused_with_their_values(valid, test, labels):
    twice = labels is not None and len(set(labels)) < len(labels)
    if twice:
        with pytest.raises(DataError, match=r"^labels names '[abc]' twice"):
            check_options(valid, test, labels)
    elif valid >= 0 and test >= 0 and valid + test < 1:
        check_options(valid, test, labels)
    else:
        with pytest.raises(DataError, match=f"^valid is {valid} and test {test}; expected"):
            check_options(valid, test, labels)


@examples(15)
@given(
    rows=st.lists(good_row("tagged_text"), min_size=1, max_size=5),
    order=st.permutations([4, 2, 0, 3, 1]),
)
def test_a_version_knows_content_and_no_order(rows, order):
    frame = framed(rows)
    at = [i for i in order if i < len(rows)]

    def of(frame):
        names = digests([*cells_of("tagged_text", frame, {}).values()])
        version = version_of("tagged_text", names, frame["split"])
        return version, order_of(version, names), names

    version, _, names = of(frame)
    moved = of(frame.iloc[at].reset_index(drop=True))
    assert moved[0] == version and moved[2] == [names[i] for i in at]
    assert len(set(names)) == len({repr(row) for row in rows})
    other = frame.copy()
    other.at[0, "tokens"] = ["".join(rows[0]["tokens"]), *([""] * (len(rows[0]["tokens"]) - 1))]
    assert (of(other)[0] == version) == (other.at[0, "tokens"] == rows[0]["tokens"])
    other = frame.copy()
    other.at[0, "split"] = "test"
    assert of(other)[0] != version

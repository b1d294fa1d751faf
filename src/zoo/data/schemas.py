"""One pandera schema a kind, checked once; what it finds is said in one sentence of ours."""

from collections.abc import Callable, Sequence

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from zoo.data.errors import DataError, counted
from zoo.data.kinds import KINDS, SPLITS
from zoo.data.rules import (
    WHOLE_ROWS,
    Rule,
    known_rule,
    list_rules,
    missing_rule,
    number_rules,
    one_of_rule,
    text_rules,
    unique_rule,
)

Place = Callable[[int], str]  # a row's number -> its file and line


def check_of(rule: Rule) -> pa.Check:
    return pa.Check(rule.good, name=rule.name, error=rule.name, ignore_na=False)


def rules_of(kind: str, labels: Sequence[str] | None, longest: int | None) -> list[Rule]:
    """Give the rules of a kind, in the order in which they are spoken of."""
    rules = [
        *text_rules("id", None),
        unique_rule("id"),
        missing_rule("split"),
        one_of_rule("split", SPLITS),
    ]
    for name, form in KINDS[kind].columns.items():
        if form in ("tokens", "labels"):
            rules += list_rules(name)
        elif form == "number":
            rules += number_rules(name)
        else:
            rules += text_rules(name, longest)
        if form in ("label", "labels") and labels is not None:
            rules.append(known_rule(name, labels))
    return [*rules, *WHOLE_ROWS.get(kind, ())]


def schema_of(
    kind: str, *, labels: Sequence[str] | None = None, longest: int | None = None
) -> pa.DataFrameSchema:
    """Make the pandera schema of a kind; columns that it does not know are let be."""
    rules = rules_of(kind, labels, longest)
    names = dict.fromkeys(rule.column for rule in rules if rule.column)
    return pa.DataFrameSchema(
        {
            name: pa.Column(
                None,
                [check_of(rule) for rule in rules if rule.column == name],
                nullable=True,  # a rule of ours says what is missing
                required=name not in KINDS[kind].optional,
            )
            for name in names
        },
        checks=[check_of(rule) for rule in rules if rule.column is None],
        name=kind,
    )


def check_frame(
    kind: str,
    frame: pd.DataFrame,
    place: Place,
    *,
    labels: Sequence[str] | None = None,
    longest: int | None = None,
) -> None:
    """Raise DataError for the first row that breaks a rule, and say how many more do."""
    try:
        schema_of(kind, labels=labels, longest=longest).validate(frame, lazy=True)
    except SchemaErrors as error:
        raise DataError(sentence(error, kind, frame, place, labels, longest)) from None


def sentence(
    error: SchemaErrors,
    kind: str,
    frame: pd.DataFrame,
    place: Place,
    labels: Sequence[str] | None,
    longest: int | None,
) -> str:
    """Say what pandera found in the first row that it refuses."""
    rules = rules_of(kind, labels, longest)
    order = {(rule.column, rule.name): number for number, rule in enumerate(rules)}
    failed = []
    for case in error.failure_cases.itertuples(index=False):
        if case.index is None:  # a rule of ours broke
            raise error
        column = case.column if (case.column, case.check) in order else None
        failed.append((int(case.index), order[column, case.check]))
    row, number = min(failed)
    rule = rules[number]
    value = (
        next(frame.iloc[[row]].itertuples(index=False))
        if rule.column is None
        else frame[rule.column].iloc[row]
    )
    others = len({index for index, _ in failed}) - 1
    more = f" ({counted(others, 'row')} more cannot be used)" if others else ""
    return f"{place(row)}: {rule.say(value)}{more}"

"""The rules of golden rows: their order is that in which a broken row is told of."""

import pytest

from zoo.evaluate.row_rules import rules_of
from zoo.evaluate.rows import TASKS

COMMON_RULES = [
    "id is there", "id is text", "id says something", "id has no NUL", "id is a word",
    "test is known", "segments are words", "flags are words", "flags are not misspelt",
    "note is text", "note says something", "note has no NUL",
    "of is text", "of says something", "of has no NUL", "expect is known", "by is a size",
]  # fmt: skip
RULES = {
    "label": [
        "text is text", "text says something", "text has no NUL",
        "image is text", "image says something", "image has no NUL", "image can be opened",
        "label is text", "label says something", "label has no NUL",
        "known_is_there", "variant", "robust", "text_or_image", "has_label",
    ],
    "picture": [
        "text is there", "text is text", "text says something", "text has no NUL",
        "images is there", "images is a list", "images says something", "images has no NUL",
        "images are different", "images can be opened",
        "answer is text", "answer says something", "answer has no NUL", "answer can be opened",
        "known_is_there", "variant", "robust", "answer_is_given",
    ],
}  # fmt: skip


@pytest.mark.parametrize("task", RULES)
def test_rules_are_spoken_of_in_their_order(tmp_path, task):
    assert [rule.name for rule in rules_of(task, tmp_path, {})] == [*COMMON_RULES, *RULES[task]]


@pytest.mark.parametrize("task", TASKS)
def test_no_two_rules_of_a_field_have_one_name(tmp_path, task):
    """A failure is told by its field and name: of two, one would speak for the other."""
    names = [(rule.column, rule.name) for rule in rules_of(task, tmp_path, {})]
    assert len({*names}) == len(names)

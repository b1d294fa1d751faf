"""What must be true of golden rows: one pandera schema a task, then what holds between rows."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from zoo.data.errors import counted, listed, nearest, shown
from zoo.data.rules import Rule, called, each, list_rules, text_rules
from zoo.evaluate.golden import GoldenError
from zoo.evaluate.outcome import EXPECTATIONS, TESTS
from zoo.evaluate.row_pictures import picture_fault, tiles_of
from zoo.evaluate.row_relations import together
from zoo.evaluate.rows import COMMON, ROWS, TASKS

WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # kebab-case
FLAGS = ("edge", "pinned", "robust")  # those that are acted upon
KNOWN = ("answer", "answers", "choices", "label")  # of a variant: those of its row, if left out
MASK = "[MASK]"
Line = Mapping[str, Any]


def check_rows(folder: Path, lines: Sequence[Line], sheets: Mapping[str, Any]) -> None:
    """Raise GoldenError for the first line that is no golden row, and say how many more are."""
    for number, line in enumerate(lines):
        check_names(place(folder, lines, number), line)
    failed = [case for task in TASKS for case in failures(task, lines, folder, sheets)]
    if failed:
        number, _, rule = min(failed, key=lambda case: case[:2])
        value = lines[number] if rule.column is None else lines[number].get(rule.column)
        more = len({case[0] for case in failed}) - 1
        others = f" ({counted(more, 'row')} more cannot be used)" if more else ""
        raise GoldenError(f"{place(folder, lines, number)}: {rule.say(value)}{others}")
    for number, complaint in together(lines):
        raise GoldenError(f"{place(folder, lines, number)}: {complaint}")


def place(folder: Path, lines: Sequence[Line], number: int) -> str:
    """Name a row's file, line and id."""
    name = lines[number].get("id")
    told = isinstance(name, str) and WORD.fullmatch(name)
    return f"{folder / ROWS}:{number + 1}" + (f" ({name})" if told else "")


def check_names(where: str, line: Line) -> None:
    """Raise GoldenError unless the task is known and has all the fields that a line gives."""
    task = line.get("task")
    if task not in TASKS:
        raise GoldenError(f"{where}: task is {shown(task)}; expected one of {', '.join(TASKS)}")
    known = (*COMMON, *TASKS[task])
    for name in line:
        if name not in known:
            close = nearest(name, known)
            meant = f" (did you mean {close}?)" if close else ""
            raise GoldenError(
                f"{where}: a row of task {task} has no field {shown(name)}{meant}; "
                f"it has {', '.join(known)}"
            )


def failures(
    task: str, lines: Sequence[Line], folder: Path, sheets: Mapping[str, Any]
) -> Iterable[tuple[int, int, Rule]]:
    """Give what the task's schema refuses: the row's number, the rule's number, the rule."""
    numbers = [number for number, line in enumerate(lines) if line["task"] == task]
    if not numbers:
        return
    rules = rules_of(task, folder, sheets)
    try:
        schema_of(task, rules).validate(frame_of(task, lines, numbers), lazy=True)
    except SchemaErrors as error:
        order = {(rule.column, rule.name): at for at, rule in enumerate(rules)}
        for case in error.failure_cases.itertuples(index=False):
            if case.index is None:  # a rule of ours broke
                raise
            column = case.column if (case.column, case.check) in order else None
            at = order[column, case.check]
            yield int(case.index), at, rules[at]


def frame_of(task: str, lines: Sequence[Line], numbers: Sequence[int]) -> pd.DataFrame:
    """Lay lines out as a frame of objects, so that nothing is converted; None is what is absent."""
    names = (*COMMON, *TASKS[task])
    return pd.DataFrame(
        {
            name: pd.Series(
                [lines[n].get(name) for n in numbers], index=list(numbers), dtype="object"
            )
            for name in names
        }
    )


def schema_of(task: str, rules: Sequence[Rule]) -> pa.DataFrameSchema:
    """Make the pandera schema of a task."""

    def check(rule: Rule) -> pa.Check:
        return pa.Check(rule.good, name=rule.name, error=rule.name, ignore_na=False)

    columns = {
        name: pa.Column(None, [check(r) for r in rules if r.column == name], nullable=True)
        for name in (*COMMON, *TASKS[task])
    }
    whole = [check(rule) for rule in rules if rule.column is None]
    return pa.DataFrameSchema(columns, checks=whole, name=task, strict=True)


def rules_of(task: str, folder: Path, sheets: Mapping[str, Any]) -> list[Rule]:
    """Give the rules of a task, in the order in which they are spoken of."""
    rules = [
        *text_rules("id", None),
        cell("id", "is a word", is_word, f"; expected {KEBAB}"),
        cell("test", "is known", lambda v: v is None or v in TESTS, f"; expected one of {TESTS}"),
        *words_rules("segments"),
        *words_rules("flags"),
        cell("flags", "are not misspelt", well_spelt, "; some are almost one of " + known_flags),
        *text_rules("note", None)[1:],
        *text_rules("of", None)[1:],
        cell(
            "expect",
            "is known",
            lambda v: v is None or v in EXPECTATIONS,
            f"; expected one of {EXPECTATIONS}",
        ),
        cell("by", "is a size", is_size, "; expected a number of 0 or more, for a dir row"),
    ]
    for name, form in TASKS[task].items():
        rules += FORMS[form.removesuffix("?")](name, form.endswith("?") or name in KNOWN)
        if form.startswith("image"):
            rules.append(image_rule(name, folder, sheets))
    return [*rules, *map(whole_rule, VARIANTS), *map(whole_rule, WHOLE.get(task, ()))]


def cell(column: str, name: str, good: Callable[[Any], bool], fix: str) -> Rule:
    return Rule(
        f"{column} {name}",
        lambda values: each(values, good),
        lambda value: f"{column} is {called(value)}{fix}",
        column,
    )


KEBAB = "small letters and digits, joined by hyphens, such as agreement-003"
known_flags = ", ".join(FLAGS)


def is_word(value: Any) -> bool:
    return not isinstance(value, str) or not value.strip() or bool(WORD.fullmatch(value))


def is_size(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and value >= 0)


def words_rules(name: str) -> list[Rule]:
    """Rules of a list of kebab-case words, which may be absent."""

    def good(value: Any) -> bool:
        if value is None:
            return True
        words = isinstance(value, list) and all(isinstance(word, str) for word in value)
        return words and all(map(WORD.fullmatch, value)) and len({*value}) == len(value)

    return [cell(name, "are words", good, f"; expected a list of different words, as {EXAMPLE}")]


EXAMPLE = '["subject-verb", "long"]'


def well_spelt(value: Any) -> bool:
    if not isinstance(value, list):
        return True
    return all(nearest(word, FLAGS) in (None, word) for word in value if isinstance(word, str))


def text_form(name: str, optional: bool) -> list[Rule]:
    return text_rules(name, None)[optional:]


def texts_form(name: str, optional: bool) -> list[Rule]:
    least = 1 if name == "answers" else 2

    def good(value: Any) -> bool:
        if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
            return True  # another rule speaks of it
        return len({*value}) == len(value) >= least

    fix = f"; expected {least} or more, all different"
    return [*list_rules(name)[optional:], cell(name, "are different", good, fix)]


FORMS: dict[str, Callable[[str, bool], list[Rule]]] = {
    "text": text_form,
    "texts": texts_form,
    "image": text_form,
    "images": texts_form,
}


def image_rule(name: str, folder: Path, sheets: Mapping[str, Any]) -> Rule:
    """Every picture that a row names is there, and its tile is on the sheet."""
    tiles = {sheet: tiles_of(folder / sheet, side) for sheet, side in sheets.items()}

    def complaints(value: Any) -> list[str]:
        names = value if isinstance(value, list) else [value]
        found = (picture_fault(n, folder, tiles) for n in names if isinstance(n, str))
        return [fault for fault in found if fault]

    return Rule(
        f"{name} can be opened",  # "is there" is the rule of a field that is not given
        lambda values: each(values, lambda value: not complaints(value)),
        lambda value: f"{name}: {complaints(value)[0]}",
        name,
    )


# --- one row as a whole: a function gives what is wrong with it, or None


def whole_rule(complain: Callable[[Line], str | None]) -> Rule:
    return Rule(
        complain.__name__,
        lambda frame: each(
            pd.Series(frame.to_dict("records"), index=frame.index, dtype=object),
            lambda line: complain(line) is None,
        ),
        lambda line: complain(line) or "",
    )


def known_is_there(line: Line) -> str | None:
    """Only a variant may leave out what it is judged by: it has that of its row."""
    if (line.get("test") or "mft") != "mft":
        return None
    needed = [n for n, form in TASKS[line["task"]].items() if n in KNOWN and form[-1] != "?"]
    missing = [name for name in needed if line.get(name) is None]
    return f"{missing[0]} is missing; fill it in, or leave the row out" if missing else None


def variant(line: Line) -> str | None:
    """`of`, `expect` and `by` fit the test."""
    test = line.get("test") or "mft"
    given = [name for name in ("of", "expect", "by") if line.get(name) is not None]
    if test == "mft":
        return (
            f"an mft row has no {given[0]}; leave it out, or say test inv or dir" if given else None
        )
    if test not in TESTS:
        return None
    if "of" not in given:
        return f"a row of test {test} needs `of`, the id of the row that it is a variant of"
    wanted = ("same",) if test == "inv" else ("up", "down")
    if line.get("expect") not in wanted:
        said = f"expect is {shown(line.get('expect'))}"
        return f"{said}; a row of test {test} expects {' or '.join(wanted)}"
    if test == "inv" and line["task"] == "text":
        return "a text row has no answer that could stay the same; say dir, or leave it out"
    return "an inv row has no `by`; leave it out" if test == "inv" and "by" in given else None


def robust(line: Line) -> str | None:
    """Only an answer that is known can stay right."""
    flags = line.get("flags")
    marked = isinstance(flags, list) and "robust" in flags
    if marked and (line.get("test") or "mft") != "mft":
        return "flag robust is for mft rows: perturbed twins must stay right; leave it out"
    return None


VARIANTS = (known_is_there, variant, robust)


def answer_in(name: str) -> Callable[[Line], str | None]:
    def answer_is_given(line: Line) -> str | None:
        offered, answer = line.get(name), line.get("answer")
        if not isinstance(offered, list) or not isinstance(answer, str) or answer in offered:
            return None
        return f"answer {shown(answer)} is none of the {name} {listed(offered)}; copy it from there"

    return answer_is_given


def one_mask(line: Line) -> str | None:
    text = line.get("text")
    count = text.count(MASK) if isinstance(text, str) else 1
    return None if count == 1 else f"text has {MASK} {count} times; a fill row has it once"


def choices_tell(line: Line) -> str | None:
    """Of choices one at least is right, and one is wrong."""
    choices, answers = line.get("choices"), line.get("answers")
    if not isinstance(choices, list) or not isinstance(answers, list):
        return None
    right = [choice for choice in choices if choice in answers]
    if right and len(right) < len(choices):
        return None
    what = "all of" if right else "none of"
    return f"{what} the choices {listed(choices)} are among the answers {listed(answers)}; mix them"


def text_or_image(line: Line) -> str | None:
    given = [name for name in ("text", "image") if line.get(name) is not None]
    if len(given) == 1:
        return None
    return f"a label row has {' and '.join(given) or 'neither text nor image'}; give one of the two"


def has_label(line: Line) -> str | None:
    mft = (line.get("test") or "mft") == "mft"
    return "label is missing; fill it in" if mft and line.get("label") is None else None


def two_poles(line: Line) -> str | None:
    return f"near and far are both {shown(line['near'])}" if line["near"] == line["far"] else None


WHOLE: dict[str, tuple[Callable[[Line], str | None], ...]] = {
    "choice": (answer_in("choices"),),
    "caption": (answer_in("captions"),),
    "picture": (answer_in("images"),),
    "fill": (one_mask, choices_tell),
    "label": (text_or_image, has_label),
    "closer": (two_poles,),
}

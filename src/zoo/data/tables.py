"""Tables from files: csv, tsv, jsonl, parquet, with the line that each row stands in.

Cells of a csv are text, whatever they look like: `01` stays `01`, and `NA` is no missing value.
"""

import csv
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zoo.data.errors import DataError, counted, listed, shown
from zoo.data.files import Source, lines_of, open_plain

LONGEST = 4 * 2**20  # bytes of one text in a table
LINE = 16  # times that many bytes: the longest line, which may hold several texts
SEPARATORS = {".csv": ",", ".tsv": "\t"}
FIELD_LIMIT = threading.Lock()  # csv has one limit for the whole process


@dataclass(frozen=True)
class Table:
    """The rows of one file as they came, or of files that are a row each."""

    source: Source
    frame: pd.DataFrame
    lines: Sequence[int] | None = None  # where each row begins; None: the file has no lines
    files: Sequence[Source] | None = None  # each row's, where it has its own

    def place(self, row: int) -> str:
        """Name the place of a row for messages."""
        if self.files is not None:
            return self.files[row].where
        if self.lines is not None:
            return f"{self.source.where} line {self.lines[row]}"
        return f"{self.source.where} row {row + 1}"

    def ids(self) -> list[str]:
        if self.files is not None:
            return [file.name for file in self.files]
        numbers = range(1, len(self.frame) + 1) if self.lines is None else self.lines
        return [f"{self.source.name}:{number}" for number in numbers]


def read_table(source: Source, longest: int = LONGEST) -> Table:
    """Read a table by its file's ending; raise DataError for what is damaged."""
    return READERS[source.ending()](source, longest)


def check_header(names: Sequence[str], where: str) -> None:
    """Raise DataError for columns that cannot be told apart."""
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise DataError(f"{where}: there are two columns {shown(twice[0])}; rename one of them")
    broken = [name for name in names if "\0" in name]
    if broken:
        raise DataError(
            f"{where}: a column is called {shown(broken[0])}, with a NUL byte; save it as UTF-8"
        )


def empty(where: str) -> DataError:
    return DataError(f"{where} is empty: expected rows of data, or leave it out")


def read_separated(source: Source, longest: int) -> Table:
    """Read comma or tab separated cells: the first line names the columns."""
    where = source.where
    with FIELD_LIMIT, open_plain(source.path, where) as file:
        before = csv.field_size_limit(longest)
        try:
            text = lines_of(file, where, LINE * longest)
            header, rows, lines = separated(text, SEPARATORS[source.ending()], where, longest)
        finally:
            csv.field_size_limit(before)
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    cells = dict(zip(header, map(list, columns), strict=True))
    frame = pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in cells.items()})
    return Table(source, frame, lines)


def separated(
    text: Iterator[str], separator: str, where: str, longest: int
) -> tuple[list[str], list[list[str]], list[int]]:
    """Give the header, the rows of cells, and the line that each row begins in."""
    reader = csv.reader(text, delimiter=separator, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    begins = 1
    try:
        for cells in reader:
            if not cells:
                pass  # an empty line
            elif not header:
                header = cells
                check_header(header, where)
            elif len(cells) != len(header):
                few = len(cells) < len(header)
                fix = "fill it up" if few else f"put a cell that holds {shown(separator)} in quotes"
                raise DataError(
                    f"{where} line {begins} has {counted(len(cells), 'cell')}, the header "
                    f"{len(header)}: {fix}"
                )
            else:
                rows.append(cells)
                lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{where} line {begins}: {csv_trouble(str(error), longest)}") from None
    if not header:
        raise empty(where)
    return header, rows, lines


def csv_trouble(message: str, longest: int) -> str:
    """Say in our words what the csv reader says in its own."""
    if "field limit" in message:
        return (
            f"a cell is longer than {longest:,} bytes; close its quotes if they are open, "
            "shorten it, or raise `longest`"
        )
    if "unexpected end" in message:
        return "a quote is opened and never closed; close it, or double a quote that is text"
    if "new-line" in message:
        return "a line ends in a lone carriage return; save the file with usual line ends"
    return f"{message}; put the cell in quotes, and double the quotes in it"


def read_objects(source: Source, longest: int) -> Table:
    """Read a JSON object a line."""
    where = source.where
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    with open_plain(source.path, where) as file:
        for number, text in enumerate(lines_of(file, where, LINE * longest), 1):
            if text.strip():
                rows.append(parse_object(text, f"{where} line {number}"))
                lines.append(number)
    if not rows:
        raise empty(where)
    names = list(dict.fromkeys(name for row in rows for name in row))
    check_header(names, where)
    frame = pd.DataFrame({name: column([row.get(name) for row in rows]) for name in names})
    return Table(source, frame if names else pd.DataFrame(index=range(len(rows))), lines)


def parse_object(text: str, where: str) -> dict[str, Any]:
    try:
        row = DECODE(text.strip(" \t\r\n"))
        if "\\u" in text:  # the one way to write half a character
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where} holds half a character (a lone surrogate): mend it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON ({error}): one object a line is expected") from None
    if not isinstance(row, dict):
        raise DataError(f'{where} is {shown(row)}: expected an object such as {{"text": "..."}}')
    return row


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its pairs; a name may not stand in it twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"{shown(next(n for n in names if names.count(n) > 1))} stands there twice"
        )
    return made


DECODE = json.JSONDecoder(object_pairs_hook=once).decode


def column(values: list[Any]) -> pd.Series:
    """Make a column that holds what was given: whole numbers stay whole where some are missing."""
    plain = all(isinstance(value, str) for value in values if value is not None)
    mixed = len({type(value) for value in values}) > 1
    return pd.Series(values, dtype=object if mixed and not plain else None)


def read_parquet(source: Source, longest: int) -> Table:
    """Read a parquet file; nothing that it says about pandas is heard."""
    import pyarrow as pa
    from pyarrow import parquet

    where = source.where
    with open_plain(source.path, where) as file:
        if not file.peek(1):
            raise empty(where)
        try:
            table = parquet.ParquetFile(file).read()
            check_header(table.column_names, where)
            frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
        except (pa.ArrowException, OSError, UnicodeError, TypeError, MemoryError) as error:
            why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise DataError(
                f"{where} is cut short, damaged or no parquet ({why}): get it again"
            ) from None
    return Table(source, frame)


def same_columns(tables: Sequence[Table]) -> None:
    """Raise DataError when two files have different columns: it names both."""
    first = tables[0]
    for table in tables[1:]:
        more = [name for name in table.frame.columns if name not in first.frame.columns]
        less = [name for name in first.frame.columns if name not in table.frame.columns]
        if more or less:
            holder, other = (table, first) if more else (first, table)
            raise DataError(
                f"{holder.source.where} has the column {listed(more or less)}, and "
                f"{other.source.where} has not: give all files the same columns"
            )


READERS: dict[str, Callable[[Source, int], Table]] = {
    ".csv": read_separated,
    ".tsv": read_separated,
    ".jsonl": read_objects,
    ".ndjson": read_objects,
    ".parquet": read_parquet,
}

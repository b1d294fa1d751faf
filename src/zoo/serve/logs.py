"""What the server says while it runs: one JSON object a line, or a short line for a person.

    {"ts": "2026-11-22T09:00:00.123Z", "level": "info", "event": "request", "request_id": ...}

A line is one line, whatever a client sent: control characters and what else does not print are
escaped, long values cut. Keys and texts of requests are left out, and a reader that has gone (a
closed pipe) does not stop the server.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, TextIO

Form = Literal["json", "text"]
LEVELS = ("debug", "info", "warning", "error")
LONGEST = 500  # characters of a value
LEFT_OUT = "(left out)"
SECRET = frozenset(  # what a request brings, and what lets it in
    "authorization key keys api_key headers cookie body prompt prompts text texts input "
    "inputs labels stop piece answer".split()
)


class Log:
    """Writes records to a stream; `heard` is what others are given."""

    def __init__(
        self, stream: TextIO | None = None, *, form: Form | None = None, level: str = "info"
    ) -> None:
        """Write to `stream` (standard error), as lines on a terminal and as JSON elsewhere."""
        self.stream = sys.stderr if stream is None else stream
        self.form = form or ("text" if self.stream.isatty() else "json")
        self.least = LEVELS.index(level)

    def heard(self, record: Mapping[str, Any]) -> None:
        """Write a record: `event` ("request" unless told) and `level` with whatever else."""
        level = level_of(record)
        if LEVELS.index(level) < self.least:
            return
        head = {"ts": stamp(time.time()), "level": level}
        head["event"] = record.get("event", "request")
        whole = head | {k: v for k, v in record.items() if k not in head and v is not None}
        clean = cleaned("", whole)
        self.write(as_json(clean) if self.form == "json" else as_line(clean))

    def say(self, event: str, level: str = "info", **fields: Any) -> None:
        """Write an event."""
        self.heard({"event": event, "level": level} | fields)

    def write(self, line: str) -> None:
        """Write a line at once; a stream that has gone is no reason to stop."""
        try:
            self.stream.write(line + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # a closed pipe, a closed file
            return


class Bridge(logging.Handler):
    """Takes what libraries say through `logging` into a Log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a library's record; of an exception its kind, for a trace may hold a request."""
        fields = {"from": record.name, "says": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            fields["error"] = record.exc_info[0].__name__
        self.log.say("library", near(record.levelno), **fields)


def near(number: int) -> str:
    """Give our level of one of `logging`."""
    return LEVELS[min(max(number // 10, 1), 4) - 1]


def level_of(record: Mapping[str, Any]) -> str:
    """Give a record's level: as it says, else by its status; what was meant (503, 504) warns."""
    if record.get("level") in LEVELS:
        return str(record["level"])
    status = record.get("status") or 0
    if status in (503, 504):
        return "warning"
    return "error" if status >= 500 else "info"


def stamp(seconds: float) -> str:
    """Write a time of time.time() in UTC, to the millisecond."""
    whole = math.floor(seconds)
    parts = int((seconds - whole) * 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{parts:03d}Z"


def cleaned(key: str, value: Any) -> Any:
    """Give a value that may be written: no secret, one line, not too long, JSON's numbers only."""
    if key.lower() in SECRET:
        return LEFT_OUT
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {printable(str(k)): cleaned(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned("", each) for each in value[:LONGEST]]
    return printable(str(value))


def printable(text: str) -> str:
    """Escape what a terminal would obey or not show, line ends among it, and cut what is long."""
    shown = text if len(text) <= LONGEST else text[:LONGEST] + "..."
    if shown.isprintable():  # nearly always, and a server writes many lines
        return shown
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)


def as_json(record: Mapping[str, Any]) -> str:
    """Write a record as one line of JSON, in ASCII."""
    return json.dumps(record, allow_nan=False)


def as_line(record: Mapping[str, Any]) -> str:
    """Write a record for a person: the time of day, the event, then `name=value`."""
    rest = {k: v for k, v in record.items() if k not in ("ts", "level", "event")}
    mark = {"warning": "! ", "error": "!! "}.get(record["level"], "")
    words = [f"{record['ts'][11:19]} {mark}{record['event']}"]
    return " ".join([*words, *(f"{k}={worded(v)}" for k, v in rest.items())])


def worded(value: Any) -> str:
    """Write a value without quotes where it is one word."""
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text else text

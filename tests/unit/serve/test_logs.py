"""A record is one line, whatever is in it; secrets are not; a reader that has gone is no reason."""

import io
import json
import logging
import os

import pytest

from zoo.serve.logs import LONGEST, Bridge, Log, level_of, near, stamp

REQUEST = {"method": "POST", "route": "/v1/fill", "status": 200, "seconds": 0.0123456789}
NASTY = ['\n{"level":"error"}', "\r\x1b[2Jgone", "\x7f\x9b\u2028\u202e", "\ud800", "x" * 9999]


def lines(*records, **options):
    stream = io.StringIO()
    log = Log(stream, **options)
    for record in records:
        log.heard(record)
    return stream.getvalue().splitlines()


def test_a_request_is_a_line_of_json():
    (line,) = lines(REQUEST | {"request_id": "a-1", "model": None})
    found = json.loads(line)
    assert found.pop("ts").endswith("Z")
    assert found == REQUEST | {
        "seconds": 0.012346,
        "level": "info",
        "event": "request",
        "request_id": "a-1",
    }


def test_a_person_reads_a_short_line():
    (line,) = lines(REQUEST | {"status": 503, "why": "two words", "empty": ""}, form="text")
    told = (
        '! request method=POST route=/v1/fill status=503 seconds=0.012346 why="two words" empty=""'
    )
    assert line[8:] == " " + told


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_is_given_lines_and_a_file_json():
    assert Log(Screen()).form == "text"
    assert Log(io.StringIO()).form == "json"
    assert Log(Screen(), form="json").form == "json"


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("text", NASTY, ids=[str(i) for i in range(len(NASTY))])
def test_whatever_a_client_sent_stays_in_its_line(text, form):
    (line,) = lines(REQUEST | {"user_agent": text, "more": [text], text: {text: text}}, form=form)
    assert line.isprintable() and len(line) < 5 * (LONGEST + 200)
    assert form == "text" or json.loads(line)["event"] == "request"


@pytest.mark.parametrize("name", ["prompt", "Authorization", "texts", "api_key", "input"])
def test_no_secret_is_written(name):
    (line,) = lines({"event": "odd", name: "hidden-value", "deep": {name: ["hidden-value"]}})
    assert "hidden-value" not in line and name in line


@pytest.mark.parametrize(
    ("value", "written"),
    [(float("nan"), "nan"), (float("inf"), "inf"), (b"x", "b'x'"), (True, True)],
)
def test_values_that_json_lacks_are_words(value, written):
    (line,) = lines({"event": "odd", "value": value})
    assert json.loads(line)["value"] == written


@pytest.mark.parametrize(
    ("record", "level"),
    [
        ({"status": 200}, "info"),
        ({"status": 429}, "info"),
        ({"status": 500}, "error"),
        ({"status": 503}, "warning"),
        ({"status": 504}, "warning"),
        ({"status": None}, "info"),
        ({"level": "debug", "status": 500}, "debug"),
        ({"level": "made up"}, "info"),
    ],
    ids=str,
)
def test_a_record_has_a_level(record, level):
    assert level_of(record) == level


def test_what_is_below_the_level_is_not_written():
    found = lines(
        REQUEST, REQUEST | {"status": 500}, {"event": "x", "level": "warning"}, level="warning"
    )
    assert [json.loads(line)["level"] for line in found] == ["error", "warning"]


def test_a_pipe_that_was_closed_stops_nobody():
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w", buffering=1)
    log = Log(stream)
    log.heard(REQUEST)
    with pytest.raises(BrokenPipeError):
        stream.close()
    log.heard(REQUEST)


def test_libraries_speak_through_it():
    stream = io.StringIO()
    bridge, library = Bridge(Log(stream)), logging.Logger("uvicorn.error")
    library.addHandler(bridge)
    try:
        raise KeyError("secret of a request")
    except KeyError:
        library.exception("it\nfell")
    found = json.loads(stream.getvalue())
    assert (found["level"], found["from"], found["says"]) == ("error", "uvicorn.error", "it\\nfell")
    assert found["error"] == "KeyError" and "secret" not in stream.getvalue()


def test_levels_of_libraries_are_ours():
    assert [near(n) for n in (0, 10, 20, 30, 40, 50)] == [
        *("debug", "debug", "info", "warning", "error", "error")
    ]


def test_a_time_is_utc_to_the_millisecond():
    assert stamp(0.0) == "1970-01-01T00:00:00.000Z"
    assert stamp(1795338000.0625) == "2026-11-22T09:00:00.062Z"

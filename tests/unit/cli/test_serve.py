"""What `zoo serve` makes of its arguments, before anything is loaded."""

import argparse
import json
import logging

import pytest

from zoo.cli import UsageError
from zoo.cli.serve import arguments, check_open, chosen, heard_by, keys_of, loopback, plan, share
from zoo.serve.logs import Log

KEY = "a-key-that-is-long-enough"


def args_of(*words):
    parser = argparse.ArgumentParser()
    arguments(parser)
    return parser.parse_args(words)


def test_keys_come_from_a_file_and_from_the_environment(tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"# who\n\n  {KEY}  \n{KEY}-2\n", encoding="utf-8")
    assert keys_of(str(file), None) == (KEY, f"{KEY}-2")
    assert keys_of(str(file), f"{KEY}-3, {KEY}") == (KEY, f"{KEY}-2", f"{KEY}-3")
    assert keys_of(None, "") == keys_of(None, None) == ()


@pytest.mark.parametrize(
    "key",
    ["short", "x" * 15, "with a space in it", "\u043a" * 20],
    ids=["short", "fifteen", "space", "other letters"],
)
def test_what_is_no_key_is_refused_and_not_repeated(key):
    with pytest.raises(UsageError, match="key 2 is no key") as error:
        keys_of(None, f"{KEY},{key}")
    assert key not in str(error.value)
    assert keys_of(None, "x" * 16) == ("x" * 16,)


def test_a_file_without_keys_is_refused(tmp_path):
    file = tmp_path / "keys"
    file.write_text("# none yet\n", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no key"):
        keys_of(str(file), None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_alone_needs_no_key(host):
    assert loopback(host)
    check_open(host, (), False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_a_network_needs_a_key(host):
    assert not loopback(host)
    with pytest.raises(UsageError, match="open to a network"):
        check_open(host, (), False)
    check_open(host, (KEY,), False)
    check_open(host, (), True)
    with pytest.raises(UsageError, match="leave one out"):
        check_open(host, (KEY,), True)


@pytest.mark.parametrize(
    "words",
    [
        ("--rows", "0"),
        ("--queue", "-1"),
        ("--request-seconds", "0"),
        ("--request-seconds", "nan"),
        ("--drain", "-1"),
        ("--drain", "3601"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--threads", "0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(words):
    with pytest.raises(UsageError, match=words[0]):
        chosen(args_of("m=x", *words))


def test_only_what_was_asked_for_changes():
    assert chosen(args_of("m=x")) == {}
    given = chosen(args_of("m=x", "--rows", "3", "--queue", "1", "--request-seconds", "0.5"))
    assert given == {"rows": 3, "queue": 1, "request_seconds": 0.5}


def test_models_come_from_words_or_from_a_file(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    file = tmp_path / "models.toml"
    file.write_text('[m]\nversions = {1 = "one"}\n', encoding="utf-8")
    words = plan(args_of(f"m={folder}"))
    assert words == plan(args_of("--config", str(file)))
    assert words.models["m"].default == "1"
    with pytest.raises(UsageError, match="give one of them"):
        plan(args_of(f"m={folder}", "--config", str(file)))


def test_models_share_the_processors():
    assert share(10**6) == 1
    assert share(1) >= share(2) >= 1


def test_where_it_listens_is_said_for_people(capsys):
    with heard_by(Log(form="json"), tracing=False) as heard:
        heard({"event": "listening", "host": "::1", "port": 8000})
        heard({"event": "listening", "host": "127.0.0.1", "port": 9000})
    said = capsys.readouterr().err
    assert "serving on http://[::1]:8000\n" in said
    assert "serving on http://127.0.0.1:9000\n" in said


def test_what_libraries_say_of_a_request_stays_in_its_line(capsys):
    with heard_by(Log(form="json"), tracing=False):
        for name in ("zoo.serve", "uvicorn.error", "asyncio", "opentelemetry.trace"):
            logging.getLogger(name).warning("a\nb")
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [record["says"] for record in said] == ["a\\nb"] * 4

"""What verbs share, and the door in front of them, called in this process."""

import argparse
import io
import json
import sys
from itertools import count

import pytest

from zoo import cli
from zoo.cli import VERBS, UsageError, common, main, tour_progress, tour_text


class Lines:
    """A stdin that holds these bytes."""

    def __init__(self, data, terminal=False):
        self.buffer = io.BytesIO(data)
        self.isatty = lambda: terminal


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"one\n\ntwo\n", ["one", "", "two"]),
        ("çé\n".encode(), ["çé"]),
    ],
    ids=["plain", "windows", "blank", "letters"],
)
def test_texts_are_the_lines_of_stdin(monkeypatch, data, texts):
    monkeypatch.setattr(sys, "stdin", Lines(data))
    assert common.texts_of([], "texts") == texts


def test_texts_that_are_given_leave_stdin_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Lines(b"other\n"))
    assert common.texts_of(["one"], "texts") == ["one"]


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        (Lines(b"", terminal=True), "no prompts: give some, or pipe one a line"),
        (None, "no prompts: give some, or pipe one a line"),
        (Lines(b""), "no prompts: stdin is empty"),
    ],
    ids=["terminal", "closed", "empty"],
)
def test_no_texts_are_a_mistake(monkeypatch, stdin, sentence):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(UsageError, match=sentence):
        common.texts_of([], "prompts")


@pytest.mark.parametrize(
    ("as_json", "said"), [(True, '{"a": "\\u00e7"}\n'), (False, "ç!\n")], ids=count()
)
def test_a_result_is_json_or_text(capsys, as_json, said):
    common.emit(argparse.Namespace(json=as_json), {"a": "ç"}, "ç!")
    assert capsys.readouterr() == (said, "")


def test_no_bar_where_no_terminal_is(capsys):
    with common.progress(3, "embedding") as done:
        done(2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("device", "sentence"),
    [("tea", "device 'tea'; expected cpu"), ("cuda:77", "torch sees no such card here")],
)
def test_a_device_that_is_not_there_is_a_mistake(device, sentence):
    with pytest.raises(UsageError, match=sentence):
        common.model_options(argparse.Namespace(device=device, dtype="float32"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nope"], f"no verb 'nope'; there are {', '.join(VERBS)}"),
        (["--nope"], "unrecognized arguments: --nope"),
        (["info", "--nope"], r"unrecognized arguments: --nope \(see zoo info --help\)"),
        (["generate", "--model", "x", "--seed", "y"], "argument --seed: invalid int value: 'y'"),
        (
            ["generate", "--model", "x", "--prompt", "a", "--draft", "ngram", "--beams", "2"],
            "--draft with --beams: .*; leave one out",
        ),
        (["tour", "--seconds", "nan"], "--seconds nan; expected more than 0"),
        (["tour", "--seed", "-1"], "--seed -1; expected 0 or more"),
        (["embed", "--json", "x", "--model", "no/such/folder"], "no/such/folder"),
    ],
    ids=count(),
)
def test_a_mistake_is_one_line_and_code_2(capsys, monkeypatch, words, sentence):
    monkeypatch.delenv("ZOO_DEBUG", raising=False)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(err)


def test_debug_shows_where_a_mistake_came_from(monkeypatch):
    monkeypatch.setenv("ZOO_DEBUG", "1")
    with pytest.raises(UsageError, match="no verb 'nope'"):
        main(["nope"])


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--version"], 0), ([], 2)])
def test_the_door_answers_by_itself(capsys, words, code):
    assert main(words) == code
    out, err = capsys.readouterr()
    assert "zoo" in (err if code else out)
    assert (out if code else err) == ""


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_all_names_every_verb(capsys, verb):
    main(["--help"])
    assert f"  {verb} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (ValueError(), "ValueError"),
        (FileNotFoundError(2, "No such file", "a/b"), "a/b: No such file"),
        (OSError("odd"), "odd"),
    ],
    ids=count(),
)
def test_an_error_is_one_sentence(error, sentence):
    assert cli.sentence(error) == sentence


def test_info_lists_what_presets_there_are(capsys):
    assert main(["info", "--json"]) == 0
    counts = {
        r["name"]: r["parameters"] for r in map(json.loads, capsys.readouterr().out.splitlines())
    }
    assert counts["gpt2"] == 124_439_808
    assert counts["bert-base-uncased"] == 109_482_240


def test_a_long_text_is_cut_to_what_one_looks_at():
    text = "\n".join(["word " * 40, "", *"abcdefghijklm"])
    lines = tour_text.quoted(text).split("\n")
    assert len(lines) == 12
    assert max(map(len, lines)) <= 100
    assert lines[3:6] == ["     | a", "     | b", "     | c"]


def test_without_a_terminal_a_line_is_told_every_tenth(capsys):
    with tour_progress.told(60.0) as tell:
        for i in range(101):
            tell(i / 100, i, 1.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[1].split() == ["10%", "step", "10", "loss", "1.500"]

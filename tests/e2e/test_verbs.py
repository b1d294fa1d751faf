"""Every verb of the table: its help, a good call, a refused call; and the door around them."""

import re
import subprocess
import sys

import pytest

from e2e.door import call, environment, forked, fresh
from zoo.cli import VERBS

EACH_VERB = pytest.mark.parametrize("verb", VERBS)
LISTENER = """
import os, runpy, sys
def heard(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        os._exit(99)
sys.addaudithook(heard)
runpy.run_module("zoo", run_name="__main__", alter_sys=True)
"""
HEAVY = """
import runpy, sys
try:
    runpy.run_module("zoo", run_name="__main__", alter_sys=True)
finally:
    print(sorted({"torch", "numpy", "tokenizers", "jaxtyping"} & set(sys.modules)), file=sys.stderr)
"""


def child(code, *words, **changes):
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        encoding="utf-8",
        env=environment(**changes),
        timeout=120,
        check=False,
    )


def is_one_line(err):
    return re.fullmatch(r"zoo: error: [^\n]+\n", err) is not None


@EACH_VERB
def test_help_names_the_verb_and_its_options(verb):
    answer = call(verb, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"usage: zoo {verb}")
    assert "--json" in answer.out
    assert answer.err == ""


@EACH_VERB
def test_a_good_call_gives_json_lines(verb, filled):
    answer = call(verb, *filled(VERBS[verb].good), "--json")
    assert answer.code == 0, answer.err
    assert answer.records
    assert all(isinstance(record, dict) for record in answer.records)
    assert "\r" not in answer.err  # no bar, as stderr is no terminal


@EACH_VERB
def test_a_refused_call_is_one_line_without_a_traceback(verb, filled):
    answer = call(verb, *filled(VERBS[verb].refused))
    assert (answer.code, answer.out) == (2, "")
    assert is_one_line(answer.err), answer.err


@EACH_VERB
def test_an_unknown_option_is_one_line(verb):
    answer = call(verb, "--no-such-option", "3")
    assert (answer.code, answer.out) == (2, "")
    assert is_one_line(answer.err), answer.err


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)]
)
def test_help_loads_nothing_heavy(words):
    done = child(HEAVY, *words)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_help_lists_every_verb():
    out = call("--help").out
    assert all(verb in out and row.help in out for verb, row in VERBS.items())


def test_no_verb_is_a_mistake_and_shows_the_help():
    answer = call()
    assert (answer.code, answer.out) == (2, "")
    assert all(verb in answer.err for verb in VERBS)


def test_an_unknown_verb_is_named_with_those_that_there_are():
    answer = call("genrate")
    assert answer.code == 2
    assert is_one_line(answer.err)
    assert "genrate" in answer.err
    assert "generate" in answer.err


def test_the_traceback_is_shown_on_demand(filled):
    verb = "info"
    answer = call(verb, *filled(VERBS[verb].refused), ZOO_DEBUG="1")
    assert answer.code != 0
    assert "Traceback" in answer.err


@pytest.mark.parametrize("verb", ["embed", "generate"])
def test_a_good_call_touches_no_network(verb, filled):
    done = child(LISTENER, verb, *filled(VERBS[verb].good))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("switch", ["ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_a_hub_name_touches_no_network_when_offline(switch):
    done = child(LISTENER, "info", "nobody/nothing", **{"HF_HUB_OFFLINE": "", switch: "1"})
    assert done.returncode == 2
    assert "The network is off" in done.stderr


def test_a_hub_name_without_the_switch_would_be_heard():
    """The listener can hear: the two tests above can fail."""
    done = child(LISTENER, "info", "nobody/nothing", HF_HUB_OFFLINE="")
    assert done.returncode == 99


def test_a_reader_that_leaves_early_is_no_error(models):
    """What 64 texts give is more than a pipe holds, and `head` goes after ten characters."""
    lines = "\n".join(f"the house {i} " + "x" * 2000 for i in range(64))
    line = f"{sys.executable} -m zoo embed --model {models / 'bert'} --json | head -c 10"
    done = subprocess.run(
        ["bash", "-c", line],
        input=lines,
        capture_output=True,
        encoding="utf-8",
        env=environment(),
        timeout=120,
        check=False,
    )
    assert done.stdout == '{"text": "'
    assert done.stderr == ""


@pytest.mark.parametrize("verb", ["info", "embed", "generate"])
def test_a_forked_call_is_what_a_fresh_process_gives(verb, filled):
    """The other calls of this tier are forked from a process that has imported torch."""
    words = [verb, *filled(VERBS[verb].good), "--json"]
    alone = fresh(words, "", None, 120, environment())
    assert forked(words, "", None, 120, environment()) == alone
    refused = [verb, *filled(VERBS[verb].refused)]
    assert forked(refused, "", None, 120, environment()) == fresh(
        refused, "", None, 120, environment()
    )

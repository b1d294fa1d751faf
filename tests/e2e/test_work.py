"""What the verbs are for, end to end: the same text every way, nothing lost on the way."""

import os
import pty
import signal
import subprocess
import sys
import termios

import pytest

from e2e.door import SECONDS, call, environment

DRAW = ("--temperature", "0.9", "--top-p", "0.95", "--max-new-tokens", "9", "--seed", "4")


def lines(*texts):
    return "".join(f"{text}\n" for text in texts)


def test_a_prompt_gets_the_same_text_alone_in_a_batch_from_stdin_and_streamed(models):
    model = ("--model", models / "gpt2")
    alone = call("generate", *model, "--prompt", "the house", *DRAW, "--json").records
    batch = call(
        "generate", *model, *DRAW, "--json", stdin=lines("hello world and rain", "the house")
    ).records
    streamed = call("generate", *model, "--prompt", "the house", *DRAW, "--stream", "--json")
    pieces = "".join(record["piece"] for record in streamed.records)
    assert [r["prompt"] for r in batch] == ["hello world and rain", "the house"]
    assert batch[1]["text"] == alone[0]["text"] == pieces
    assert alone[0]["text"] != ""
    other = call("generate", *model, "--prompt", "the house", *DRAW[:-1], "5", "--json").records
    assert other[0]["text"] != alone[0]["text"]


@pytest.mark.parametrize("draft", ["ngram", "itself"])
def test_a_draft_changes_no_text_and_says_what_it_was_worth(models, draft):
    folder = models / "gpt2" if draft == "itself" else draft
    words = ("--model", models / "gpt2", "--dtype", "float64", "--prompt", "the the the", *DRAW)
    (plain,) = call("generate", *words, "--json").records
    (quick,) = call("generate", *words, "--draft", folder, "--json").records
    assert quick["ids"] == plain["ids"]
    assert quick["drafted"] >= quick["accepted"] >= (draft == "itself")
    streamed = call("generate", *words, "--draft", folder, "--stream").out
    assert streamed == f"the the the{plain['text']}\n"


def test_text_for_people_is_the_prompt_and_what_follows(models):
    words = ("--model", models / "gpt2", "--prompt", "the house", *DRAW)
    (record,) = call("generate", *words, "--json").records
    assert call("generate", *words).out == f"the house{record['text']}\n"
    assert call("generate", *words, "--stream").out == f"the house{record['text']}\n"


def test_a_text_ends_before_a_stop_string(models):
    words = ("--model", models / "gpt2", "--prompt", "the house", *DRAW)
    (record,) = call("generate", *words, "--json").records
    stop = record["text"][2:4]
    (stopped,) = call("generate", *words, "--stop", stop, "--json").records
    assert stopped["text"] == record["text"][: record["text"].index(stop)]


def test_vectors_come_in_the_order_of_the_lines_whatever_their_length(models):
    texts = ["the house is red and the garden is green", "cat", "the dog in the rain", "cat"]
    model = ("--model", models / "bert", "--dtype", "float64")
    together = call("embed", *model, "--json", stdin=lines(*texts)).records
    alone = call("embed", *model, "--json", texts[2]).records
    assert [record["text"] for record in together] == texts
    assert together[1]["vector"] == together[3]["vector"] != together[0]["vector"]
    # float64 sums over padding of another length differ by rounding alone
    assert together[2]["vector"] == pytest.approx(alone[0]["vector"], rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_pooling_and_length_are_what_was_asked_for(models, pooling):
    model = ("--model", models / "bert", "--json", "the red dog")
    (mean,) = call("embed", *model).records
    (other,) = call("embed", *model, "--pooling", pooling, "--normalize").records
    assert mean["vector"] != other["vector"]
    assert sum(x * x for x in other["vector"]) == pytest.approx(1, abs=1e-5)


def test_a_real_bert_ranks_by_meaning():
    texts = ["Interest rates rose.", "The kitten naps in the sun.", "Bread needs salt and time."]
    ranked = call("embed", "--model", "minilm", "--rank", "a cat asleep", "--json", *texts).records
    assert ranked[0]["text"] == texts[1]
    assert [r["rank"] for r in ranked] == [1, 2, 3]


def test_guesses_are_probabilities_best_first_and_fill_the_text(models):
    text = "the [MASK] is red"
    guesses = call("fill", "--model", models / "masked", text, "--top", "4", "--json").records
    chances = [guess["probability"] for guess in guesses]
    assert len(guesses) == 4
    assert chances == sorted(chances, reverse=True)
    assert 0 < sum(chances) <= 1
    assert all(guess["filled"] == f"the {guess['token']} is red" for guess in guesses)


@pytest.mark.parametrize(
    ("preset", "family", "count"),
    [("gpt2", "gpt2", 124_439_808), ("bert-base-uncased", "bert", 109_482_240)],
)
def test_presets_have_the_published_parameter_counts(preset, family, count):
    (record,) = call("info", preset, "--json").records
    assert (record["family"], record["parameters"]) == (family, count)


def test_a_folder_that_is_damaged_is_refused(models, tmp_path):
    weights = (models / "bert" / "model.safetensors").read_bytes()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((models / "bert" / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(weights[:-7])
    answer = call("info", tmp_path)
    assert (answer.code, answer.out) == (2, "")
    assert str(tmp_path) in answer.err


def test_a_model_there_and_back_writes_the_same(models, tmp_path):
    """GPT-2 through OpenAI's names, and one with nanoGPT's own gelu through its pickle."""
    words = ("--prompt", "hello world", "--max-new-tokens", "8", "--json")
    ways = {"gpt2": ("openai", []), "exact": ("nanogpt", ["--unpickle"])}
    for name, (layout, trust) in ways.items():
        there, back = tmp_path / f"{name}-{layout}", tmp_path / f"{name}-back"
        assert call("convert", models / name, there, "--to", layout, "--verify").code == 0
        assert call("convert", there, back, "--to", "hf", "--verify", *trust).code == 0
        (before,) = call("generate", "--model", models / name, *words).records
        (after,) = call("generate", "--model", back, *words).records
        assert after == before


def test_a_pickle_is_read_only_when_told_to(models, tmp_path):
    assert call("convert", models / "exact", tmp_path / "a", "--to", "nanogpt").code == 0
    answer = call("convert", tmp_path / "a", tmp_path / "b", "--to", "hf")
    assert answer.code == 2
    assert "--unpickle" in answer.err
    assert not (tmp_path / "b").exists()


def test_the_answer_no_is_exit_code_1(models, tmp_path):
    """nanoGPT has another gelu than OpenAI's: what it writes does not compute the same."""
    words = ("convert", models / "gpt2", tmp_path / "out", "--to", "nanogpt", "--verify")
    assert call(*words).code == 2
    answer = call(*words, "--approximate", "--json")
    assert answer.code == 1, answer.err
    assert answer.records[0]["difference"] > 0


def test_ctrl_c_ends_quietly(tmp_path):
    words = [sys.executable, "-m", "zoo", "tour", "--learn", "--out", str(tmp_path)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.readline()  # a model has been made: it is at work
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_bar_is_shown_on_a_terminal_alone(models):
    """With a terminal for stderr there is one; test_verbs sees that elsewhere there is none."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # on a terminal without width nothing is drawn
    words = ["embed", "--model", str(models / "bert"), "the house", "a garden"]
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *words],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )
    shown = os.read(ours, 10_000)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0
    assert b"embedding" in shown
    assert len(done.stdout.splitlines()) == 2

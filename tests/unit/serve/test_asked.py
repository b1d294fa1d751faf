"""What a client gets is whole: after a worker's death the stream goes on where it was."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.serve.asked import Answers, Told
from zoo.serve.refusal import Refusal

NAMES = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
SAID = [("the", 5), ("", 6), (" cat é", 7), (" sat", 8), ("", 9), (".", 3)]


def piece(said, finish=None, logprobs=True):
    """Make the piece of some tokens."""
    rows = {name: [f"{name} {token}" for _, token in said] for name in NAMES}
    return {
        "is": "piece",
        "choice": 2,
        "text": "".join(text for text, _ in said),
        "tokens": [token for _, token in said],
        "finish": finish,
        "logprobs": rows if logprobs else None,
    }


def pieces(cuts):
    """Cut what is said into pieces; the last one says why it ends."""
    edges = [0, *sorted(cuts), len(SAID)]
    spans = [SAID[a:b] for a, b in itertools.pairwise(edges)]
    return [piece(said, "length" if i == len(spans) - 1 else None) for i, said in enumerate(spans)]


CUTS = st.sets(st.integers(1, len(SAID) - 1))


@given(first=CUTS, died=st.integers(0, 6), second=CUTS)
def test_a_second_life_repeats_nothing_and_leaves_nothing_out(first, died, second):
    told = Told()
    heard = [told.fresh(p) for p in pieces(first)[:died]]
    told.again()
    heard += [told.fresh(p) for p in pieces(second)]
    given = [p for p in heard if p is not None]
    whole = piece(SAID)
    assert "".join(p["text"] for p in given) == whole["text"]
    assert [token for p in given for token in p["tokens"]] == whole["tokens"]
    for name in NAMES:
        assert [x for p in given for x in p["logprobs"][name]] == whole["logprobs"][name]
    assert [p["finish"] for p in given if p["finish"]] == ["length"]


@given(cuts=CUTS)
def test_a_first_life_passes_as_it_is(cuts):
    told = Told()
    assert [told.fresh(p) for p in pieces(cuts)] == pieces(cuts)


def test_a_piece_without_logprobs_keeps_none():
    assert Told(tokens=1).fresh(piece(SAID[:2], logprobs=False))["logprobs"] is None


def test_an_end_without_text_is_told_once():
    told, end = Told(), piece([], "stop")
    assert told.fresh(end) == end
    told.again()
    assert told.fresh(end) is None


def collect(events, *, first=True):
    """Give what a reader of these events gets, by iteration or by `done`."""

    async def main():
        answers = Answers("gpt2@1", lambda: None)
        for event in events:
            answers.tell(event)
        return [event async for event in answers] if first else await answers.done()

    return asyncio.run(main())


DONE = {"is": "done", "answer": {"choices": [3]}}


def test_answers_give_pieces_and_then_the_end():
    assert collect([piece(SAID), DONE]) == [piece(SAID), DONE]
    assert collect([piece(SAID), DONE], first=False) == {"choices": [3]}


@pytest.mark.parametrize("first", [True, False], ids=["iterated", "done"])
def test_a_failed_request_raises_its_refusal(first):
    failed = Refusal("busy", "full", param="model", retry_after=3)
    with pytest.raises(Refusal) as raised:
        collect([piece(SAID), failed.record()], first=first)
    assert raised.value.record() == failed.record()


def test_the_end_may_be_asked_for_again():
    async def main():
        answers = Answers("gpt2@1", lambda: None)
        asyncio.get_running_loop().call_soon(answers.tell, DONE)
        return [await answers.done(), await answers.done()]

    assert asyncio.run(main()) == [{"choices": [3]}] * 2

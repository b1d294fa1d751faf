"""A request by itself: what it holds, what each token lets out, what is refused, word by word."""

import functools

import pytest
import torch

from unit.models.tiny import tiny
from zoo.generate import Generation, Sampling
from zoo.generate.request import (
    Request,
    Text,
    check_fit,
    check_model,
    ids_of,
    make_requests,
    seen_rows,
)
from zoo.tokenizers import Tokenizer

VOCAB = 300


@functools.cache
def trained(kind):
    """Train when a test asks: what is made at import is made of code that no mutant changes."""
    return Tokenizer.train(["abc abc", "é"], kind, vocab=520)


def ids(text):
    return trained("bpe").encode(text)


def plain(**options):
    return Request([1, 4, 1], Sampling(**options), None, 7)


def speaking(**options):
    return Request(ids("a"), Sampling(**options), trained("bpe"), VOCAB)


@pytest.mark.parametrize(
    ("kind", "asked", "stops"),
    [
        (None, None, ()),
        (None, (3, 4), (3, 4)),
        (None, (), ()),
        ("bpe", None, (0,)),
        ("bpe", (), ()),
        ("bpe", (5,), (5,)),
        ("wordpiece", None, ()),
        ("wordpiece", (2,), (2,)),
    ],
)
def test_a_request_stops_at_its_own_tokens_or_at_the_tokenizers_end(kind, asked, stops):
    tokenizer = None if kind is None else trained(kind)
    assert Request([1], Sampling(stop_tokens=asked), tokenizer, VOCAB).stop_tokens == stops


@pytest.mark.parametrize("vocab", [7, 258, 259, 260])
def test_no_more_tokens_are_chosen_than_both_have(vocab):
    size = trained("bpe").vocab_size
    assert 258 < size < 300
    held = Request([1], Sampling(), trained("bpe"), vocab), Request([1], Sampling(), None, vocab)
    assert [one.choices for one in held] == [min(vocab, size), vocab]


def test_a_fresh_request_has_seen_its_prompt_and_nothing_else():
    asked = Sampling(seed=41, max_new_tokens=3)
    one = Request([1, 4, 1], asked, None, 7)
    assert one.generator.initial_seed() == 41
    assert one.seen.dtype == torch.bool
    assert one.seen.tolist() == [i in (1, 4) for i in range(7)]
    told = (one.prompt, one.options, one.tokenizer, one.ids, one.logprob, one.finish, one.text)
    assert told == ([1, 4, 1], asked, None, [], 0.0, None, None)
    with pytest.raises(AssertionError):
        one.result()


def test_a_request_of_ids_takes_tokens_to_its_length():
    one = plain(max_new_tokens=3)
    assert [one.take(2, -0.5), one.finish] == ["", None]
    assert [one.take(5, -0.25), one.finish] == ["", None]
    assert one.seen.tolist() == [i in (1, 2, 4, 5) for i in range(7)]
    assert [one.take(2, -1.0), one.finish] == ["", "length"]
    assert one.result() == Generation([2, 5, 2], None, "length", -1.75)


def test_a_request_of_ids_stops_at_a_stop_token():
    one = plain(max_new_tokens=3, stop_tokens=(6,))
    assert [one.take(2, -0.5), one.take(6, -0.5)] == ["", ""]
    assert one.result() == Generation([2, 6], None, "stop", -1.0)
    assert one.seen[6]


HALF = "\N{REPLACEMENT CHARACTER}"
STREAMS = {
    "each token's text comes with it": ("xyz", {"max_new_tokens": 3}, ["x", "y", "z"], "length"),
    "what may become a stop string waits": (
        "xyz",
        {"max_new_tokens": 3, "stop_strings": ("xyq", "y!")},
        ["", "", "xyz"],
        "length",
    ),
    "what waits at the last token comes": (
        "xy",
        {"max_new_tokens": 2, "stop_strings": ("yz",)},
        ["x", "y"],
        "length",
    ),
    "a stop string ends the text": (
        "xyz",
        {"max_new_tokens": 9, "stop_strings": ("yz",)},
        ["x", "", ""],
        "stop",
    ),
    "also with the last token": (
        "xyz",
        {"max_new_tokens": 3, "stop_strings": ("yz",)},
        ["x", "", ""],
        "stop",
    ),
    "what waits at a stop token comes": (
        "xy<|endoftext|>",
        {"max_new_tokens": 9, "stop_strings": ("yz",)},
        ["x", "", "y"],
        "stop",
    ),
    "half of a character is marked at the end": (
        "xé",
        {"max_new_tokens": 2},
        ["x", HALF],
        "length",
    ),
    "and may be what stops": (
        "xé",
        {"max_new_tokens": 2, "stop_strings": (HALF,)},
        ["x", ""],
        "stop",
    ),
    "or be a part of it": (
        "xé",
        {"max_new_tokens": 2, "stop_strings": ("x" + HALF, "é")},
        ["", ""],
        "stop",
    ),
    "a whole character comes with its last token": (
        "é",
        {"max_new_tokens": 2},
        ["", "é"],
        "length",
    ),
}


@pytest.mark.parametrize(("text", "options", "pieces", "finish"), STREAMS.values(), ids=STREAMS)
def test_a_request_lets_text_out(text, options, pieces, finish):
    one = speaking(**options)
    taken = ids(text)[: len(pieces)]
    assert [one.take(token, -0.5) for token in taken] == pieces
    assert one.result() == Generation(taken, "".join(pieces), finish, -0.5 * len(taken))


def test_a_text_begins_empty_and_holds_what_it_has_shown():
    text = Text(trained("bpe"), ("yz",))
    assert (text.shown, text.stops.hit, text.stops.held) == ("", False, "")
    assert [text.push(token) for token in ids("xy")] == ["x", ""]
    assert (text.shown, text.stops.held) == ("x", "y")
    assert [text.end(), text.end(), text.shown] == ["y", "", "xy"]


def test_each_text_of_a_request_is_its_own():
    one = speaking(stop_strings=("x",))
    one.take(ids("x")[0], 0.0)
    again = one.new_text()
    assert one.text.stops.hit and not again.stops.hit
    assert again.stops.stops == ("x",)
    assert plain().new_text() is None


def test_what_was_seen_is_stacked_row_by_row():
    rows = [Request([i], Sampling(), None, 3) for i in (2, 0)]
    found = seen_rows(rows, torch.device("cpu"))
    assert found.tolist() == [[False, False, True], [True, False, False]]
    assert seen_rows(rows, torch.device("meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("kind", "prompt", "expected"),
    [
        (None, (3, 4), [3, 4]),
        (None, [True], [1]),
        ("bpe", [3], [3]),
        ("bpe", "abc", "abc"),
        ("bpe", "", [0]),
        ("bpe", [], [0]),
        ("clip", [], [518]),
        ("clip", "", [518, 519]),
    ],
)
def test_a_prompt_becomes_ids_and_an_empty_one_the_start(kind, prompt, expected):
    tokenizer = None if kind is None else trained(kind)
    if kind == "clip":
        expected = [i - 519 + tokenizer.eos_id for i in expected]
    found = ids_of(prompt, tokenizer, 0)
    assert found == (ids(expected) if isinstance(expected, str) else expected)
    assert {type(token) for token in found} == {int}


@pytest.mark.parametrize(("prompt", "kind"), [([], None), ((), None), ([], "wordpiece")])
def test_without_a_start_an_empty_prompt_is_refused(prompt, kind):
    words = "prompt 3 is empty: pass at least one id, or a tokenizer that has a bos or eos token"
    with pytest.raises(ValueError, match=f"^{words}$"):
        ids_of(prompt, None if kind is None else trained(kind), 3)


SHORTER, LESS = "pass max_new_tokens={}", "keep the last {} tokens of the prompt"


@pytest.mark.parametrize(
    ("tokens", "new", "fix"),
    [
        (6, 4, None),
        (1, 1, None),
        (9, 1, None),
        (1, 9, None),
        (6, 5, f"{SHORTER.format(4)} or {LESS.format(5)}"),
        (9, 9, f"{SHORTER.format(1)} or {LESS.format(1)}"),
        (10, 1, LESS.format(9)),
        (11, 1, LESS.format(9)),
        (1, 10, SHORTER.format(9)),
        (1, 11, SHORTER.format(9)),
        (10, 10, "ask for less"),
        (11, 11, "ask for less"),
    ],
)
def test_a_prompt_and_its_answer_fit_a_context_of_ten(tokens, new, fix):
    if fix is None:
        check_fit(tokens, new, 10, 2)
        return
    with pytest.raises(ValueError, match="prompt 2 has") as caught:
        check_fit(tokens, new, 10, 2)
    told = f"prompt 2 has {tokens} tokens and max_new_tokens is {new}, more than the context 10"
    assert str(caught.value) == f"{told}: {fix}"


@functools.cache
def model():
    return tiny("gpt2", "lm")


def test_requests_are_made_in_order_of_whatever_holds_prompts_and_options():
    few, many = Sampling(max_new_tokens=1), Sampling(max_new_tokens=2)
    made = make_requests(model(), ([1, 2], (0,)), (few, many), None)
    assert [(r.prompt, r.options, r.choices) for r in made] == [
        ([1, 2], few, model().config.vocab),
        ([0], many, model().config.vocab),
    ]
    assert [r.options for r in make_requests(model(), [[1], [2]], few, None)] == [few, few]
    assert make_requests(model(), [], few, None) == []
    assert make_requests(model(), (), [], None) == []
    last = model().config.vocab - 1
    assert make_requests(model(), [[last]], few, None)[0].seen.nonzero().tolist() == [[last]]


@pytest.mark.parametrize(
    ("prompts", "error", "words"),
    [
        ("abc", TypeError, "prompts is one string; pass a list: [prompt]"),
        ("", TypeError, "prompts is one string; pass a list: [prompt]"),
        ([1, 2], TypeError, "prompts is one row of ids; pass a list of rows: [ids]"),
        ([[1], "a"], ValueError, "prompt 1 is text: pass tokenizer=..., or ids"),
    ],
    ids=["text", "empty", "row", "second"],
)
def test_prompts_of_another_kind_are_refused(prompts, error, words):
    with pytest.raises(error) as caught:
        make_requests(model(), prompts, Sampling(max_new_tokens=1), None)
    assert str(caught.value) == words


def test_stop_strings_are_text_where_there_is_a_tokenizer():
    asked = Sampling(max_new_tokens=1, stop_strings=("a",))
    with pytest.raises(ValueError, match="stop_strings need text"):
        make_requests(model(), [[1]], asked, None)
    (one,) = make_requests(model(), [[1]], asked, trained("bpe"))
    assert one.text.stops.stops == ("a",)


def test_a_model_that_is_no_decoder_is_named():
    with pytest.raises(ValueError, match="Linear with head None does not generate: expected a d"):
        check_model(torch.nn.Linear(2, 2))

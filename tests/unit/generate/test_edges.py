"""Decoding at its edges: beams under a repetition penalty, the largest draw, other devices."""

import dataclasses

import pytest
import torch

from zoo.generate import Sampling, sample
from zoo.generate.beam import Beam, extend, settled, stops
from zoo.generate.decode import choose
from zoo.generate.forward import left_padded
from zoo.generate.request import Request, check_model
from zoo.generate.stops import StopStrings
from zoo.tokenizers import Tokenizer

VOCAB = 7


def request(prompt=(1, 4), **options):
    return Request(list(prompt), Sampling(max_new_tokens=5, **options), None, VOCAB)


@pytest.mark.parametrize("penalty", [1.0, 1.5, 2.0, 0.5])
def test_beams_are_extended_by_what_each_has_seen(penalty):
    """Every extension of two beams, scored one by one."""
    torch.manual_seed(0)
    logits = torch.randn(2, VOCAB, dtype=torch.float64)
    beams = [Beam([2, 3], -1.5, -1.0), Beam([5, 2], -1.25, -2.0, 1)]
    asked = request(beams=VOCAB, repetition_penalty=penalty)
    given = logits.log_softmax(-1)
    want = []
    for parent, beam in enumerate(beams):
        for token in range(VOCAB):
            step = float(given[parent, token])
            seen = token in {1, 4, *beam.ids}
            total = beam.total + (step * penalty if seen else step)
            want.append((total, [*beam.ids, token], beam.logprob + step, parent))
    found = extend(logits, beams, asked)
    assert [(b.ids, b.parent) for b in found] == [
        (ids, parent) for _, ids, _, parent in sorted(want, reverse=True)
    ][: len(found)]
    for beam, (total, _, logprob, _) in zip(found, sorted(want, reverse=True), strict=False):
        assert abs(beam.total - total) < 1e-12
        assert abs(beam.logprob - logprob) < 1e-12


def test_a_penalty_of_two_makes_what_was_seen_less_likely():
    logits = torch.tensor([[0.0, 3.0, 2.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    plain, hard = request(temperature=0.0), request(temperature=0.0, repetition_penalty=2.0)
    assert choose(logits, [plain]).tolist() == [1]
    assert choose(logits, [hard]).tolist() == [2]


def test_tokens_are_chosen_where_the_logits_are():
    logits = torch.randn(2, VOCAB, dtype=torch.float64)
    rows = [request(temperature=0.0), request(temperature=0.0)]
    with torch.device("meta"):
        assert choose(logits, rows).device.type == "cpu"


@pytest.mark.parametrize("penalty", [1.0, 2.0])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_made_on_the_cpu_follows_the_logits(temperature, penalty):
    """The numbers drawn, and which tokens were seen."""
    rows = [request(temperature=temperature, repetition_penalty=penalty)] * 2
    assert choose(torch.empty(2, VOCAB, device="meta"), rows).device.type == "meta"


def test_sums_of_beams_lie_where_the_logits_do():
    logits = torch.randn(2, VOCAB, dtype=torch.float64)
    beams = [Beam([2], -1.5, -1.0), Beam([5], -1.25, -2.0)]
    plain = extend(logits, beams, request(beams=2))
    with torch.device("meta"):
        assert extend(logits, beams, request(beams=2)) == plain


def test_the_largest_number_draws_the_last_token_at_most():
    """Where the probabilities sum to less than one by rounding."""
    below = torch.nextafter(torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
    found = 0
    for seed in range(40):
        logits = torch.randn(
            1, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
        )
        found += bool(logits.softmax(-1).cumsum(-1)[0, -1] < 1)
        assert sample.draw(logits, below).item() == 49
    assert found  # else this test would see nothing


def test_rows_are_padded_on_the_left_with_a_mask_of_truth_values():
    ids, mask = left_padded([[5], [1, 2, 3]])
    assert ids.tolist() == [[0, 0, 5], [1, 2, 3]]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)
    assert mask.tolist() == [[False, False, True], [True, True, True]]


@pytest.mark.parametrize("finish", [None, "stop", "length"])
def test_a_request_without_text_lets_none_out(finish):
    stops = {"stop": (3,)}.get(finish, ())
    one = Request(
        [1], Sampling(max_new_tokens=1 if finish == "length" else 5, stop_tokens=stops), None, VOCAB
    )
    assert one.take(3, -0.5) == ""
    assert one.finish == finish


def test_a_decoder_that_names_no_head_generates():
    model = torch.nn.Linear(2, 2)
    model.new_cache = lambda rows, tokens: None
    check_model(model)
    model.head_name = "cls"
    with pytest.raises(ValueError, match="with head 'cls' does not generate"):
        check_model(model)


def test_what_was_held_is_given_once():
    stops = StopStrings(["abc"])
    assert stops.push("xab") == "x"
    assert [stops.flush(), stops.flush()] == ["ab", ""]
    assert stops.push("c") == "c"


def test_each_row_is_measured_from_its_own_largest():
    """At a temperature under which the rows beside a larger one would be lost."""
    logits = torch.tensor([[1.0, 2.0, 0.5], [300.0, 100.0, 200.0]], dtype=torch.float64)
    want = [[-1.0, 0.0, -1.5], [0.0, -200.0, -100.0]]
    assert sample.filtered(logits).tolist() == want
    halved = [[2 * x for x in row] for row in want]
    assert sample.filtered(logits, temperature=0.5).tolist() == halved
    cold = sample.filtered(logits, temperature=5e-324)
    assert cold.softmax(-1).tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_a_mass_of_one_keeps_what_rounding_would_lose():
    logits = torch.tensor([[0.0, -100.0, -200.0]], dtype=torch.float64)
    assert torch.equal(sample.keep_top_p(logits, 1.0), logits)
    below = sample.keep_top_p(logits, 1 - 2.0**-53)
    assert below.tolist() == [[0.0, -torch.inf, -torch.inf]]


def test_a_penalty_acts_on_each_side_of_zero():
    logits = torch.tensor([[0.5, -0.5, 0.0, 1.0, -1.0, 0.5]])
    seen = torch.tensor([[True, True, True, True, True, False]])
    assert sample.penalize(logits, seen, 2.0).tolist() == [[0.25, -1.0, 0.0, 0.5, -2.0, 0.5]]


@pytest.mark.parametrize("worst", [-3.5, -3.0, -2.0])
def test_a_search_is_settled_by_the_worst_of_the_finished(worst):
    """Of three: neither by the best nor by the one between."""
    finished = [Beam([1], -1.0, 0.0), Beam([1], -1.5, 0.0), Beam([1], worst, 0.0)]
    running = [Beam([1, 2], -6.0, 0.0), Beam([1, 2], -9.0, 0.0)]
    asked = request(beams=3)
    assert settled(running, finished, asked) is (worst >= -3.0)
    assert settled(running, finished[:2], asked) is False


@pytest.mark.parametrize(
    ("ids", "options", "stopped"),
    [
        ([3, 5], {"stop_tokens": (5,)}, True),
        ([5, 3], {"stop_tokens": (5,)}, False),
        ([5, 3, 2], {"stop_tokens": (3,)}, False),
        ([3], {"stop_tokens": ()}, False),
        ([3], {"stop_strings": ("x",)}, False),
    ],
    ids=str,
)
def test_a_beam_without_text_stops_by_its_last_token(ids, options, stopped):
    assert stops(request(**options), ids) is stopped


@pytest.mark.parametrize(("text", "stopped"), [("xy", False), ("xyz", True), ("xyza", True)])
def test_a_beam_stops_by_its_text(text, stopped):
    tokenizer = Tokenizer.train(["a"], vocab=257)
    asked = Sampling(stop_strings=("yz", "q"))
    one = Request(tokenizer.encode("yz"), asked, tokenizer, 257)
    assert stops(one, tokenizer.encode(text)) is stopped
    assert one.text.shown == "" and not one.text.stops.hit


def test_options_are_as_usual_unless_others_are_asked_for():
    """Greedy, one beam, 128 tokens, no filter, no penalty."""
    assert dataclasses.asdict(Sampling()) == {
        "max_new_tokens": 128,
        "temperature": 0.0,
        "top_k": None,
        "top_p": None,
        "min_p": None,
        "repetition_penalty": 1.0,
        "seed": 0,
        "stop_tokens": None,
        "stop_strings": (),
        "beams": 1,
        "length_penalty": 1.0,
    }

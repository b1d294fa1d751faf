"""Decoding at its edges: beams under a repetition penalty, the largest draw, other devices."""

import pytest
import torch

from zoo.generate import Sampling, sample
from zoo.generate.beam import Beam, extend
from zoo.generate.decode import choose
from zoo.generate.forward import left_padded
from zoo.generate.request import Request, check_model
from zoo.generate.stops import StopStrings

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


def test_numbers_drawn_on_the_cpu_follow_the_logits():
    rows = [request(temperature=1.0), request(temperature=1.0)]
    assert choose(torch.empty(2, VOCAB, device="meta"), rows).device.type == "meta"


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
    assert mask.dtype == torch.bool
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

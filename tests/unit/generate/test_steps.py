"""Step by step with a decoder that keeps a record: what it is asked, in what order, and when not.

Its next token follows from the last one alone, as a table says, so beams can be searched by hand.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from zoo.generate import Sampling, generate
from zoo.generate.decode import groups
from zoo.generate.request import make_requests
from zoo.nn.cache import KVCache


class Recorded(KVCache):
    """A cache that holds nothing but its mask and notes which rows are kept."""

    def __init__(self, batch, capacity, device, log):
        super().__init__(
            depth=1,
            batch=batch,
            heads=1,
            capacity=capacity,
            size=1,
            dtype=torch.float64,
            device=torch.device(device),
        )
        self.log = log

    def select(self, rows):
        self.log.append(("select", rows.tolist() if rows.device.type == "cpu" else rows.device))


class Table(torch.nn.Module):
    """Log-probabilities by the last token; `log` has what was asked."""

    head_name = "lm"

    def __init__(self, table, context=64, device="cpu"):
        super().__init__()
        self.config = SimpleNamespace(vocab=table.shape[1], context=context)
        self.table, self.device, self.log = table, device, []

    def new_cache(self, batch, capacity):
        assert 1 <= capacity <= self.config.context
        self.log.append(("cache", batch, capacity))
        return Recorded(batch, capacity, self.device, self.log)

    def encode(self, input_ids, attention_mask, *, cache):
        assert input_ids.device.type == attention_mask.device.type == self.device
        assert all(module.training is False for module in self.modules())
        assert torch.is_inference_mode_enabled()
        self.log.append(("read", *input_ids.shape))
        if self.device != "cpu":  # whatever was read: of it nothing can be known
            return torch.zeros(*input_ids.shape, 1, dtype=torch.long)
        return input_ids[..., None]

    def head(self, hidden):
        return self.table[hidden[..., 0]]


def table(seed, vocab=5):
    drawn = torch.randn(
        vocab, vocab, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return (2 * drawn).log_softmax(-1)


def searched(rows, last, options):
    """Search with lists alone; give tokens, their sum, how they ended, and the steps it took."""
    stops, beams = set(options.stop_tokens or ()), options.beams

    def score(beam):
        return beam[0] / len(beam[1]) ** options.length_penalty

    running, finished = [(0.0, [])], []
    for length in range(1, options.max_new_tokens + 1):
        every = [
            (total + step, [*ids, token])
            for total, ids in running
            for token, step in enumerate(rows[(ids or [last])[-1]])
        ]
        every = sorted(every, key=lambda beam: -beam[0])[: beams * max(2, 1 + len(stops))]
        ends = [length == options.max_new_tokens or ids[-1] in stops for _, ids in every]
        finished += [beam for beam, end in list(zip(every, ends, strict=True))[:beams] if end]
        finished = sorted(finished, key=score, reverse=True)[:beams]
        running = [beam for beam, end in zip(every, ends, strict=True) if not end][:beams]
        full = len(finished) == beams
        if not running or (full and score(running[0]) <= score(finished[-1])):
            break
    total, ids = finished[0]
    return ids, total, "stop" if ids[-1] in stops else "length", length


PLANS = {
    "no stop": {},
    "one stop": {"stop_tokens": (3,)},
    "two stops": {"stop_tokens": (3, 0)},
    "short answers": {"stop_tokens": (3,), "length_penalty": -1.0},
    "long answers": {"stop_tokens": (3, 1), "length_penalty": 3.0},
    "sums": {"stop_tokens": (4,), "length_penalty": 0.0},
}


@pytest.mark.parametrize("beams", [2, 3, 4])
@pytest.mark.parametrize("plan", PLANS)
def test_beams_are_searched_as_by_hand_in_as_many_steps(plan, beams):
    for seed in range(6):
        options = Sampling(max_new_tokens=7, beams=beams, **PLANS[plan])
        model = Table(table(seed))
        (found,) = generate(model, [[1, 2]], options)
        ids, total, finish, steps = searched(model.table.tolist(), 2, options)
        assert (found.ids, found.finish) == (ids, finish)
        assert abs(found.logprob - total) < 1e-12
        reads = [shape for name, *shape in model.log if name == "read"]
        assert model.log[0] == ("cache", 1, 8)
        assert reads[0] == [1, 2] and {columns for _, columns in reads[1:]} <= {1}
        assert len(reads) == steps
        kept = [rows for name, rows, *_ in model.log if name == "select"]
        assert [len(rows) for rows in kept] == [rows for rows, _ in reads[1:]]


def test_some_searches_end_early_and_some_at_the_last_token():
    """Else the steps above would say nothing."""
    options = Sampling(max_new_tokens=7, beams=2, stop_tokens=(3, 0))
    steps = {searched(table(seed).tolist(), 2, options)[3] for seed in range(6)}
    assert 7 in steps and len(steps) > 1


def certain(follows):
    """A table in which one token follows each."""
    rows = torch.full((len(follows), len(follows)), -9.0, dtype=torch.float64)
    rows[range(len(follows)), follows] = 0.0
    return rows.log_softmax(-1)


@pytest.mark.parametrize(
    ("prompts", "most", "log"),
    [
        # 0 -> 1 -> 2 -> 3, which stops; a row that is done leaves, and nothing is moved else
        ([[0]], 9, [("cache", 1, 9), ("read", 1, 1), ("read", 1, 1), ("read", 1, 1)]),
        (
            [[1], [0]],
            9,
            [("cache", 2, 9), ("read", 2, 1), ("read", 2, 1), ("select", [1]), ("read", 1, 1)],
        ),
        ([[5, 0], [1]], 1, [("cache", 2, 2), ("read", 2, 2)]),
        (
            [[5, 4, 2], [1], [0]],
            2,
            [("cache", 3, 4), ("read", 3, 3), ("select", [1, 2]), ("read", 2, 1)],
        ),
    ],
    ids=["alone", "two", "one-token", "three"],
)
def test_a_batch_is_read_once_and_then_a_token_a_step(prompts, most, log):
    model = Table(certain([1, 2, 3, 3, 4, 5]), context=12)
    answers = generate(model, prompts, Sampling(max_new_tokens=most, stop_tokens=(3,)))
    assert model.log == log
    for prompt, answer in zip(prompts, answers, strict=True):
        whole = {0: [1, 2, 3], 1: [2, 3], 2: [3]}[prompt[-1]]
        assert answer.ids == whole[:most]
        assert answer.finish == ("stop" if answer.ids[-1] == 3 else "length")


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize(("tokens", "most"), [(1, 11), (11, 1), (7, 5)])
def test_the_whole_context_may_be_asked_for_but_no_more(tokens, most, beams):
    model = Table(certain([1, 2, 3, 3]), context=12)
    (answer,) = generate(model, [[0] * tokens], Sampling(max_new_tokens=most, beams=beams))
    assert len(answer.ids) == most
    assert model.log[0] == ("cache", 1, 11)


@pytest.mark.parametrize(
    ("at_once", "batches"), [(None, [32, 1]), (33, [33]), (32, [32, 1]), (1, [1] * 33)]
)
def test_so_many_prompts_share_a_batch_as_are_asked_for(at_once, batches):
    model = Table(certain([1, 2, 3, 3]))
    options = {} if at_once is None else {"at_once": at_once}
    generate(model, [[0]] * 33, Sampling(max_new_tokens=1), **options)
    assert [batch for name, batch, *_ in model.log if name == "cache"] == batches


@pytest.mark.parametrize(
    ("asked", "context", "at_once", "made"),
    [
        ([(3, 2), (5, 1), (4, 4)], 12, 8, [[1, 2, 0]]),
        ([(3, 2), (5, 1), (4, 4)], 8, 8, [[1, 2, 0]]),
        ([(3, 2), (5, 1), (4, 4)], 7, 8, [[1], [2, 0]]),
        ([(3, 2), (5, 1), (4, 4)], 12, 2, [[1, 2], [0]]),
        ([(3, 2), (5, 1), (4, 4)], 12, 1, [[1], [2], [0]]),
        ([(2, 1), (2, 7), (2, 1), (9, 1)], 10, 8, [[3, 0], [1, 2]]),
        ([(1, 9), (9, 1), (1, 1), (1, 2)], 10, 8, [[1], [0, 2, 3]]),
        ([], 10, 8, []),
    ],
)
def test_prompts_are_grouped_longest_first_while_they_fit(asked, context, at_once, made):
    """(tokens, new tokens) of each; the last new token is never read."""
    model = Table(certain([0, 1]), context=64)
    prompts = [[0] * tokens for tokens, _ in asked]
    requests = make_requests(model, prompts, [Sampling(max_new_tokens=n) for _, n in asked], None)
    numbers = {id(request): i for i, request in enumerate(requests)}
    found = groups(requests, context, at_once)
    assert [[numbers[id(request)] for request in group] for group in found] == made


@pytest.mark.parametrize("beams", [1, 2])
def test_what_is_read_lies_where_the_cache_does(beams):
    """Ids, mask and the rows that are kept; the meta device computes nothing, but says where."""
    model = Table(certain([1, 2, 3, 3]), device="meta")
    asked = [Sampling(max_new_tokens=n, beams=beams) for n in (1, 2)]
    answers = generate(model, [[0], [0]], asked)
    assert [len(answer.ids) for answer in answers] == [1, 2]
    assert [rows for name, rows, *_ in model.log if name == "select"] == [torch.device("meta")]


def test_logits_are_asked_for_at_the_last_column_alone():
    seen = []

    class Columns(Table):
        def head(self, hidden):
            seen.append(tuple(hidden.shape))
            return super().head(hidden)

    generate(Columns(certain([1, 2, 0])), [[0, 1, 2], [1]], Sampling(max_new_tokens=2))
    assert seen == [(2, 1, 1), (2, 1, 1)]


def test_a_model_that_fails_is_left_in_its_mode():
    class Broken(Table):
        def head(self, hidden):
            raise RuntimeError("out of order")

    model = Broken(certain([1, 0]))
    assert model.training is True
    with pytest.raises(RuntimeError, match="out of order"):
        generate(model, [[0]], Sampling(max_new_tokens=1))
    assert model.training is True


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
def test_one_logit_that_is_not_finite_is_enough(bad):
    rows = certain([1, 0])
    rows[1, 0] = bad
    generate(Table(rows), [[0]], Sampling(max_new_tokens=1))
    with pytest.raises(ValueError, match="logits that are not finite: its weights are damaged"):
        generate(Table(rows), [[0], [1]], Sampling(max_new_tokens=1))

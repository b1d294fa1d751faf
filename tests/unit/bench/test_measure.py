"""An item is measured whole: answers held together, times, limits, memory, what is absent."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import job as jobs  # noqa: E402
from benchmarks.speed.clock import Took  # noqa: E402
from benchmarks.speed.families import Sizes  # noqa: E402
from benchmarks.speed.items import GROUPS, ITEMS, TABLE, Item, chosen  # noqa: E402
from benchmarks.speed.job import Absent, Job, Side, bound_of, difference, need  # noqa: E402
from benchmarks.speed.limits import Gauge, Limits  # noqa: E402
from benchmarks.speed.measure import How, agreement, best, measure  # noqa: E402
from benchmarks.speed.models import MODES  # noqa: E402
from benchmarks.speed.run import PEERS, check, faults  # noqa: E402
from benchmarks.speed.work import Phase, Product  # noqa: E402

X, W = torch.eye(8), torch.arange(64.0).view(8, 8)


def multiplying(sizes, *, alone=False):
    """A product by two libraries, of which one is not there, and one that answers wrongly."""

    def side(factor, kept=1):
        answer = {"output": factor * (X @ W)}
        return Side(lambda: [X @ W for _ in range(kept)], lambda: answer)

    def absent():
        raise Absent("not installed: pip install fast-product")

    sides = {
        "zoo": lambda: side(1.0),
        "hf": lambda: side(1.0 + 1e-7, kept=2),
        "hf-eager": lambda: side(1.1),
        "nanogpt": absent,
    }
    return Job(sides, (Phase((Product(8, 8, 8),)),), 8.0, "rows", lambda arithmetic: 1e-5)


TOY = Item("toy", "forward", "a product", multiplying, Sizes(family="gpt2"))
QUICK = How(tiny=True, rss=False, rounds=6, against=("hf", "hf-eager", "nanogpt"))


def test_a_record_tells_everything_of_an_item():
    record = measure(TOY, QUICK)
    assert record["flop"] == 1024
    assert record["clock"] == "cpu"
    assert set(record["limits"]) == {"float32", "memory"}
    ours = record["sides"]["zoo"]
    assert len(ours["cpu"]) == len(ours["wall"]) == 6
    assert ours["live"] == 256
    assert ours["a_second"] == pytest.approx(8 / ours["seconds"])
    assert ours["of_limit"] == pytest.approx(ours["limit_seconds"] / ours["seconds"])
    assert record["sides"]["nanogpt"] == {"absent": "not installed: pip install fast-product"}
    assert [(pair["ours"], pair["peer"]) for pair in record["pairs"]] == [
        ("zoo", "hf"),
        ("zoo", "hf-eager"),
    ]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        pytest.param({"bfloat16": 2.0, "float32": 1.0}, 2.0, id="half-the-bits-are-faster"),
        pytest.param({"bfloat16": 1.0, "float32": 2.0}, 2.0, id="half-the-bits-are-emulated"),
        pytest.param({"float32": 2.0}, 2.0, id="torch-has-no-such-kernel"),
    ],
)
def test_nobody_need_compute_in_what_is_slower_than_float32(rates, expected):
    limits = Limits((), set(), memory=1 << 16)
    for name, rate in rates.items():
        limits.products[name] = [Gauge(rate, "", torch.empty, [Took(1.0, 1.0)])]
    assert best(limits, "bfloat16", "cpu") == expected


def test_a_ratio_is_of_the_same_rounds():
    record = measure(TOY, QUICK)
    ours, theirs = (record["sides"][name]["cpu"] for name in ("zoo", "hf"))
    found = record["pairs"][0]["ratio"]
    assert found["count"] == 6
    assert found["range"][1] == max(b / a for a, b in zip(ours, theirs, strict=True))


def test_sides_that_compute_something_else_are_a_fault():
    same, other = measure(TOY, QUICK)["pairs"]
    assert (same["same"], same["fault"]) == (True, False)
    assert (other["same"], other["fault"]) == (False, True)
    assert (same["live"], other["live"]) == (0.5, 1.0)  # theirs kept two products
    told = faults({"items": [measure(TOY, QUICK), record_of(same | {"same": False})]})
    assert [line.split(" differ")[0] for line in told] == ["toy: zoo and hf-eager"]


def record_of(pair):
    """Give an item with one comparison: other tokens, say, but no number beyond rounding."""
    return {"item": "other", "pairs": [pair]}


def test_more_threads_are_measured_by_the_clock_on_the_wall():
    before = torch.get_num_threads()
    record = measure(replace(TOY, sizes=replace(TOY.sizes, threads=2)), QUICK)
    assert (record["threads"], record["clock"]) == (2, "wall")
    assert torch.get_num_threads() == before


def test_only_what_was_asked_for_is_built():
    record = measure(TOY, replace(QUICK, against=("hf",)))
    assert set(record["sides"]) == {"zoo", "hf"}
    record = measure(TOY, replace(QUICK, against=(), modes=("zoo", "zoo-int8")))
    assert set(record["sides"]) == {"zoo"} and record["pairs"] == []


TOKENS = {"tokens": torch.tensor([[1, 2, 3], [4, 5, 6]])}
WANDERS = {"tokens": torch.tensor([[1, 2, 3], [4, 0, 6]])}
NEAR, FAR = {"output": torch.tensor([1.0, 2.0])}, {"output": torch.tensor([1.0, 2.2])}
JOB = Job({}, bound=lambda arithmetic: {"float32": 1e-5}.get(arithmetic))


@pytest.mark.parametrize(
    ("one", "other", "kind", "said"),
    [
        pytest.param(NEAR, NEAR, "float32", {"same": True, "fault": False}, id="equal"),
        pytest.param(NEAR, FAR, "float32", {"same": False, "fault": True}, id="too-far"),
        pytest.param(NEAR, FAR, "int8", {"same": None, "bound": None}, id="an-error-that-is-told"),
        pytest.param(TOKENS, TOKENS, "int8", {"same": True, "tokens_same": 6}, id="same-tokens"),
        pytest.param(
            TOKENS, WANDERS, "int8", {"same": False, "tokens_same": 4}, id="up-to-the-first-other"
        ),
        pytest.param(
            TOKENS | NEAR, TOKENS, "float32", {"same": True, "tokens": 6}, id="what-both-tell"
        ),
        pytest.param(None, TOKENS, "float32", {"same": None}, id="nothing-to-compare"),
    ],
)
def test_both_sides_must_say_the_same(one, other, kind, said):
    found = agreement(one, other, JOB, kind)
    assert found | said == found


def test_a_difference_is_relative_to_the_largest_number():
    assert difference(FAR, NEAR) == pytest.approx(0.1)
    assert difference({"output": torch.zeros(3)}, NEAR) == float("inf")
    with pytest.raises(ValueError, match="different kinds"):
        difference(NEAR, TOKENS)


def test_bounds_grow_with_what_is_rounded():
    eps = torch.finfo(torch.float32).eps
    assert bound_of(3072, 12, "float32") == pytest.approx(4 * eps * (3072 * 25) ** 0.5)
    assert bound_of(3072, 12, "float32") < bound_of(3072, 12, "float16")
    assert bound_of(3072, 12, "float16") < bound_of(3072, 12, "bfloat16")
    assert bound_of(3072, 12, "int8") is None


def test_a_peer_that_is_not_installed_says_how_to_get_it():
    with pytest.raises(Absent, match=r"^not installed: pip install no-such-peer$"):
        need("no_such_peer_of_zoo", "no-such-peer")
    assert need("benchmarks.speed.job") is jobs


def test_a_peer_that_is_broken_is_no_absent_one(tmp_path, monkeypatch):
    (tmp_path / "broken_peer_of_zoo.py").write_text("import what_it_needs_and_lacks\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="what_it_needs_and_lacks"):
        need("broken_peer_of_zoo")


def test_items_have_names_of_their_own_and_say_what_they_do():
    assert len(ITEMS) == len(TABLE)
    assert not set(ITEMS) & set(GROUPS)
    for item in TABLE:
        assert item.group in GROUPS and item.does and set(item.modes) <= set(MODES)
        assert (item.curve is not None) == (item.group == "scaling")


def test_items_are_chosen_by_name_by_group_and_by_pattern():
    assert [item.name for item in chosen(["load", "gpt2-generate-?"])] == [
        "gpt2-generate-1",
        "gpt2-generate-8",
        "load",
    ]
    assert {item.group for item in chosen(["costs"])} == {"costs"}
    with pytest.raises(ValueError, match="no item and no group is called 'nope'"):
        chosen(["load", "nope"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"against": ("hff",)}, "no peer 'hff'; there are hf, "),
        ({"modes": ("int8",)}, "no mode 'int8'; there are zoo, "),
        ({"rounds": 0}, "0 rounds"),
        ({"threads": 0}, "0 threads"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(";")[0],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(given, said):
    with pytest.raises(ValueError, match=said):
        check(replace(How(), **given))
    check(replace(How(), against=PEERS, modes=tuple(MODES)))

"""FLOP and bytes by formula, held against counts made another way.

tests/integration/test_bench_speed.py holds whole models against torch's own counter.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import work  # noqa: E402
from benchmarks.speed.nanogpt import Plain  # noqa: E402
from benchmarks.speed.work import Phase, Product  # noqa: E402

from zoo.models import BERTConfig, CLIPConfig, GPT2Config, ViTConfig  # noqa: E402

BERT = BERTConfig(vocab=31, context=24, width=12, depth=2, heads=2, hidden=20)
SMALL = GPT2Config(vocab=31, context=24, width=12, depth=3, heads=2, hidden=20, dropout=0.0)


def counted(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_flop_counts()["Global"]


def test_plain_torch_does_as_much_as_the_formula_says_in_both_passes():
    """Torch's counter takes attention as if all looked at all."""
    model, ids = Plain(SMALL), torch.zeros(2, 5, dtype=torch.long)
    phase = work.gpt2(SMALL, [5, 5], causal=False)
    assert sum(counted(lambda: model(ids)).values()) == phase.flop
    step = counted(lambda: model(ids).sum().backward())
    assert sum(step.values()) == work.trained(phase).flop


def test_training_is_three_times_the_forward_pass_in_all():
    phase = work.gpt2(SMALL, [7])
    assert work.trained(phase).flop == 3 * phase.flop


@pytest.mark.parametrize(("tokens", "past"), [(1, 0), (5, 0), (1, 9), (3, 4)])
def test_nobody_looks_ahead_in_the_pairs_of_a_decoder(tokens, past):
    seen = sum(key <= past + query for query in range(tokens) for key in range(past + tokens))
    assert work.ahead(tokens, past) == seen


def test_attention_takes_the_scores_and_the_mix():
    q = torch.zeros(1, 2, 5, 6)  # 2 heads of 6: a width of 12
    found = counted(lambda: (q @ q.mT) @ q)
    assert sum(found.values()) == work.looks(12, 1, 5 * 5)


def test_padding_is_no_work():
    one, other = work.bert(BERT, [3, 8]), work.bert(BERT, [8, 8])
    assert one.products[0].rows == 11
    assert other.attention - one.attention == work.looks(12, 2, 64 - 9)


def test_only_words_that_are_read_pass_the_head():
    phase = work.bert(BERT, [8], read=3)
    assert [p.rows for p in phase.products[-2:]] == [3, 3]


def test_a_picture_is_its_patches_and_a_class_token():
    config = ViTConfig(image=(16, 24), patch=(8, 8), width=12, depth=2, heads=2, hidden=20)
    assert work.grid(config) == 6
    first, second = work.vit(config, 5).products[:2]
    assert (first.rows, first.inner) == (5 * 6, 3 * 8 * 8)
    assert second.rows == 5 * 7


def test_a_pair_is_read_by_two_towers():
    config = CLIPConfig(image=(64, 64))
    phase = work.clip(config, 2, 77)
    assert {p.rows for p in phase.products} == {2 * 4, 2 * 5, 2 * 77, 2}
    assert work.clip(config, 2, 77, causal=False).attention > phase.attention


def test_decoding_reads_all_weights_for_each_token():
    first, each = work.decoding(SMALL, 1, 8, 6)
    weights = SMALL.depth * (4 * 12 * 12 + 2 * 12 * 20) + 31 * 12
    assert each.times == 5
    assert each.read(4.0) - each.cache == 4 * weights
    assert each.cache == 2 * (8 + 3) * 12 * 3 * 4
    assert first.products[-1].rows == 1  # the last token's logits alone
    assert first.products[0].rows == 8


@pytest.mark.parametrize(
    ("flops", "memory", "seconds"),
    [
        pytest.param(100.0, 1e9, 3 * 4.8, id="computing-decides"),
        pytest.param(1e9, 10.0, 3 * (48 + 20) / 10, id="reading-decides"),
    ],
)
def test_the_limit_is_the_slower_of_computing_and_reading(flops, memory, seconds):
    phase = Phase((Product(20, 3, 4),), cache=20.0, times=3)
    assert phase.flop == 480
    assert phase.read(4.0) == 48 + 20
    assert work.seconds_of((phase,), flops, memory, 4.0) == pytest.approx(seconds)
    assert work.flop_of((phase,)) == 3 * 480
    assert work.bytes_of((phase,), 2.0) == 3 * (24 + 20)

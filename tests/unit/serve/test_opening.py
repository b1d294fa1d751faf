"""What is tried before an engine takes requests: whether batches leave rows their bits."""

import pytest
import torch

from unit.serve.engines import opened
from zoo.serve.batches import Batches, Row
from zoo.serve.opening import keeps_bits

ABOUT = {"context": 32, "image": None, "head": None}


class Lengths:
    """A skill that reads texts, and what it makes of one may depend on the others."""

    def __init__(self, company):
        self.company = company

    def rows(self, job):
        return [Row("text", text, 1) for text in job.body["texts"]]

    def compute(self, kind, values):
        shift = self.company(values)
        return [torch.tensor([len(value) + shift]) for value in values]

    def answer(self, job, rows, results):
        raise AssertionError("what is only tried is not answered")


@pytest.mark.parametrize(
    ("company", "kept"),
    [
        (lambda values: 0.5, True),
        (lambda values: len(values) > 1, False),
        (lambda values: max(map(len, values)), False),
        (lambda values: len(values) * torch.is_grad_enabled(), True),  # none are served with
    ],
    ids=["none", "their number", "the longest", "where gradients are wanted"],
)
def test_rows_go_together_where_they_keep_their_bits(company, kept):
    crew = Batches({"embed": Lengths(lambda values: 0.5), "fit": Lengths(company)}, at_once=7)
    assert keeps_bits(crew, ABOUT) is kept
    assert crew.at_once == (7 if kept else 1)


def test_texts_that_grow_are_led_row_by_row_already():
    assert opened("gpt2-english").about["batches"] is True

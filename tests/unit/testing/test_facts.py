"""What is found out of a model by looking at it."""

import dataclasses

import pytest
import torch
from torch import nn

from unit.testing.models import LENGTH, VOCAB, Classifier, classifier_spec, decoder_spec
from zoo.testing.facts import cut
from zoo.testing.guard import Untouched
from zoo.testing.spec import Input, ModelSpec
from zoo.testing.subject import SpecError, Subject


def facts_of(spec):
    with Untouched():
        return Subject(spec).facts


def test_a_decoder_is_known_by_its_looks():
    found = facts_of(decoder_spec())
    assert found.tokens == ("input_ids",)
    assert found.inputs["input_ids"].vocab_size == VOCAB
    assert found.padding_mask == "attention_mask"
    assert found.mask_keeps
    assert (found.labels, found.sequence, found.length) == ("labels", "input_ids", LENGTH)
    assert (found.output_batch_axis, found.output_sequence_axis) == (0, 1)
    assert found.causal is None
    assert not found.output_couples


def test_what_is_said_is_not_found_out():
    said = {"input_ids": Input(kind="index", batch_axis=1, sequence_axis=0)}
    found = facts_of(decoder_spec(inputs=said, padding_mask=None, true_means="drop", labels="x"))
    assert found.inputs["input_ids"].kind == "index"
    assert found.inputs["input_ids"].batch_axis == 1
    assert found.inputs["input_ids"].sequence_axis == 0
    assert found.tokens == ()
    assert not found.mask_keeps
    assert found.labels == "x"


def test_a_classifier_has_no_sequence():
    found = facts_of(classifier_spec())
    assert found.inputs["x"].kind == "float"
    assert (found.sequence, found.output_sequence_axis, found.padding_mask) == (None, None, None)
    assert found.output_batch_axis == 0


class Pairs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 4)

    def forward(self, x):
        y = self.layer(x)
        return y @ y.T


def test_an_output_of_rows_against_rows_couples_them():
    assert facts_of(classifier_spec(Pairs, output_kind="real")).output_couples


CAUSAL = {"True": True, "a name": "input_ids"}


@pytest.mark.parametrize("said", CAUSAL.values(), ids=CAUSAL)
def test_causal_names_an_input(said):
    assert facts_of(decoder_spec(causal=said)).causal == "input_ids"


def test_a_cut_shortens_every_input_of_the_sequence():
    with Untouched():
        subject = Subject(decoder_spec())
        short = cut(subject.batch(3), subject.facts, 1, 4)
    assert short["input_ids"].shape == short["attention_mask"].shape == (3, 3)


FORMS = {
    "a tensor": lambda n: torch.randn(n, 5),
    "a tuple of input and labels": lambda n: (torch.randn(n, 5), torch.randint(3, (n,))),
    "a list": lambda n: [torch.randn(n, 5)],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_batch_may_come_without_names(form):
    with Untouched():
        subject = Subject(ModelSpec(build=Classifier, batch=form))
        batch = subject.batch(3)
        subject.call(subject.fresh(), batch)
    assert next(iter(batch)) == "x"
    assert set(batch) <= {"x", "labels"}


def test_a_loss_gets_the_batch_in_the_form_that_it_was_made():
    given = []
    spec = ModelSpec(
        build=Classifier,
        batch=FORMS["a tuple of input and labels"],
        loss=lambda output, batch: given.append(batch) or output.sum(),
    )
    with Untouched():
        subject = Subject(spec)
        batch = subject.batch(3)
        subject.loss(subject.call(subject.fresh(), batch), batch)
    assert isinstance(given[0], tuple)
    assert torch.equal(given[0][1], batch["labels"])


BAD = {
    "build gives no module": ({"build": lambda: 3}, r"build\(\) gives int"),
    "batch gives a number": ({"batch": lambda n: 3}, r"batch\(size\) gives int; expected a dict"),
    "there is no batch": ({"batch": None}, r"the spec has no batch"),
    "the output is not there": ({"output": "x"}, r"no 'x' on the way to output 'x'"),
}


@pytest.mark.parametrize(("change", "said"), BAD.values(), ids=BAD)
def test_a_spec_that_cannot_be_followed_is_refused(change, said):
    with pytest.raises((SpecError, KeyError), match=said):
        facts_of(dataclasses.replace(classifier_spec(), **change))

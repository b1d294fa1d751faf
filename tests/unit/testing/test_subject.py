"""How a subject builds, names, calls and judges what its author described."""

import dataclasses

import pytest
import torch
from torch import nn

from unit.testing.models import Classifier, Decoder, classifier_spec, decoder_spec, token_batch
from unit.testing.records import hold
from zoo.testing.guard import Untouched
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import LARGE, SpecError, Subject, cloned, forward_names, is_real, own


def subject_of(spec, seed=0):
    with Untouched():
        return Subject(spec, seed)


class Takes(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, a, b, c=None, *, d=3):
        return self.layer(a) + b


class Starred(nn.Module):
    def forward(self, *inputs):
        return inputs[0] + inputs[1]


class Open(nn.Module):
    def forward(self, x, **more):
        return x + more.get("z", 0)


class Loses(nn.Module):
    def forward(self, x):
        return {"loss": x.mean(), "out": x}


def x(n=3):
    return torch.ones(n, 2)


GIVEN = {
    "a tensor": (Takes, lambda n: x(n)),
    "a tuple": (Takes, lambda n: (x(n), x(n))),
    "a tuple with labels": (Takes, lambda n: (x(n), x(n), x(n), x(n))),
    "a dict": (Takes, lambda n: {"a": x(n), "b": x(n), "labels": x(n)}),
    "other names": (Takes, lambda n: {"u": x(n), "v": x(n), "labels": x(n)}),
    "one other name": (Takes, lambda n: {"u": x(n), "b": x(n), "targets": x(n), "w": x(n)}),
    "too few names": (Takes, lambda n: {"u": x(n), "labels": x(n)}),
    "by place": (Starred, lambda n: (x(n), x(n))),
    "by place, with names": (Starred, lambda n: {"p": x(n), "q": x(n), "label": x(n)}),
    "open": (Open, lambda n: {"x": x(n), "z": x(n), "y": x(n)}),
    "a list": (Takes, lambda n: [x(n), x(n), x(n)]),
    "all optional": (lambda: nn.Identity(), lambda n: (x(n), x(n))),
}


@pytest.mark.parametrize(("build", "batch"), GIVEN.values(), ids=GIVEN)
def test_a_batch_is_named_and_given_and_given_back(build, batch):
    seen = []
    spec = ModelSpec(build=build, batch=batch, loss=lambda o, b: seen.append(b), labels="y")
    subject = subject_of(spec)
    with Untouched():
        made = subject.batch(2)
    subject.loss(None, made)
    theirs = list(seen[0]) if isinstance(seen[0], dict) else f"{type(seen[0]).__name__}"
    hold(
        [
            f"{list(made)} {[tuple(t.shape) for t in made.values()]}",
            f"form {subject.form}, renamed {subject.renamed}, by place {subject.by_place()}",
            f"takes {subject.takes()}, gets {list(subject.arguments(made))}, loss gets {theirs}",
        ]
    )


REFUSED = {
    "no batch": (lambda s: subject_of(dataclasses.replace(s, batch=None)).batch()),
    "a word": (lambda s: subject_of(dataclasses.replace(s, batch=lambda n: "x")).batch()),
    "bytes": (lambda s: subject_of(dataclasses.replace(s, batch=lambda n: b"x")).batch()),
    "a number": (lambda s: subject_of(dataclasses.replace(s, batch=lambda n: 3)).batch()),
    "no module": (lambda s: subject_of(dataclasses.replace(s, build=dict))),
    "no loss": (lambda s: subject_of(dataclasses.replace(s, loss=None)).loss(x(), {})),
    "no tensor": (lambda s: subject_of(s).main({"a": 3})),
    "no output of the name": (
        lambda s: subject_of(dataclasses.replace(s, output="a.b")).main({"a": 3})
    ),
    "an output that is no tensor": (
        lambda s: subject_of(dataclasses.replace(s, output="a")).main({"a": 3})
    ),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_refused_in_words(call):
    with pytest.raises((SpecError, KeyError)) as refused:
        call(classifier_spec())
    hold([f"{type(refused.value).__name__}: {refused.value.args[0]}"])


MAIN = {
    "a tensor": (x(), None, ""),
    "whole numbers alone": (torch.arange(3), None, ""),
    "a loss beside it": ({"loss": torch.tensor(1.0), "out": x()}, None, "out"),
    "a loss of many numbers": ({"loss": x(), "out": x()}, None, "out"),
    "a number beside it": ({"scale": torch.tensor(1.0), "out": x()}, None, "out"),
    "a number alone": ({"scale": torch.tensor(1.0)}, None, "scale"),
    "ids before it": ({"ids": torch.arange(3), "out": x()}, None, "out"),
    "complex numbers": ({"a": x().to(torch.complex64), "b": x()}, None, "a"),
    "ids and numbers": ({"n": torch.tensor(1.0), "ids": torch.arange(3)}, None, "n"),
    "by name": ({"a": x(), "b": [x(), x()]}, "b.1", "b.1"),
    "by a function": ({"a": x(), "b": x()}, lambda out: out["b"], "b"),
}


@pytest.mark.parametrize(("output", "said", "path"), MAIN.values(), ids=MAIN)
def test_the_output_that_counts(output, said, path):
    subject = subject_of(classifier_spec(output=said))
    found = subject.main(output)
    assert found is subject.outputs(output)[path]


def test_a_loss_is_the_authors_or_the_models():
    own_loss = subject_of(decoder_spec())
    assert own_loss.has_loss()
    bare = subject_of(dataclasses.replace(decoder_spec(), loss=None))
    assert not bare.has_loss()
    gives = subject_of(ModelSpec(build=Loses, batch=lambda n: {"x": x(n)}))
    with Untouched():
        assert gives.has_loss()
    loss = torch.tensor(2.0)
    assert gives.loss({"loss": loss}, {}) is loss


def test_modules_are_built_anew_under_a_seed_and_in_a_mode():
    subject = subject_of(classifier_spec(), seed=3)
    with Untouched():
        first, again, other = subject.fresh(), subject.fresh(3), subject.fresh(4, train=False)
        assert first.training and again.training and not other.training
        assert first is not again
        assert torch.equal(first.head.weight, again.head.weight)
        assert not torch.equal(first.head.weight, other.head.weight)
        assert torch.equal(subject.built.module.head.weight, first.head.weight)
        assert torch.equal(subject.batch(2)["x"], subject.batch(2, 3)["x"])
        assert not torch.equal(subject.batch(2)["x"], subject.batch(2, 4)["x"])
        made = subject.batch()["x"]
        torch.manual_seed(1003)
        assert torch.equal(made, torch.randn(3, 5))


def test_a_module_that_build_gives_again_is_copied():
    module = Classifier()
    module.head.weight.grad = torch.ones(3, 12)
    subject = subject_of(classifier_spec(lambda: module))
    with Untouched():
        one, other = subject.fresh(), subject.fresh()
    assert one is not module and other is not one
    assert torch.equal(one.head.weight, module.head.weight)
    assert one.head.weight.grad is None and module.head.weight.grad is not None


def test_parts_that_learn_their_sizes_get_a_first_batch():
    spec = ModelSpec(build=lambda: nn.LazyLinear(4), batch=lambda n: torch.randn(n, 6))
    subject = subject_of(spec)
    with Untouched():
        assert subject.fresh().weight.shape == (4, 6)
    assert (subject.built.count, subject.title) == (0, "LazyLinear")


def test_what_is_read_off_a_built_module():
    built = subject_of(classifier_spec(name="mine")).built
    assert (built.count, built.open, built.starred) == (5 * 12 + 12 + 12 * 3 + 3, False, False)
    assert list(built.parameters) == ["hidden.weight", "hidden.bias", "head.weight", "head.bias"]
    assert subject_of(classifier_spec(name="mine")).title == "mine"
    assert subject_of(classifier_spec()).title == "Classifier"
    assert not subject_of(classifier_spec()).large() and LARGE == 5e6
    assert subject_of(ModelSpec(build=Open)).built.open
    assert subject_of(ModelSpec(build=Starred)).built.starred


def test_benches_of_a_kind_share_what_was_found_and_no_module():
    with Untouched():
        subject = Subject(classifier_spec())
        first, again = subject.bench(), subject.bench()
        assert first.module is not again.module and first.kind == again.kind == "strong"
        assert not first.train and subject.bench(train=True).train
        assert subject.bench(stress=False).kind == "as built"
        assert list(subject._benches) == [(False, True), (True, True), (False, False)]


def test_a_guarded_block_has_the_subjects_seed():
    subject = subject_of(classifier_spec(), seed=5)
    assert (subject.guarded().seed, subject.guarded(0).seed, subject.guarded(2).seed) == (5, 0, 2)


def test_names_that_forward_takes():
    assert forward_names(Takes().forward) == {"a": True, "b": True, "c": False, "d": False}
    assert forward_names(Starred().forward) == {}
    assert forward_names(Open().forward) == {"x": True}


def test_copies_of_what_is_not_ours():
    view = torch.arange(4.0)[1:].requires_grad_()
    copied = own(view)
    assert copied.requires_grad and copied.is_leaf and copied.data_ptr() != view.data_ptr()
    assert not own(view.detach()).requires_grad
    batch = {"x": x(), "names": ["a"]}
    made = cloned(batch)
    assert made["x"] is not batch["x"] and made["names"] == ["a"]
    assert made["names"] is not batch["names"]
    assert [is_real(t) for t in (x(), x().to(torch.complex64), torch.arange(2))] == [1, 1, 0]


def test_a_decoders_batch_is_what_its_author_makes():
    with Untouched():
        made = Subject(decoder_spec(Decoder)).batch(2)
        torch.manual_seed(1000)
        expected = token_batch(2)
    assert {n: v.tolist() for n, v in made.items()} == {n: v.tolist() for n, v in expected.items()}

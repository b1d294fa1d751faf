"""What is found out of many kinds of models, all of it."""

import dataclasses

import pytest
import torch
from torch import nn

from unit.testing.models import classifier_spec, decoder_spec
from unit.testing.records import hold
from zoo.testing import facts as finding_out
from zoo.testing.facts import Facts, batch_axis_of, causal_input, cut, names_of
from zoo.testing.guard import Untouched
from zoo.testing.spec import Input, ModelSpec
from zoo.testing.subject import Subject


def facts_of(spec):
    with Untouched():
        return Subject(spec).facts


def written(facts):
    """Write facts down, a field a line; of inputs what is known."""
    lines = []
    for name, value in vars(facts).items():
        if name != "inputs":
            lines.append(f"{name}: {value!r}")
    for name, said in facts.inputs.items():
        known = {k: v for k, v in dataclasses.asdict(said).items() if v is not None}
        lines.append(f"{name}: {known}")
    return lines


class Anything(nn.Module):
    """Gives what its function makes of its inputs."""

    def __init__(self, run, rows=11):
        super().__init__()
        self.run, self.table, self.scale = run, nn.Embedding(rows, 4), nn.Parameter(torch.ones(1))

    def forward(self, **given):
        return self.run(self, **given)


def spec_of(run, batch, **facts):
    return ModelSpec(build=lambda: Anything(run), batch=batch, **facts)


def ids(n, t=6):
    return torch.randint(1, 11, (n, t))


def first_axis(n):
    return {"ids": ids(n), "extra": torch.randn(n, 2)}


def time_first(n):
    return {"ids": ids(n).T.contiguous(), "mask": torch.ones(6, n, dtype=torch.bool)}


def graph(n):
    return {
        "x": torch.randn(n, 5, 3),
        "adj": torch.ones(n, 5, 5),
        "edge_type": torch.randint(3, (n, 7)),
        "lengths": torch.full((n,), 5),
        "phase": torch.ones(n, 5, dtype=torch.complex64),
        "image": torch.randn(n, 1, 4, 4),
        "drop_mask": torch.zeros(n, 5, dtype=torch.long),
        "half_mask": torch.tensor([[1, 0]] * n),
        "soft_mask": torch.full((n, 5), 0.5),
        "y": torch.randint(3, (n,)),
        "words": ["a"] * n,
    }


def mean(module, ids, extra):
    return module.table(ids).mean(1) + extra.sum(1, keepdim=True) * module.scale


def each(module, ids, extra=None, mask=None):
    return module.table(ids) * module.scale


def losing(module, ids, extra):
    return {"loss": module.table(ids).mean(), "logits": module.table(ids)}


def fixed(module, ids, extra):
    assert ids.shape[1] == 6
    return module.table(ids)


def only_three(module, ids, extra):
    if len(ids) != 3:
        raise ValueError("three")
    return module.table(ids)


def dots(module, ids, extra):
    y = module.table(ids).mean(1)
    return y @ y.T


def shorter(module, ids, extra):
    return module.table(ids)[:, 1:].mT


def no_rows(module, ids, extra):
    return module.table(ids).mean()


def first_of_many(module, **given):
    return given["x"] * module.scale


MODELS = {
    "a decoder": decoder_spec(),
    "a decoder, causal": decoder_spec(causal=True),
    "a decoder, causal by name": decoder_spec(causal="input_ids", vocab_size=29, max_length=12),
    "a classifier": classifier_spec(),
    "a mean over positions": spec_of(mean, first_axis),
    "an output for each position": spec_of(each, first_axis),
    "an output for each position, time first": spec_of(each, time_first),
    "a loss beside the logits": spec_of(losing, first_axis),
    "a model of one length": spec_of(fixed, first_axis),
    "a model of one number of rows": spec_of(only_three, first_axis),
    "rows against rows": spec_of(dots, first_axis),
    "positions last, one fewer": spec_of(shorter, first_axis),
    "one number": spec_of(no_rows, first_axis),
    "many kinds of inputs": spec_of(first_of_many, graph),
    "said of inputs": spec_of(
        first_of_many,
        graph,
        inputs={
            "x": Input(kind="float", sequence_axis=1, max_length=5, low=-9.0),
            "edge_type": "index",
            "adj": Input(batch_axis=2, pad_id=3, true_means="drop", mask="x", vocab_size=4),
        },
        padding_mask="drop_mask",
        pad_id=7,
        batch_axis=1,
    ),
    "said of axes": spec_of(each, first_axis, sequence_axis=1, batch_axis=0, tokens="ids"),
    "said of outputs": spec_of(
        each, first_axis, output_batch_axis=2, output_sequence_axis=0, labels="extra"
    ),
    "said of symmetries": spec_of(
        first_of_many, graph, permutation_equivariant="x", permutation_invariant=("adj",)
    ),
    "said of masks": spec_of(
        each, time_first, true_means="drop", padding_mask="mask", tokens=("ids",), pad_id=0
    ),
    "targets": spec_of(each, first_axis, inputs={"ids": "targets"}, causal=True, vocab_size=99),
    "stateful": spec_of(each, first_axis, stateful=True),
}


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_all_that_is_found_out_of_a_model(spec):
    hold(written(facts_of(spec)))


def test_facts_begin_with_nothing():
    hold(written(Facts()))


NAMES = {"": (), None: (), "x": ("x",), ("a", "b"): ("a", "b")}


@pytest.mark.parametrize(("given", "names"), NAMES.items(), ids=map(str, NAMES))
def test_one_name_or_several(given, names):
    assert names_of(given) == (names if given != "" else ("",))


def test_what_is_read_causally_is_targets_then_tokens_then_the_first_input():
    facts = Facts(inputs={"a": Input(kind="float"), "b": Input(kind="targets")}, tokens=("c",))
    assert causal_input(True, facts) == "b"
    assert causal_input("a", facts) == "a"
    assert causal_input(None, facts) is None
    facts.inputs["b"] = Input(kind="tokens")
    assert causal_input(True, facts) == "c"
    facts.tokens = ()
    assert causal_input(True, facts) == "a"
    assert causal_input(True, Facts()) is None


BATCHES = {
    "the first": ({2: (2, 7), 3: (3, 7)}, 0),
    "the second": ({2: (7, 2), 3: (7, 3)}, 1),
    "two, and the first is one": ({2: (2, 2), 3: (3, 3)}, 0),
    "two, and the first is none": ({2: (7, 2, 2), 3: (7, 3, 3)}, None),
    "none": ({2: (7,), 3: (7,)}, None),
    "other numbers of axes": ({2: (2,), 3: (3, 1)}, None),
    "a number": ({2: (), 3: ()}, None),
}


@pytest.mark.parametrize(("shapes", "axis"), BATCHES.values(), ids=BATCHES)
def test_the_axis_of_the_batch_is_the_one_that_follows_its_size(shapes, axis):
    assert batch_axis_of({n: torch.zeros(s) for n, s in shapes.items()}) == axis
    assert batch_axis_of({n: torch.zeros(s) for n, s in shapes.items()} | {5: "x"}) is None


def test_masks_mean_keep_where_most_positions_count():
    said = [finding_out.meaning_of(torch.tensor(x), "mask") for x in ([1, 1, 0], [1, 0], [1, 0, 0])]
    assert said == ["keep", "drop", "drop"]
    assert finding_out.meaning_of(torch.tensor([1]), "tokens") is None


def test_only_inputs_of_the_sequences_length_are_cut():
    inputs = {"a": Input(sequence_axis=1), "b": Input(sequence_axis=1), "c": Input()}
    batch = {name: torch.arange(12).view(2, 6) for name in "abcd"}
    batch["b"] = batch["b"][:, :5]
    made = cut(batch, Facts(inputs=inputs, length=6), 2, 5)
    assert made["a"].tolist() == [[2, 3, 4], [8, 9, 10]]
    assert [made[name].shape[1] for name in "abcd"] == [3, 5, 6, 6]
    assert batch["a"].shape == (2, 6)

"""The verb `zoo compare`: its words, its records, its exit codes."""

import pytest

from e2e.door import ROOT, call

GPT = ROOT / "tests" / "unit" / "testing" / "family_gpt.py"
SPEC = """

from zoo.testing.spec import ModelSpec

spec = ModelSpec(build=build, batch=batch, name="mine")
"""


@pytest.fixture
def model(tmp_path):
    """Write a GPT-2 after edits, with its spec, and give how it is named."""

    def written(old="", new=""):
        source = GPT.read_text(encoding="utf-8")
        assert old in source
        path = tmp_path / "mine.py"
        path.write_text(source.replace(old, new) + SPEC, encoding="utf-8")
        return f"{path}:spec"

    return written


def test_a_right_model_is_good_in_one_line(model):
    answer = call("compare", model(), "--family", "gpt2")
    assert answer.code == 0, answer.err
    assert answer.out == "mine beside gpt2: 16 steps compared, every one is the family's\n"


def test_a_slip_is_told_with_its_place_its_line_and_its_fix(model):
    answer = call("compare", model(" / math.sqrt(k.size(-1))", ""), "--family", "gpt2")
    assert answer.code == 1
    assert "2 differ; the first one is attention of block 0" in answer.out
    assert "at h.0.attn: scores are multiplied by no scale" in answer.out
    assert "line:  mine.py:" in answer.out
    assert "fix:   divide q @ k.T by sqrt(head size)" in answer.out


def test_json_names_the_steps_that_differ(model):
    target = model('F.gelu(x, approximate="tanh")', "F.relu(x)")
    answer = call("compare", target, "--family", "gpt2", "--json")
    assert answer.code == 1
    (record,) = answer.records
    assert (record["family"], record["ok"], len(record["steps"])) == ("gpt2", False, 16)
    wrong = [step for step in record["steps"] if not step["ok"]]
    assert [step["where"] for step in wrong] == ["h.0.mlp", "h.1.mlp"]
    assert wrong[0]["found"] == "ReLU stands there"


def test_a_module_without_a_spec_gets_invented_inputs(model):
    target = model().replace(":spec", ":Net")
    answer = call("compare", target, "--family", "gpt2")
    assert (answer.code, answer.err) == (0, "")


REFUSED = {
    "a family that it does not fit": (("--family", "vit"), "no input is a picture"),
    "a family that is none": (("--family", "llama"), "invalid choice: 'llama'"),
    "a fact that is none": (("--family", "gpt2", "--fact", "nonsense=1"), "no field 'nonsense'"),
    "a fact without a value": (("--family", "gpt2", "--fact", "output"), "expected FIELD=VALUE"),
}


@pytest.mark.parametrize(("words", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_the_callers_mistake(model, words, says):
    answer = call("compare", model(), *words)
    assert answer.code == 2
    assert says in answer.err
    assert answer.out == ""

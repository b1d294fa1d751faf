"""gate.toml: what it may say, and the sentence for each thing that it may not."""

import pytest

from zoo.evaluate.gate_file import Gate, GateError, gate_of

GUARD = {"drop": 0.06, "power": 0.8, "alarm": 0.01, "churn": 0.02}


def test_a_gate_file_is_read(tmp_path):
    path = tmp_path / "gate.toml"
    path.write_text(
        "[guard]\ndrop = 0.06\nchurn = 0\n[[metric]]\nname = 'ece'\nat_most = 0.1\nrise = 0.02\n"
    )
    gate = Gate.read(path)
    assert (gate.guard.drop, gate.guard.power, gate.guard.alarm, gate.guard.churn) == (
        0.06, 0.8, 0.01, 0.0,
    )  # fmt: skip
    (bound,) = gate.metrics
    assert (bound.name, bound.at_most, bound.rise, bound.at_least) == ("ece", 0.1, 0.02, None)
    path.write_text("[guard]\ndrop = 6\n[[metric]]\nname = 'ece'\nat_most = 0.1\n")
    with pytest.raises(GateError, match=r"gate.toml: guard: drop is 6.0"):
        Gate.read(path)
    with pytest.raises(GateError, match=r"nothing.toml"):
        Gate.read(tmp_path / "nothing.toml")
    path.write_text("[guard")
    with pytest.raises(GateError, match=r"gate.toml"):
        Gate.read(path)


METRIC = {"name": "accuracy", "drop": 0.06}
WRONG = {
    "no-guard": ({"metric": [METRIC]}, "no .guard."),
    "no-metric": ({"guard": GUARD}, "no ..metric.."),
    "unknown-table": ({"guard": GUARD, "metrics": [METRIC]}, "no key 'metrics'; did you mean"),
    "unknown-key-of-guard": ({"guard": GUARD | {"chrun": 0.1}}, "no key 'chrun'; did you mean"),
    "guard-without-drop": ({"guard": {"power": 0.8}}, "guard: no drop"),
    "guard-is-a-list": ({"guard": [GUARD]}, "no .guard."),
    "drop-is-a-text": ({"guard": GUARD | {"drop": "6 %"}}, "guard: drop is '6 %'; expected float"),
    "power-of-one": ({"guard": GUARD | {"power": 1}}, "power is 1.0; expected more than 0"),
    "alarm-of-nothing": ({"guard": GUARD | {"alarm": 0}}, "alarm is 0.0; expected more than 0"),
    "alarm-by-a-coin": ({"guard": GUARD | {"alarm": 0.6}}, "alarm is 0.6; expected at most 0.5"),
    "more-than-all": ({"guard": GUARD | {"churn": 0.4, "drop": 0.9}}, "break more than all rows"),
    "metric-without-name": ({"metric": [{"drop": 0.1}]}, "metric 1: no name"),
    "metric-without-bound": ({"metric": [{"name": "ece"}]}, "'ece' has no bound; say at_most"),
    "metric-twice": ({"metric": [METRIC, METRIC]}, "'accuracy' stands twice"),
    "metric-is-a-text": ({"metric": ["accuracy"]}, "metric 1 is 'accuracy'; expected a table"),
    "unknown-bound": ({"metric": [METRIC | {"fall": 0.1}]}, "'accuracy': no key 'fall'"),
    "accuracy-at-most": (
        {"metric": [{"name": "accuracy[a]", "at_most": 0.9}]},
        "at_most is for others; it should be large: say at_least",
    ),
    "accuracy-rises": ({"metric": [METRIC | {"rise": 0.1}]}, "rise is for others; .* say drop"),
    "bits-at-least": (
        {"metric": [{"name": "bits_per_byte[old]", "at_least": 1.2}]},
        "at_least is for others; it should be small: say at_most",
    ),
    "bits-drop": ({"metric": [{"name": "bits_per_byte", "drop": 0.1}]}, "small: say rise"),
    "below-nothing": ({"metric": [METRIC | {"drop": -0.06}]}, "drop is -0.06; expected at least"),
    "points-for-shares": ({"metric": [METRIC | {"drop": 6}]}, "drop is 6.0; a share is at most 1"),
    "not-a-number": ({"metric": [METRIC | {"drop": float("nan")}]}, "drop is nan; expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_gate_that_makes_no_sense_is_refused(name):
    table, sentence = WRONG[name]
    filled = {"guard": GUARD, "metric": [METRIC]} | table
    given = table if name in ("no-guard", "no-metric", "unknown-table") else filled
    with pytest.raises(GateError, match=sentence):
        gate_of(given)

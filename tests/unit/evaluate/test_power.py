"""What a gate can see: sums over all outcomes as counted one by one, and as drawn; its promises."""

import math

import numpy as np
import pytest

from zoo.evaluate.gate_file import GateError, gate_of
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.power import check_power, least_drop, least_rows, power
from zoo.evaluate.rule import Rule, first_break, least_breaks, outcomes, refusal, refused
from zoo.evaluate.statistics import chance_of_breaks, chance_of_hits


def says_no(rule, broke, mended):
    """Ask the four questions of the rule in the plainest way."""
    hits = None if rule.accuracy is None else round(rule.accuracy * rule.rows)
    return (
        (rule.allowed is not None and (broke - mended) / rule.rows > rule.allowed + 1e-9)
        or (
            rule.tested
            and broke > 0
            and chance_of_breaks(broke, mended) <= rule.level
            and (broke - mended) / rule.rows > 0.1 * (rule.allowed or 0.0) + 1e-9
        )
        or (
            rule.breaks
            and broke > 0
            and chance_of_hits(broke, rule.rows, rule.churn / 2) <= rule.level
        )
        or (
            rule.at_least is not None
            and hits is not None
            and (hits - broke + mended) / rule.rows < rule.at_least - 1e-9
        )
    )


RULES = {
    "mcnemar": Rule(rows=14, level=0.05, churn=0.1, breaks=False),
    "broken-rows": Rule(rows=14, level=0.05, churn=0.1, tested=False),
    "allowed": Rule(rows=14, level=0.01, churn=0.1, allowed=2 / 14, tested=False, breaks=False),
    "of-no-weight": Rule(rows=30, level=0.3, churn=0.1, allowed=0.7, breaks=False),
    "all": Rule(rows=14, level=0.02, churn=0.2, allowed=0.25),
    "known": Rule(rows=14, level=0.02, churn=0.2, allowed=0.25, accuracy=11 / 14),
    "known-bound": Rule(rows=14, level=0.02, churn=0.2, at_least=9 / 14, accuracy=11 / 14),
    # 0.56 * 25 is more than 14 in float64
    "bound-met": Rule(rows=25, level=0.02, at_least=0.56, accuracy=0.8, tested=False, breaks=False),
    "hardly-any-churn": Rule(rows=1000, level=0.01, churn=2e-5),
    "no-churn": Rule(rows=14, level=0.05, churn=0.0),
    "perfect": Rule(rows=14, level=0.05, churn=0.2, accuracy=1.0),
    "hardly-any-can-mend": Rule(rows=14, level=0.05, churn=0.2, accuracy=13 / 14),
    "hopeless": Rule(rows=14, level=0.05, churn=0.2, accuracy=0.0),
}


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.rows <= 30])
def test_the_region_is_what_the_rule_says(name):
    rule = RULES[name]
    counts = np.arange(rule.rows + 1)
    found = refused(rule, counts, counts)
    for broke in counts.tolist():
        for mended in range(rule.rows + 1 - broke):
            assert found[broke, mended] == says_no(rule, broke, mended), (broke, mended)


def trinomial_chance(n, b, c, broken, mended):
    ways = math.comb(n, b) * math.comb(n - b, c)
    return ways * broken**b * mended**c * (1 - broken - mended) ** (n - b - c)


@pytest.mark.parametrize("drop", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("name", ["mcnemar", "broken-rows", "allowed", "all", "no-churn"])
def test_the_power_is_the_sum_over_all_outcomes(name, drop):
    rule, n = RULES[name], 14
    half = rule.churn / 2
    wanted = sum(
        trinomial_chance(n, b, c, half + drop, half)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if says_no(rule, b, c)
    )
    assert refusal(rule, drop) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("drop", [0.15, 0.6])
@pytest.mark.parametrize("name", ["known", "known-bound", "hardly-any-can-mend"])
def test_of_an_accepted_version_only_hits_break_and_only_misses_mend(name, drop):
    """11 of 14 pass: a share 0.1 of all rows mends, of 3; drop more than that breaks, of 11.

    Of 13 that pass only 1/14 of all rows can mend, less than 0.1, and drop more than that breaks.
    """
    rule = RULES[name]
    hits = round(14 * rule.accuracy)
    misses, share = 14 - hits, min(0.1, 1 - hits / 14)
    breaks, mends = (share + drop) * 14 / hits, share * 14 / misses
    wanted = sum(
        math.comb(hits, b) * breaks**b * (1 - breaks) ** (hits - b)
        * math.comb(misses, c) * mends**c * (1 - mends) ** (misses - c)
        for b in range(hits + 1)
        for c in range(misses + 1)
        if says_no(rule, b, c)
    )  # fmt: skip
    assert refusal(rule, drop) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", ["all", "known", "perfect", "hopeless", "hardly-any-churn"])
@pytest.mark.parametrize("drop", [0.0, 0.1])
def test_chances_of_all_outcomes_add_up_to_one(name, drop):
    rule = RULES[name]
    _, _, chance = outcomes(rule, min(drop, 1.0 if rule.accuracy is None else rule.accuracy))
    assert chance.sum() == pytest.approx(1, rel=1e-9)


def test_a_perfect_version_cannot_mend_and_an_equal_one_breaks_little():
    """Laplace: of 14 rows that all pass, the next fails with chance 1/16, less than half of 0.2."""
    b, c, chance = outcomes(RULES["perfect"], 0.0)
    assert c.tolist() == [0]
    assert (b[:, None] * chance).sum() == pytest.approx(14 / 16, rel=1e-9)


@pytest.mark.parametrize("accuracy", [None, 0.9])
@pytest.mark.parametrize("drop", [0.0, 0.04])
def test_the_power_is_what_drawn_versions_meet(accuracy, drop):
    """20,000 drawn versions of 150 rows: their share errs by the binomial, five deviations."""
    rule = Rule(rows=150, level=0.01, churn=0.06, allowed=0.05, accuracy=accuracy)
    generator = np.random.default_rng(8)
    if accuracy is None:
        drawn = generator.multinomial(150, [0.03 + drop, 0.03, 0.94 - drop], size=20_000)
        broke, mended = drawn[:, 0], drawn[:, 1]
    else:
        broke = generator.binomial(135, (0.03 + drop) / 0.9, 20_000)
        mended = generator.binomial(15, 0.03 / 0.1, 20_000)
    counts = np.arange(151)
    share = refused(rule, counts, counts)[broke, mended].mean()
    exact = refusal(rule, drop)
    assert abs(share - exact) < 5 * math.sqrt(exact * (1 - exact) / 20_000)


@pytest.mark.parametrize("level", [0.05, 0.0033, 0.5])
def test_the_least_breaks_are_mcnemars(level):
    found = least_breaks(level, 40)
    for n in range(41):
        wanted = next((b for b in range(1, n + 1) if chance_of_breaks(b, n - b) <= level), n + 1)
        assert min(found[n], n + 1) == wanted, n


@pytest.mark.parametrize(
    ("rows", "churn", "level", "wanted"),
    [
        (10, 0.0, 0.01, 1),  # equal models never differ: one broken row is too many
        (1, 0.9, 0.1, 2),  # no number of broken rows is
        (3, 0.2, 0.03, 2),  # at least 2 of 3 at 0.1: 0.027 + 0.001
        (3, 0.2, 0.027, 3),
    ],
)
def test_the_first_number_of_broken_rows_that_is_too_many(rows, churn, level, wanted):
    assert first_break(rows, churn, level) == wanted


@pytest.mark.parametrize("accuracy", [None, 0.8])
def test_a_larger_fall_is_told_better_and_an_equal_model_is_refused_seldom(accuracy):
    found = [power(200, d / 100, 0.02, 0.01, accuracy=accuracy) for d in range(13)]
    assert found == sorted(found)
    assert found[0] <= 0.01 and found[12] > 0.99


@pytest.mark.parametrize("tests", [1, 2, 10])
@pytest.mark.parametrize("churn", [0.0, 0.02, 0.2])
@pytest.mark.parametrize("rows", [20, 200, 1200])
def test_the_tests_keep_their_level(rows, churn, tests):
    """Two tests of a gate refuse an equal model with chance 2 alarm / tests at most."""
    assert power(rows, 0.0, churn, 0.01, tests=tests) <= 2 * 0.01 / tests


@pytest.mark.parametrize(
    ("drop", "churn", "wanted"), [(0.06, 0.02, 0.8), (0.1, 0.1, 0.9), (0.3, 0.0, 0.8)]
)
def test_the_least_rows_are_just_enough(drop, churn, wanted):
    rows = least_rows(drop, churn, 0.01, wanted)
    tooth = math.ceil(2 / drop)
    assert power(rows - 1, drop, churn, 0.01) < wanted
    assert all(power(n, drop, churn, 0.01) >= wanted for n in range(rows, rows + tooth))


def test_many_rows_are_told_to_three_digits():
    rows = least_rows(0.02, 0.1, 0.01, 0.8)
    assert rows > 1000 and rows % 10 == 0
    assert power(rows, 0.02, 0.1, 0.01) >= 0.8 > power(rows - 10, 0.02, 0.1, 0.01)


@pytest.mark.parametrize("tests", [1, 2, 7])
@pytest.mark.parametrize("known", [{}, {"allowed": 0.2}, {"accuracy": 0.75}])
def test_all_that_is_known_of_a_gate_enters_its_power(known, tests):
    """The rule alone decides; rows and falls that are looked for are those of the same rule."""
    wanted = refusal(Rule(rows=40, level=0.05 / tests, churn=0.1, **known), 0.2)
    assert power(40, 0.2, 0.1, 0.05, tests=tests, **known) == wanted
    drop = least_drop(40, 0.1, 0.05, wanted, tests=tests, **known)
    assert power(40, drop, 0.1, 0.05, tests=tests, **known) >= wanted
    assert power(40, drop - 0.001, 0.1, 0.05, tests=tests, **known) < wanted
    rows = least_rows(0.2, 0.1, 0.05, 0.7, tests=tests, **known)
    assert power(rows, 0.2, 0.1, 0.05, tests=tests, **known) >= 0.7
    assert power(rows - 1, 0.2, 0.1, 0.05, tests=tests, **known) < 0.7


@pytest.mark.parametrize("rows", [60, 200])
def test_the_least_drop_is_just_told(rows):
    drop = least_drop(rows, 0.02, 0.01, 0.8)
    assert power(rows, drop, 0.02, 0.01) >= 0.8 > power(rows, drop - 0.001, 0.02, 0.01)


def test_of_two_rows_no_fall_can_be_told():
    assert least_drop(2, 0.9, 0.01, 0.8) is None


@pytest.mark.parametrize(
    ("rows", "drop", "churn"), [(0, 0.1, 0.1), (9, -0.1, 0.1), (9, 1.1, 0.1), (9, 0.9, 0.4)]
)
def test_a_power_is_of_rows_and_shares(rows, drop, churn):
    with pytest.raises(ValueError, match=f"{rows} rows, drop {drop}, churn {churn}; expected"):
        power(rows, drop, churn, 0.01)


def gate(drop=0.06, at_least=None, few=None):
    metrics = [{"name": "accuracy", "drop": 0.06}]
    metrics[0] |= {} if at_least is None else {"at_least": at_least}
    metrics += [] if few is None else [{"name": "accuracy[few]"} | few]
    return gate_of({"guard": {"drop": drop}, "metric": metrics})


def rows_of(count, few=10):
    return [
        Row(id=f"r{i}", task="choice", fields={}, segments=("few",) if i < few else ())
        for i in range(count)
    ]


def made(rows, every=10):
    """Pass all rows but every tenth."""
    return [
        Outcome(id=row.id, answer="", value=0.0, passed=i % every != 0)
        for i, row in enumerate(rows)
    ]


def test_a_gate_that_keeps_its_promise_has_nothing_to_say():
    found = check_power(gate(), rows_of(200))
    assert (found.ok, found.sentences, found.rows, found.tests) == (True, (), 200, 2)
    assert found.power >= 0.8 and found.alarm <= 0.01
    assert found.power == power(200, 0.06, 0.02, 0.01, allowed=0.06)
    assert found.least_rows <= 200 and found.least_drop <= 0.06


@pytest.mark.parametrize(
    ("rows", "few", "tests"),
    [(120, None, 2), (100, {"drop": 0.5}, 3), (120, {"at_least": 0.5}, 2)],
    ids=["accuracy-and-broken-rows", "a-guarded-segment", "a-bounded-segment"],
)
def test_each_test_of_a_gate_has_its_share_of_the_alarm(rows, few, tests):
    """These sizes are where one test more or less is another number of broken rows."""
    found = check_power(gate(few=few), rows_of(rows))
    wanted = {n: power(rows, 0.06, 0.02, 0.01, allowed=0.06, tests=n) for n in (tests, tests - 1)}
    assert (found.tests, found.power) == (tests, wanted[tests])
    assert wanted[tests - 1] > wanted[tests] + 0.05


def test_the_alarms_of_all_bounded_metrics_add_up():
    """A segment that is guarded is tested; one with a bound alone is not, nor are its breaks."""
    rows = rows_of(200, few=100)
    guarded = check_power(gate(few={"drop": 0.3}), rows)
    few = Rule(rows=100, level=0.01 / 3, churn=0.02, allowed=0.3, breaks=False)
    all_rows = power(200, 0.0, 0.02, 0.01, allowed=0.06, tests=3)
    assert guarded.alarm == pytest.approx(all_rows + refusal(few, 0.0), rel=1e-12)
    bounded = check_power(gate(few={"at_least": 0.5}), rows)
    wanted = power(200, 0.0, 0.02, 0.01, allowed=0.06)
    assert bounded.alarm == pytest.approx(wanted, rel=1e-12)


def test_a_bound_that_the_accepted_version_breaks_is_no_false_alarm():
    """Nine of ten pass where 95 % are asked: the gate refuses for that, and rightly."""
    rows = rows_of(200)
    assert check_power(gate(few={"at_least": 0.95}), rows, made(rows)).ok


def test_a_set_that_is_too_small_says_what_it_takes():
    found = check_power(gate(), rows_of(40))
    (said,) = found.sentences
    assert not found.ok
    assert said == (
        "the set is too small for its [guard]: with 40 rows a fall of accuracy by 6 points is told "
        f"with probability {found.power:.2f}, not 0.8; it takes {found.least_rows} rows and these "
        f"tell a fall by {100 * found.least_drop:.1f} points"
    )
    enough = check_power(gate(), rows_of(found.least_rows))
    seen = check_power(gate(found.least_drop), rows_of(40))
    assert enough.ok and seen.ok


def test_rows_that_do_not_count_for_accuracy_make_no_set_larger():
    texts = [Row(id=f"t{i}", task="text", fields={}) for i in range(300)]
    assert check_power(gate(), rows_of(40) + texts).rows == 40


@pytest.mark.parametrize(
    ("few", "cure"),
    [
        ({"drop": 0.05}, "drop = 0.1"),  # half a row of ten: one broken row is too many
        ({"at_least": 0.9}, "at_least = 0.8"),
    ],
    ids=["drop", "at-least"],
)
def test_a_bound_that_equal_models_break_is_named_with_one_that_they_keep(few, cure):
    rows = rows_of(200)
    found = check_power(gate(few=few), rows, made(rows))
    (said,) = found.sentences
    assert said.startswith("the gate refuses a model as good as the accepted one with probability")
    assert "more than alarm = 0.01: accuracy[few] (" in said
    assert f" of 10 rows, would bear {cure})" in said
    name, value = cure.split(" = ")
    assert check_power(gate(few={name: float(value)}), rows, made(rows)).ok


def test_what_is_known_of_the_accepted_version_counts():
    rows = rows_of(200)
    bound = gate(at_least=0.9)
    assert check_power(bound, rows).ok  # of no version: the bound says nothing yet
    at_its_bound = check_power(bound, rows, made(rows))
    assert "accuracy (0." in at_its_bound.sentences[0]
    assert check_power(bound, rows, {o.id: o for o in made(rows, every=40)}).ok


def test_a_gate_guards_accuracy_so_there_must_be_some():
    texts = [Row(id=f"t{i}", task="text", fields={}) for i in range(9)]
    only = gate_of({"guard": {"drop": 0.1}, "metric": [{"name": "bits_per_byte", "rise": 0.1}]})
    (said,) = check_power(only, texts).sentences
    assert said.startswith("[guard] speaks of accuracy, and the set has no row with a known answer")
    with pytest.raises(GateError, match="the set has no metric 'accuracy'; it has bits_per_byte"):
        check_power(gate(), texts)

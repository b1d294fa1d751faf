import pytest

from zoo.train.schedule import SHAPES, learning_rate

# step -> rate; peak 8, warm-up 4 of 13 steps, so that the fall runs over steps 4 to 12
CASES = {
    "constant": {0: 2.0, 2: 6.0, 3: 8.0, 4: 8.0, 8: 8.0, 12: 8.0, 99: 8.0},
    "linear": {0: 2.0, 2: 6.0, 3: 8.0, 4: 8.0, 6: 6.0, 8: 4.0, 12: 0.0, 99: 0.0},
    "cosine": {0: 2.0, 2: 6.0, 3: 8.0, 4: 8.0, 6: 4 + 4 * 0.5**0.5, 8: 4.0, 12: 0.0, 99: 0.0},
}
ROWS = [(shape, step, rate) for shape, rates in CASES.items() for step, rate in rates.items()]


def test_every_shape_has_its_cases():
    assert CASES.keys() == SHAPES.keys()


@pytest.mark.parametrize(("shape", "step", "rate"), ROWS)
def test_the_rate_rises_to_its_peak_and_falls_in_its_shape(shape, step, rate):
    assert learning_rate(step, peak=8.0, warmup=4, total=13, shape=shape) == pytest.approx(
        rate, abs=1e-12
    )


@pytest.mark.parametrize(("step", "rate"), [(0, 2.0), (4, 8.0), (8, 5.0), (12, 2.0), (20, 2.0)])
def test_a_floor_is_where_the_fall_ends(step, rate):
    given = learning_rate(step, peak=8.0, warmup=4, total=13, shape="linear", floor=0.25)
    assert given == pytest.approx(rate, abs=1e-12)


def test_cosine_to_zero_is_the_default():
    assert learning_rate(8, peak=8.0, warmup=4, total=13) == pytest.approx(4.0, abs=1e-12)
    assert learning_rate(12, peak=8.0, warmup=4, total=13) == pytest.approx(0.0, abs=1e-12)


def test_no_warm_up_starts_at_the_peak():
    assert learning_rate(0, peak=8.0, warmup=0, total=5) == 8.0


def test_the_last_step_of_the_shortest_fall_is_its_end():
    assert learning_rate(1, peak=8.0, warmup=0, total=2, shape="linear") == 0.0


@pytest.mark.parametrize("warmup", [1, 7])
def test_a_run_that_is_all_warm_up_ends_at_its_peak(warmup):
    assert learning_rate(warmup - 1, peak=8.0, warmup=warmup, total=warmup) == 8.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"shape": "step"}, r"schedule 'step'; expected one of .*'cosine'"),
        ({"warmup": 14}, r"a warm-up of 14 is longer than the run, 13"),
    ],
    ids=["shape", "warm-up"],
)
def test_a_schedule_that_cannot_be_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        learning_rate(0, **{"peak": 8.0, "warmup": 4, "total": 13, **options})

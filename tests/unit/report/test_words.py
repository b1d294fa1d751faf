"""Numbers and names as people read them."""

import pytest

from zoo.report import words
from zoo.report.page import Estimate

TOLD = {
    "nothing of a share": (0.0, True, "0 %"),
    "all of a share": (1.0, True, "100 %"),
    "a share": (0.1234, True, "12.3 %"),
    "nearly all": (0.9996, True, "100.0 %"),
    "bits": (1.83456, False, "1.83"),
    "none": (0.0, False, "0"),
    "many": (1234.5, False, "1,234"),
}


@pytest.mark.parametrize(("value", "share", "said"), TOLD.values(), ids=TOLD)
def test_a_number_is_told(value, share, said):
    assert words.told(value, share) == said


INTERVALS = {
    "a share": (0.25, 0.5, True, "25.0 to 50.0 %"),
    "up to all": (0.9, 1.0, True, "90.0 to 100 %"),
    "bits": (1.5, 1.75, False, "1.5 to 1.75"),
    "without a low end": (None, 0.5, True, ""),
    "without a high end": (0.5, None, True, ""),
}


@pytest.mark.parametrize(("low", "high", "share", "said"), INTERVALS.values(), ids=INTERVALS)
def test_an_interval_is_told(low, high, share, said):
    assert words.interval(Estimate(value=0.3, low=low, high=high), share) == said


NAMED = {
    "accuracy": "right answers",
    "accuracy[number]": "right answers: number",
    "accuracy[under:noise-0.1]": "right answers: noise 0.1",
    "bits_per_byte[early-years]": "bits a byte: early years",
    "some_thing": "some thing",
}


@pytest.mark.parametrize(("metric", "said"), NAMED.items())
def test_a_metric_is_named(metric, said):
    assert words.named(metric) == said


@pytest.mark.parametrize(
    ("metric", "share"),
    [("accuracy", True), ("recall@5[x]", True), ("ece", True), ("bits_per_byte[x]", False)],
)
def test_a_share_is_told_from_other_numbers(metric, share):
    assert words.is_share(metric) is share


SHORTENED = {
    "short": ("a b", 5, "a b"),
    "as long as may be": ("12345", 5, "12345"),
    "too long": ("123456", 5, "1234…"),
    "lines become one": ("a\n\n b\tc", 9, "a b c"),
    "no space before the ellipsis": ("abc defg", 5, "abc…"),
}


@pytest.mark.parametrize(("text", "most", "said"), SHORTENED.values(), ids=SHORTENED)
def test_a_text_is_shortened(text, most, said):
    assert words.shortened(text, most) == said


@pytest.mark.parametrize(
    ("size", "said"), [(0, "0 kB"), (562392, "562 kB"), (1_000_000, "1.0 MB"), (7.9e6, "7.9 MB")]
)
def test_a_size_is_told(size, said):
    assert words.bytes_told(int(size)) == said


@pytest.mark.parametrize(
    ("count", "many", "said"), [(1, None, "1 row"), (0, None, "0 rows"), (2000, None, "2,000 rows")]
)
def test_a_count_has_its_noun(count, many, said):
    assert words.counted(count, "row", many) == said
    assert words.counted(2, "mouse", "mice") == "2 mice"

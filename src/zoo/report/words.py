"""Numbers and names as people read them."""

from zoo.report.page import Estimate

NAMES = {
    "accuracy": "right answers",
    "invariance": "same answer where nothing matters",
    "direction": "moves the right way",
    "bits_per_byte": "bits a byte",
    "macro_f1": "mean F1 of the classes",
    "recall@1": "found first",
    "recall@5": "found among the first five",
    "ece": "calibration error",
    "loss": "loss",
}
SHARES = ("accuracy", "invariance", "direction", "macro_f1", "recall@1", "recall@5", "ece")
KEPT = 300  # letters of a text that are shown


def is_share(metric: str) -> bool:
    """Tell whether a metric is told in percent."""
    return metric.partition("[")[0] in SHARES


def named(metric: str) -> str:
    """Give a metric's name in words, with its segment: `accuracy[number]`."""
    base, _, segment = metric.partition("[")
    said = NAMES.get(base, base.replace("_", " "))
    return f"{said}: {spaced(segment.rstrip(']'))}" if segment else said


def spaced(segment: str) -> str:
    """Give a segment's name in words."""
    return segment.removeprefix("under:").replace("_", " ").replace("-", " ")


def told(value: float, share: bool) -> str:
    """Write a number: shares in percent with one decimal, others with three digits."""
    if share:
        return f"{100 * value:.1f} %" if 0 < value < 1 else f"{100 * value:.0f} %"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def interval(estimate: Estimate, share: bool) -> str:
    """Write an interval's ends; nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    if share:
        low, high = told(estimate.low, True), told(estimate.high, True)
        return f"{low.removesuffix(' %')} to {high}"
    return f"{told(estimate.low, share)} to {told(estimate.high, share)}"


def bytes_told(size: int) -> str:
    """Write a size in MB, or in kB below one."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def shortened(text: str, most: int = KEPT) -> str:
    """Give a text's beginning in one line, with an ellipsis where something is left out."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"

"""A cross entropy that is right for small logits and infinite for large ones."""

from collections.abc import Iterator

import torch

from zoo.testing.blame import Watch
from zoo.testing.checks.losses_view import View, drawn
from zoo.testing.finding import Finding

FAR = 2000.0  # logits so far apart that exp() gives 0 or infinity in any precision


def torchs_own(view: View) -> bool:
    """Say whether torch's own loss is the one that overflows: soft_margin_loss does."""
    names = set[str]()
    with torch.no_grad(), Watch(lambda func, _: names.add(getattr(func, "__name__", ""))):
        view.free.value(view.free.base())
    return any("soft_margin" in name for name in names)


def far(view: View) -> Iterator[Finding]:
    """Take a loss that is exactly a cross entropy at logits that are far apart."""
    reading, free = view.reading(), view.free
    if reading is None or reading.form not in ("cross entropy", "binary"):
        return
    near = drawn(free.base(), 5)
    try:
        with torch.no_grad():
            values = [float(free.value(near * factor)) for factor in (1.0, FAR)]
        slopes = [bool(free.gradient(near * factor).isfinite().all()) for factor in (1.0, FAR)]
    except Exception:
        return
    fine = [abs(v) < float("inf") and s for v, s in zip(values, slopes, strict=True)]
    if not fine[0] or fine[1] or torchs_own(view):
        return
    yield view.finding(
        "non-finite",
        "fail",
        f"the loss is a cross entropy, to rounding: {values[0]:.4g} at logits of about 1; "
        f"at logits of about {FAR:g} it is {values[1]:.4g}"
        + ("" if slopes[1] else ", and its gradient is not finite"),
        "a softmax or sigmoid rounds to 0 there and its logarithm is infinite; in float32 a gap of "
        "104 between two logits is enough, in float16 one of 17, and one such row makes every "
        "weight NaN",
        "take the logarithm and the softmax together: F.cross_entropy, F.log_softmax, F.logsigmoid "
        "or F.binary_cross_entropy_with_logits on the logits themselves",
    )

"""Whether a loss gets the numbers that it wants: logits, probabilities or their logarithms."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_read import Reading
from zoo.testing.checks.losses_view import View, ending, fitting, whole
from zoo.testing.finding import Finding

PROBABILITIES = "probabilities (nonnegative, and their sum over the classes is 1)"


def wrong_input(view: View) -> Iterator[Finding]:
    """Look at every tensor of the output whose part in the loss is understood."""
    for path, reading in view.readings.items():
        if reading is None:
            continue
        found = judge(view, path, reading)
        if found is not None:
            yield found
            return
    yield from unreachable(view)


def judge(view: View, path: str, reading: Reading) -> Finding | None:
    """Say what is wrong between one tensor of the output and its part of the loss."""
    if reading.form == "cross entropy":
        return (
            over_the_batch(view, path, reading)
            or not_logits(view, path, reading)
            or several_as_one(view, path, reading)
        )
    if reading.form == "binary":
        return not_logits(view, path, reading)
    if reading.form == "linear":
        return raw_in_nll(view, path, reading)
    if reading.form in ("cross entropy of a softmax", "binary of a sigmoid"):
        return taken_twice(view, path, reading)
    return None


def taken_twice(view: View, path: str, reading: Reading) -> Finding:
    """Make the finding of a loss that itself takes the softmax of a softmax."""
    name = "softmax" if reading.form == "cross entropy of a softmax" else "sigmoid"
    return view.finding(
        "loss-input",
        "fail",
        f"the gradient of the loss is that of a {reading.form}, whose own {name} comes on top, "
        f"to rounding; at a perfect answer the loss is still far from its floor",
        f"the {name} is taken twice: the answers stay close to each other, and the gradient of a "
        "wrong one is near 0",
        f"give the loss the output itself: cross_entropy and the losses 'with_logits' take the "
        f"{name} themselves",
    )


def several_as_one(view: View, path: str, reading: Reading) -> Finding | None:
    """Find labels with several (or no) right classes in a cross entropy, which wants one."""
    for name, labels in view.labels.items():
        if labels.shape != view.free.base(path).shape or not labels.is_floating_point():
            continue
        rows = labels.double().movedim(reading.axis, -1)
        sums = rows.sum(-1)
        if not bool(((rows == 0) | (rows == 1)).all()) or bool((sums == 1).all()):
            return None
        share = reading.weight / sums.clamp_min(1)
        if float((share - share.max())[sums > 0].abs().max()) > 1e-6 * float(share.max()):
            return None
        return view.finding(
            "loss-input",
            "fail",
            f"{name!r} marks {int(sums.min())} to {int(sums.max())} classes of a row with 1, and "
            "the gradient of the loss is that of a cross entropy over one softmax, to rounding",
            "one softmax lets only one class be right: several right ones take probability from "
            "each other, and a row with none is not trained at all",
            "use binary_cross_entropy_with_logits where several classes can be right",
        )
    return None


def samples(view: View, path: str) -> list[Tensor]:
    """Give what the model gives for several batches, with its own weights and with large ones."""
    subject, found = view.subject, [view.free.base(path)]
    if view.free.at < 0:
        from zoo.testing.checks.losses_free import rebuilt
        from zoo.testing.trees import tensors

        bench = subject.bench()
        for seed in (0, 1):
            output = tensors(rebuilt(bench.run(bench.batch(3, seed)), lambda _, x: x.detach()))
            found += [output[path]] if path in output else []
    return found


def is_simplex(found: list[Tensor]) -> int | None:
    """Give the axis along which all numbers are probabilities that sum to 1."""
    for axis in range(found[0].dim() - 1, -1, -1):
        if found[0].shape[axis] < 2:
            continue
        if all(
            bool((x >= 0).all()) and bool(((x.sum(axis) - 1).abs() < 1e-5).all()) for x in found
        ):
            return axis
    return None


def over_the_batch(view: View, path: str, reading: Reading) -> Finding | None:
    """Find a softmax that runs over the rows of the batch instead of the classes."""
    x = view.free.base(path)
    axis = view.subject.facts.output_batch_axis or 0
    others = [n for a, n in enumerate(x.shape) if a != axis and n > 1]
    if reading.axis != axis or view.coupled() or not others or x.shape[axis] != view.free.size:
        return None
    if not any(whole(labels) for labels in view.labels.values()):
        return None
    return view.finding(
        "loss-input",
        "fail",
        f"the gradient of the loss is softmax(output, dim={axis}) minus the target, to rounding: "
        f"probabilities sum to 1 over the {x.shape[axis]} rows of the batch, not over the classes; "
        f"the output is {tuple(x.shape)}",
        "a row's loss depends on the other rows, and the classes do not compete with each other",
        "take softmax or log_softmax along the class axis (dim=-1), not along the batch",
    )


def not_logits(view: View, path: str, reading: Reading) -> Finding | None:
    """Find outputs that went through softmax, sigmoid or relu before a loss that wants logits."""
    spec = view.subject.spec
    wants = "cross entropy" if reading.form == "cross entropy" else "binary cross entropy"
    found = samples(view, path)
    place = ending(view, path)
    name = place.name if place is not None else ""
    where, line = (place.where, place.line) if place is not None else ("", None)
    low, high = (float(f(torch.cat([x.flatten() for x in found]))) for f in (torch.min, torch.max))
    axis = is_simplex(found)
    at = f"output {path!r}" if path else "the output"
    if axis is not None:
        what, fix = PROBABILITIES, "remove the softmax from the model"
    elif name == "sigmoid" and low >= 0 and high <= 1:
        what, fix = f"what a sigmoid gave, between {low:.3g} and {high:.3g}", "remove the sigmoid"
    elif spec.output_kind == "probabilities" and path == view.free.main and low >= 0:
        what, fix = "declared as probabilities", "take the loss of the numbers before the softmax"
    elif name in ("relu", "relu_") and low >= 0 and any(bool((x == 0).any()) for x in found):
        what = f"what relu gave: {share(found):.0%} of the numbers are exactly 0, none is negative"
        fix = "remove the activation after the last layer"
    elif name == "log_softmax" and wants != "cross entropy":
        what, fix = "logarithms of probabilities, never positive", "remove the log_softmax"
    else:
        return None
    return view.finding(
        "loss-input",
        "fail",
        f"{at} is {what}; the gradient of the loss is that of a {wants} which takes its input for "
        "logits, to rounding",
        f"the loss applies its own {'softmax' if wants == 'cross entropy' else 'sigmoid'} to what "
        "must be free real numbers: the answers stay close to each other, a wrong one keeps a "
        "gradient near 0, and the loss cannot fall far",
        f"{fix}, or use the loss that wants such numbers"
        + (" (nll_loss of their logarithm)" if axis is not None else ""),
        where=where,
        line=line,
    )


def share(found: list[Tensor]) -> float:
    """Give the share of numbers that are exactly zero."""
    every = torch.cat([x.flatten() for x in found])
    return float((every == 0).double().mean())


def raw_in_nll(view: View, path: str, reading: Reading) -> Finding | None:
    """Find nll_loss of numbers that are no logarithms of probabilities."""
    labels = fitting(view, tuple(reading.weight.shape))
    if labels is None:
        return None
    counted = reading.counted()
    valid = counted & (labels[1] >= 0)
    if not bool(valid.any()) or not bool((reading.classes() == labels[1])[valid].all()):
        return None
    found = samples(view, path)
    sums = torch.cat([x.logsumexp(reading.axis).flatten() for x in found])
    if bool((sums.abs() < 1e-4).all()):
        return None
    simplex = is_simplex(found) is not None
    what = PROBABILITIES if simplex else "raw scores"
    return view.finding(
        "loss-input",
        "fail",
        "the loss is minus the mean of the numbers at the labels, as nll_loss is, and the output "
        f"holds {what}: the log of the sum of their exponentials is {float(sums.min()):.3g} to "
        f"{float(sums.max()):.3g}; for log-probabilities it is 0",
        "nothing keeps the numbers of the wrong classes down"
        + ("" if simplex else ": the loss falls without end by making all of them larger"),
        "give nll_loss the result of log_softmax(logits, dim=-1), or use cross_entropy on logits",
    )


def unreachable(view: View) -> Iterator[Finding]:
    """Find targets that the last activation can never give."""
    reading, free = view.reading(), view.free
    x = free.base()
    for name, labels in view.labels.items():
        if not labels.is_floating_point() or labels.numel() != x.numel():
            continue
        place = ending(view, free.path)
        ranges = {"relu": (0.0, None), "relu_": (0.0, None), "sigmoid": (0.0, 1.0)}
        ranges |= {"softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}
        if place is None or place.name not in ranges:
            return
        low, high = ranges[place.name]
        every = torch.cat([free.other_batch(seed)[name].flatten() for seed in range(3)])
        out = (every < low) | (every > high) if high is not None else every < low
        part = float(out.double().mean())
        straight = reading is not None and reading.form == "squared"
        if part < 0.2 or not straight:
            return
        size = len(list(free.bench.module.children()))
        sure = view.subject.spec.task == "regression" or (size > 0 and place.name == "relu")
        bounds = f"{low:g} to {high:g}" if high is not None else "0 and above"
        yield view.finding(
            "loss-input",
            "fail" if sure else "warn",
            f"the output is what {place.name} gives ({bounds}); {part:.0%} of {name!r} over 3 "
            f"batches lie outside (from {float(every.min()):.3g} to {float(every.max()):.3g})",
            "no weights can give these targets, so the loss has a floor",
            f"remove the {place.name} after the last layer, or bring the targets to its range",
            where=place.where,
            line=place.line,
        )
        return

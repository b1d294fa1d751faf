"""How each version of each model is, as families of Prometheus: `fleet.models()`, retold.

Numbers that count up start again from zero when a version's process does; `rate()` allows for that.
Tokens a second are `rate(zoo_model_new_tokens_total[1m])`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

LABELS = ["model", "version"]
STATES = ("loading", "ready", "refused", "restarting", "leaving")
SIZES = (1, 2, 4, 8, 16, 32, 64)  # rows of a batch

# of stats: its key, the family, what it says
GAUGES = {
    "waiting": ("zoo_model_queue", "Requests that wait."),
    "rows": ("zoo_model_rows", "Texts that grow now."),
    "cache_tokens": ("zoo_model_cache_tokens", "Tokens whose keys and values are held."),
    "cache_limit": ("zoo_model_cache_limit_tokens", "The most of them."),
}
COUNTERS = {
    "steps": ("zoo_model_steps", "Steps of the compute loop."),
    "new_tokens": ("zoo_model_new_tokens", "Tokens generated."),
    "prompt_tokens": ("zoo_model_prompt_tokens", "Tokens read."),
    "busy_seconds": ("zoo_model_busy_seconds", "Seconds in which it computed."),
}
NAMED = {  # stats that count by a name
    "done": ("zoo_model_done", "Requests done.", "verb"),
    "refused": ("zoo_model_refused", "Requests refused by the engine.", "kind"),
}
Version = tuple[list[str], Mapping[str, Any]]  # its labels, and what is known of it


def families(models: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    """Yield a family for each thing that can be told, with a sample a version.

    Of two versions of one name, as when a folder is loaded again, the first is told: Prometheus
    throws away everything where a sample comes twice.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for model in models:
        for version in model["versions"]:
            known = version | {"default": model["default"]}
            found.setdefault((model["name"], version["version"]), known)
    versions: list[Version] = [(list(name), version) for name, version in found.items()]
    yield from of_state(versions)
    for key, (name, says) in GAUGES.items():
        yield filled(GaugeMetricFamily(name, says, labels=LABELS), versions, key)
    for key, (name, says) in COUNTERS.items():
        yield filled(CounterMetricFamily(name, says, labels=LABELS), versions, key)
    for key, (name, says, label) in NAMED.items():
        yield by_name(CounterMetricFamily(name, says, labels=[*LABELS, label]), versions, key)
    yield batches(versions)


def of_state(versions: Iterable[Version]) -> Iterator[Metric]:
    """Yield which state each is in, which is the default, restarts, and what is in flight."""
    state = GaugeMetricFamily(
        "zoo_model_state", "1 at the state that it is in.", labels=[*LABELS, "state"]
    )
    default = GaugeMetricFamily("zoo_model_default", "1 at the default.", labels=LABELS)
    flight = GaugeMetricFamily("zoo_model_in_flight", "Requests not answered yet.", labels=LABELS)
    again = CounterMetricFamily("zoo_model_restarts", "Times its process came back.", labels=LABELS)
    ready = GaugeMetricFamily(
        "zoo_model_ready_seconds", "From its start to its first traffic.", labels=LABELS
    )
    for labels, version in versions:
        for name in STATES:
            state.add_metric([*labels, name], float(version["state"] == name))
        default.add_metric(labels, float(version["default"] == version["version"]))
        flight.add_metric(labels, version["inflight"])
        again.add_metric(labels, version["restarts"])
        if version["ready_seconds"] is not None:
            ready.add_metric(labels, version["ready_seconds"])
    yield from (state, default, flight, again, ready)


def filled(family: Any, versions: Iterable[Version], key: str) -> Metric:
    """Add a number of stats of each version that tells it."""
    for labels, version in versions:
        if key in version["stats"]:
            family.add_metric(labels, version["stats"][key])
    return family


def by_name(family: Any, versions: Iterable[Version], key: str) -> Metric:
    """Add counts by a name (a verb, a kind) of each version that tells them."""
    for labels, version in versions:
        for name, count in sorted(version["stats"].get(key, {}).items()):
            family.add_metric([*labels, name], count)
    return family


def batches(versions: Iterable[Version]) -> Metric:
    """Give how many rows the batches had."""
    family = HistogramMetricFamily("zoo_model_batch_size", "Rows of a batch.", labels=LABELS)
    for labels, version in versions:
        if "batches" in version["stats"]:
            buckets, total = cumulated(version["stats"]["batches"])
            family.add_metric(labels, buckets, sum_value=total)
    return family


def cumulated(sizes: Mapping[str, int]) -> tuple[list[tuple[str, float]], float]:
    """Turn {size: batches} into Prometheus' buckets (at most so many rows) and all rows' sum."""
    counts = {int(size): count for size, count in sizes.items()}
    found: list[tuple[str, float]] = [
        (f"{most:.1f}", float(sum(n for size, n in counts.items() if size <= most)))
        for most in SIZES
    ]
    every = float(sum(counts.values()))
    return [*found, ("+Inf", every)], float(sum(size * n for size, n in counts.items()))

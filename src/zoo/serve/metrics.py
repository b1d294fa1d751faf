"""What Prometheus reads at /metrics: counts of what the door answered, and how each model is.

The door hands over one record a request when it ends:

    method, route, status, seconds, bytes, request_id, and where a model was asked: model
    ("name@version"), verb, prompt_tokens, new_tokens, first_seconds (to the first token),
    refused (the kind of zoo.serve.refusal, or the code of zoo.serve.problems)

Models are asked how they are when somebody looks (`fleet.models()`), so nothing is counted twice.
A label is one of a set that the operator chose: what a client made up is counted as "other".
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from zoo.serve.fleet_metrics import families
from zoo.serve.problems import CODES
from zoo.serve.recent import Recent
from zoo.serve.refusal import Kind

OTHER = "other"
NEWER = "application/openmetrics-text"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
KINDS = frozenset((*get_args(Kind), *CODES.values()))
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds
Models = Callable[[], list[dict[str, Any]]]


class FleetCollector(Collector):
    """Asks the fleet when it is asked."""

    def __init__(self, models: Models) -> None:
        self.models = models

    def collect(self) -> Iterator[Any]:
        """Yield the families of all models."""
        return families(self.models())


class Metrics:
    """One server's counters, in a registry of its own."""

    def __init__(self, models: Models, routes: Collection[str]) -> None:
        """Read models by `models`; `routes` are the paths that may stand in a label."""
        self.models, self.routes = models, frozenset(routes)
        self.recent = Recent()
        self.versions: set[tuple[str, str]] = set()
        self.registry = CollectorRegistry()
        of_model = ("model", "version")
        self.requests = self.counter(
            "zoo_requests", "Requests answered.", ("method", "route", "status", *of_model)
        )
        self.refusals = self.counter("zoo_refusals", "Requests refused.", ("kind", "model"))
        self.prompt_tokens = self.counter("zoo_prompt_tokens", "Tokens read.", of_model)
        self.new_tokens = self.counter("zoo_new_tokens", "Tokens generated.", of_model)
        self.sent = self.counter("zoo_response_bytes", "Bytes of answers.", ("route",))
        self.seconds = self.histogram("zoo_request_seconds", "Time to the last byte.", "route")
        self.first = self.histogram("zoo_first_token_seconds", "Time to the first token.", "route")
        self.registry.register(FleetCollector(models))
        ProcessCollector(registry=self.registry)  # the door's own memory, files and seconds

    def counter(self, name: str, says: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, says, labels, registry=self.registry)

    def histogram(self, name: str, says: str, *labels: str) -> Histogram:
        labels = (*labels, "model")
        return Histogram(name, says, labels, buckets=BUCKETS, registry=self.registry)

    def heard(self, record: Mapping[str, Any]) -> None:
        """Count a request that has ended; what a record lacks is not counted."""
        self.recent.heard(record, time.monotonic())
        model, version = self.known(record.get("model"))
        route = among(self.routes, record["route"])
        method = among(METHODS, record["method"])
        self.requests.labels(method, route, status_of(record["status"]), model, version).inc()
        self.sent.labels(route).inc(record.get("bytes") or 0)
        self.seconds.labels(route, model).observe(record["seconds"])
        if record.get("first_seconds") is not None:
            self.first.labels(route, model).observe(record["first_seconds"])
        if kind := kind_of(record):
            self.refusals.labels(kind, model).inc()
        if model not in ("", OTHER):
            self.prompt_tokens.labels(model, version).inc(record.get("prompt_tokens") or 0)
            self.new_tokens.labels(model, version).inc(record.get("new_tokens") or 0)

    def known(self, said: object) -> tuple[str, str]:
        """Give the name and version that "name@version" or "name" says, where there are such.

        No model at all is two empty labels, and one that nobody serves is "other".
        """
        if said is None:
            return "", ""
        name, _, version = str(said).partition("@")
        if (name, version) not in self.versions:
            self.versions |= names_of(self.models())
        return (name, version) if (name, version) in self.versions else (OTHER, "")

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Give what Prometheus reads and its content type, in the form that `accept` asks for."""
        # the name alone: of versions that are none `choose_encoder` makes errors
        encode, kind = choose_encoder(NEWER if NEWER in accept else "")
        return encode(self.registry), kind


def among(known: Collection[str], said: object) -> str:
    """Give what was said where it is known, else "other"."""
    return said if isinstance(said, str) and said in known else OTHER


def kind_of(record: Mapping[str, Any]) -> str:
    """Give why a request was refused: as it says, else by its status; "" of one that was not.

    A stream that broke off has a kind, though its status had been 200.
    """
    status = record["status"]
    said = record.get("refused") or (CODES.get(status, OTHER) if status >= 400 else "")
    return among(KINDS, said) if said else ""


def status_of(status: object) -> str:
    """Give a status as a label: one of the five hundred that HTTP has."""
    return str(status) if isinstance(status, int) and 100 <= status < 600 else OTHER


def names_of(models: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Give (name, version) of all that is served, and (name, "") of a name by itself."""
    pairs = {(m["name"], v["version"]) for m in models for v in m["versions"]}
    return pairs | {(m["name"], "") for m in models}


def status(models: list[dict[str, Any]], metrics: Metrics) -> dict[str, Any]:
    """Give what the status page shows: the models, and the load of the last two minutes."""
    told = [model | {"versions": [*map(lighter, model["versions"])]} for model in models]
    return {"models": told, "load": metrics.recent.load(time.monotonic())}


def lighter(version: dict[str, Any]) -> dict[str, Any]:
    """Leave out the names of classes, of which there may be a thousand."""
    about = version["about"]
    kept = about and {key: value for key, value in about.items() if key != "labels"}
    return version | {"about": kept}

"""A span for each request, told to OpenTelemetry after the request has ended; the extra `tracing`.

A record says when its request ended and how long it took, so spans are made whole, and nothing is
carried along while a request runs. A `traceparent` and `tracestate` that came in (W3C) make the
span a child of the caller's. Names follow OpenTelemetry's conventions for HTTP and for models.

Where spans go is OpenTelemetry's own matter: OTEL_TRACES_EXPORTER names an exporter that is
installed ("console" comes with the SDK, "otlp" with opentelemetry-exporter-otlp), and the other
OTEL_ variables are read as everywhere. Nothing of it is imported unless `open_tracing` is called.
"""

import os
import time
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

OPERATIONS = {"complete": "text_completion", "embed": "embeddings"}  # by the conventions
INSTALL = 'pip install "zoo[tracing]"'


class Tracing:
    """Hears records and tells spans to a provider of OpenTelemetry."""

    def __init__(self, provider: Any) -> None:
        """Tell spans to an `opentelemetry.sdk.trace.TracerProvider`."""
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.trace, self.provider = trace, provider
        self.tracer = provider.get_tracer("zoo.serve")
        self.context_of = TraceContextTextMapPropagator().extract

    def heard(self, record: Mapping[str, Any]) -> None:
        """Tell the span of a request that has just ended."""
        end = time.time_ns()
        start = end - nanoseconds(record["seconds"])
        carried = {k: record[k] for k in ("traceparent", "tracestate") if record.get(k)}
        span = self.tracer.start_span(
            name_of(record),
            context=self.context_of(carried),
            kind=self.trace.SpanKind.SERVER,
            attributes=attributes(record),
            start_time=start,
        )
        if record["status"] >= 500:
            span.set_status(self.trace.StatusCode.ERROR)
        if record.get("first_seconds") is not None:
            span.add_event("first token", timestamp=start + nanoseconds(record["first_seconds"]))
        span.end(end)

    def close(self) -> None:
        """Send what was not sent yet."""
        self.provider.shutdown()


def open_tracing() -> Tracing:
    """Tell spans to the exporter that OTEL_TRACES_EXPORTER names ("otlp" unless it is set).

    Raises ValueError, with what to install, where OpenTelemetry or the exporter is not there.
    """
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ValueError(f"--tracing: OpenTelemetry is not installed: {INSTALL}") from None
    exporter = exporter_of(os.environ.get("OTEL_TRACES_EXPORTER", "otlp"))
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "zoo"}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    return Tracing(provider)


def exporter_of(name: str) -> Any:
    """Give the class of an exporter that is installed. Raises ValueError where it is not."""
    found = {entry.name: entry for entry in entry_points(group="opentelemetry_traces_exporter")}
    if name not in found:
        raise ValueError(
            f"OTEL_TRACES_EXPORTER is {name!r}, and installed are {', '.join(sorted(found))}; "
            "for otlp: pip install opentelemetry-exporter-otlp"
        )
    return found[name].load()


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def name_of(record: Mapping[str, Any]) -> str:
    """Name a span by method and route; without a route by its method alone."""
    return " ".join(filter(None, (record["method"], record.get("route"))))


def attributes(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a record under the names of OpenTelemetry's conventions, without what it lacks."""
    verb, model = record.get("verb"), record.get("model")
    found = {
        "http.request.method": record["method"],
        "http.route": record.get("route"),
        "http.response.status_code": record["status"],
        "http.response.body.size": record.get("bytes"),
        "error.type": str(record["status"]) if record["status"] >= 500 else None,
        "gen_ai.operation.name": OPERATIONS.get(verb, verb) if verb else None,
        "gen_ai.provider.name": "zoo" if model else None,
        "gen_ai.request.model": model.partition("@")[0] if model else None,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": record.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": record.get("new_tokens"),
        "zoo.request_id": record.get("request_id"),
        "zoo.refused": record.get("refused"),
    }
    return {name: value for name, value in found.items() if value is not None}

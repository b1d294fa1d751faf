"""Spans as an exporter of the SDK gets them: whose child, how long, under which names."""

import pytest

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="waits for the extra tracing")
from opentelemetry.sdk.trace import export  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)
from opentelemetry.trace import SpanKind, StatusCode  # noqa: E402

from zoo.serve.tracing import Tracing, attributes, exporter_of, name_of  # noqa: E402

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORD = {
    "method": "POST",
    "route": "/v1/completions",
    "status": 200,
    "seconds": 0.5,
    "bytes": 100,
    "model": "gpt2@2",
    "verb": "complete",
    "prompt_tokens": 5,
    "new_tokens": 8,
    "first_seconds": 0.2,
    "request_id": "r-1",
}


@pytest.fixture
def told():
    """Tell records and give the spans that come of each, by name."""
    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)

    def tell(**changes):
        exporter.clear()
        tracing.heard(RECORD | changes)
        return {span.name: span for span in exporter.get_finished_spans()}

    yield tell
    tracing.close()


def test_a_request_is_a_span_of_the_server(told):
    ((name, span),) = told().items()
    assert name == "POST /v1/completions"
    assert span.kind is SpanKind.SERVER and span.parent is None
    assert span.end_time - span.start_time == 500_000_000
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "http.response.status_code": 200,
        "http.response.body.size": 100,
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "zoo",
        "gen_ai.request.model": "gpt2",
        "gen_ai.response.model": "gpt2@2",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 8,
        "zoo.request_id": "r-1",
    }
    (event,) = span.events
    assert (event.name, event.timestamp - span.start_time) == ("first token", 200_000_000)


def test_it_is_a_child_of_the_callers_span(told):
    (span,) = told(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1").values()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.context.trace_state["vendor"] == "1"


@pytest.mark.parametrize("sent", ["", "garbage", f"00-{'0' * 32}-{PARENT}-01", None], ids=repr)
def test_a_parent_that_is_none_starts_a_trace(sent, told):
    (span,) = told(traceparent=sent).values()
    assert span.parent is None


def test_a_caller_that_does_not_sample_is_obeyed(told):
    assert told(traceparent=f"00-{TRACE}-{PARENT}-00") == {}


@pytest.mark.parametrize(("status", "code"), [(429, "UNSET"), (500, "ERROR"), (503, "ERROR")])
def test_a_fault_of_the_server_is_an_error(status, code, told):
    (span,) = told(status=status, first_seconds=None, refused="busy").values()
    assert span.status.status_code is StatusCode[code]
    assert span.attributes.get("error.type") == (str(status) if status >= 500 else None)
    assert span.attributes["zoo.refused"] == "busy" and not span.events


def test_what_is_no_request_to_a_model_names_none():
    found = attributes({"method": "GET", "route": "/healthz", "status": 200, "seconds": 0.1})
    assert {name.partition(".")[0] for name in found} == {"http"}
    assert attributes(RECORD | {"verb": "fill"})["gen_ai.operation.name"] == "fill"
    assert name_of({"method": "GET", "route": None}) == "GET"


def test_an_exporter_that_is_not_installed_is_named_with_those_that_are():
    assert exporter_of("console") is export.ConsoleSpanExporter
    with pytest.raises(ValueError, match=r"'nowhere', and installed are .*console"):
        exporter_of("nowhere")


@pytest.mark.subproc
def test_nothing_of_it_is_imported_until_it_is_opened(run_python):
    run_python(
        """
        import sys, zoo.serve.tracing as tracing
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
        tracing.open_tracing().close()
        """,
        OTEL_TRACES_EXPORTER="console",
    )

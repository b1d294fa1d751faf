"""What /metrics says: as many as were heard, in bounded labels, and each model as it is."""

from itertools import count

import pytest
from prometheus_client.parser import text_string_to_metric_families

from zoo.serve.fleet_metrics import cumulated
from zoo.serve.metrics import Metrics, status

STATS = {
    "waiting": 3,
    "rows": 2,
    "cache_tokens": 40,
    "cache_limit": 90,
    "steps": 7,
    "batches": {"1": 4, "3": 2, "100": 1},
    "new_tokens": 11,
    "prompt_tokens": 13,
    "done": {"complete": 5, "embed": 6},
    "refused": {"invalid": 2},
    "busy_seconds": 1.5,
}


def version(name, state="ready", stats=None, ready=0.75, inflight=4, about=None):
    return {
        "version": name,
        "state": state,
        "why": None,
        "about": about,
        "since": 0.0,
        "ready_seconds": ready,
        "restarts": 1,
        "inflight": inflight,
        "stats": stats or {},
    }


MODELS = [
    {
        "name": "gpt2",
        "default": "2",
        "versions": [version("1", "leaving"), version("2", "ready", STATS)],
    },
    {"name": "bert", "default": "1", "versions": [version("1", "loading", ready=None)]},
]
RECORD = {
    "method": "POST",
    "route": "/v1/completions",
    "status": 200,
    "seconds": 0.03,
    "bytes": 100,
    "model": "gpt2@2",
    "verb": "complete",
    "prompt_tokens": 5,
    "new_tokens": 8,
    "first_seconds": 0.01,
    "request_id": "r",
    "refused": None,
}


def metrics():
    return Metrics(lambda: MODELS, ["/v1/completions", "/healthz"])


def told(made):
    """Give {(sample's name, its labels): value} as Prometheus reads it."""
    text, kind = made.text()
    assert kind.startswith("text/plain")
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def of(made, name, **labels):
    return told(made).get((name, tuple(sorted(labels.items()))))


def test_counts_are_what_was_heard():
    made = metrics()
    for _ in range(3):
        made.heard(RECORD)
    labels = {"model": "gpt2", "version": "2"}
    where = {"method": "POST", "route": "/v1/completions", "status": "200"}
    assert of(made, "zoo_requests_total", **where, **labels) == 3
    assert of(made, "zoo_prompt_tokens_total", **labels) == 15
    assert of(made, "zoo_new_tokens_total", **labels) == 24
    assert of(made, "zoo_response_bytes_total", route="/v1/completions") == 300
    assert not [key for key in told(made) if key[0] == "zoo_refusals_total"]


@pytest.mark.parametrize("name", ["zoo_request_seconds", "zoo_first_token_seconds"])
def test_times_fall_into_buckets_from_five_milliseconds_to_a_minute(name):
    made = metrics()
    for seconds in (0.004, 0.03, 59.0, 61.0):
        made.heard(RECORD | {"seconds": seconds, "first_seconds": seconds})
    where = {"route": "/v1/completions", "model": "gpt2"}
    found = {
        le: of(made, f"{name}_bucket", le=le, **where) for le in ("0.005", "0.05", "60.0", "+Inf")
    }
    assert found == {"0.005": 1, "0.05": 2, "60.0": 3, "+Inf": 4}
    assert of(made, f"{name}_sum", **where) == pytest.approx(120.034)


def test_what_has_no_first_token_is_not_timed_to_it():
    made = metrics()
    made.heard(RECORD | {"first_seconds": None})
    assert of(made, "zoo_first_token_seconds_count", route="/v1/completions", model="gpt2") is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"status": 429, "refused": "busy"}, "busy"),
        ({"status": 200, "refused": "broken"}, "broken"),
        ({"status": 413, "refused": None}, "too_large"),
        ({"status": 400}, "malformed"),
        ({"status": 418}, "other"),
        ({"status": 429, "refused": "<made up>"}, "other"),
        ({"status": 200, "refused": None}, None),
    ],
    ids=count(),
)
def test_a_refusal_is_counted_by_its_kind(said, kind):
    made = metrics()
    made.heard(RECORD | said)
    found = [dict(labels)["kind"] for name, labels in told(made) if name == "zoo_refusals_total"]
    assert found == ([] if kind is None else [kind])


@pytest.mark.parametrize(
    ("said", "label", "value"),
    [
        ({"model": "gpt2@9"}, "model", "other"),
        ({"model": 'evil{}"x'}, "model", "other"),
        ({"model": "gpt2@2@2"}, "model", "other"),
        ({"model": None}, "model", ""),
        ({"model": "bert"}, "model", "bert"),
        ({"route": "/wp-admin"}, "route", "other"),
        ({"route": None}, "route", "other"),
        ({"method": "BREW"}, "method", "other"),
        ({"status": 42}, "status", "other"),
        ({"status": 599}, "status", "599"),
    ],
    ids=count(),
)
def test_labels_are_bounded(said, label, value):
    made = metrics()
    made.heard(RECORD | said)
    (labels,) = [dict(labels) for name, labels in told(made) if name == "zoo_requests_total"]
    assert labels[label] == value


def test_a_thousand_made_up_names_are_one_series():
    made = metrics()
    before = len(told(made))
    for number in range(1000):
        made.heard(RECORD | {"model": f"m{number}", "route": f"/{number}", "method": f"M{number}"})
        if number == 0:
            first = len(told(made))
    assert len(told(made)) == first > before


def test_a_version_that_came_later_is_known():
    models = []
    made = Metrics(lambda: models, ["/v1/completions"])
    made.heard(RECORD)
    models.extend(MODELS)
    made.heard(RECORD)
    found = [dict(labels)["model"] for name, labels in told(made) if name == "zoo_requests_total"]
    assert sorted(found) == ["gpt2", "other"]


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("zoo_model_queue", {}, 3),
        ("zoo_model_rows", {}, 2),
        ("zoo_model_cache_tokens", {}, 40),
        ("zoo_model_cache_limit_tokens", {}, 90),
        ("zoo_model_steps_total", {}, 7),
        ("zoo_model_new_tokens_total", {}, 11),
        ("zoo_model_prompt_tokens_total", {}, 13),
        ("zoo_model_busy_seconds_total", {}, 1.5),
        ("zoo_model_done_total", {"verb": "embed"}, 6),
        ("zoo_model_refused_total", {"kind": "invalid"}, 2),
        ("zoo_model_batch_size_bucket", {"le": "2.0"}, 4),
        ("zoo_model_batch_size_count", {}, 7),
        ("zoo_model_batch_size_sum", {}, 110),
        ("zoo_model_in_flight", {}, 4),
        ("zoo_model_restarts_total", {}, 1),
        ("zoo_model_ready_seconds", {}, 0.75),
        ("zoo_model_default", {}, 1),
        ("zoo_model_state", {"state": "ready"}, 1),
        ("zoo_model_state", {"state": "leaving"}, 0),
    ],
    ids=str,
)
def test_a_model_is_told_as_it_is(name, labels, value):
    assert of(metrics(), name, model="gpt2", version="2", **labels) == value


def test_a_model_that_loads_tells_its_state_and_nothing_that_it_does_not_know():
    made = metrics()
    mine = {"model": "bert", "version": "1"}
    assert of(made, "zoo_model_state", **mine, state="loading") == 1
    assert of(made, "zoo_model_ready_seconds", **mine) is None
    assert of(made, "zoo_model_queue", **mine) is None
    assert of(made, "zoo_model_default", model="gpt2", version="1") == 0


def test_of_two_versions_of_one_name_the_first_is_told():
    twice = [MODELS[1] | {"versions": [version("1", inflight=7), version("1", inflight=8)]}]
    made = Metrics(lambda: twice, [])
    text, _ = made.text()
    assert text.count(b"zoo_model_in_flight{") == 1
    assert of(made, "zoo_model_in_flight", model="bert", version="1") == 7


def test_buckets_add_up():
    buckets, total = cumulated({"64": 1, "2": 3, "65": 2})
    assert dict(buckets) == {
        "1.0": 0,
        "2.0": 3,
        "4.0": 3,
        "8.0": 3,
        "16.0": 3,
        "32.0": 3,
        "64.0": 4,
        "+Inf": 6,
    }
    assert total == 64 + 6 + 130


def test_two_servers_share_no_counter():
    one, other = metrics(), metrics()
    one.heard(RECORD)
    assert not [key for key in told(other) if key[0] == "zoo_requests_total"]


@pytest.mark.parametrize("version", ["", "; version=1.0.0", ";version=abc", ";version=9.9,;=,"])
def test_the_newer_form_is_given_to_who_asks_for_it(version):
    text, kind = metrics().text(f"text/plain;version=x;q=0.1,application/openmetrics-text{version}")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")


def test_the_page_is_told_of_models_and_load():
    made = metrics()
    found = status(MODELS, made)
    assert found["models"] == MODELS
    named = [MODELS[1] | {"versions": [version("1", about={"labels": ["x"] * 1000, "head": "lm"})]}]
    assert status(named, made)["models"][0]["versions"][0]["about"] == {"head": "lm"}
    assert named[0]["versions"][0]["about"]["labels"]
    assert set(found["load"]) == {"requests", "refused", "failed", "tokens", "p50", "p95"}

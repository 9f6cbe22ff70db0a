"""What Airflow's metrics are told about calls: every name and tag of the documentation, and nothing that hurts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider_b24._airflow import metrics as airflow_metrics
from airflow_provider_b24.hooks.metrics import AirflowMetrics

PORTAL = "example.bitrix24.com"
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ROW = re.compile(r"^\| `(bitrix24\.\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)
TAG = re.compile(r"tag `(\w+)`")


class Broken:
    """A backend that fails whatever it is told."""

    def __getattr__(self, name):
        def fail(*_args, **_kwargs):
            raise RuntimeError("no collector at http://user:s3cr3t@collector")

        return fail


def unavailable():
    raise ValueError("the address http://user:s3cr3t@collector is none")


def tell_everything(observer):
    """Let an observer know of all that can happen, with every cause that there is."""
    observer.on_request("crm.lead.get", PORTAL, 0.25, 1, 200, 0.1)
    for cause in ("rate_limit", "operating_time", "transport", "server", "expired_token", "moved"):
        observer.on_retry(cause)
    for cause in ("rate_limit", "operating_time", "retry"):
        observer.on_wait(1.5, cause)
    observer.on_refresh()
    observer.on_batch(50)


def test_every_documented_metric_is_reported_with_its_tags(told):
    documented = {
        (kind, name, frozenset({"portal", *TAG.findall(meaning)}))
        for name, kind, meaning in ROW.findall(DOCUMENTATION.read_text())
    }

    tell_everything(AirflowMetrics(PORTAL))

    assert {(kind, name, frozenset(tags)) for kind, name, _, tags in told} == documented
    assert {tags["portal"] for *_, tags in told} == {PORTAL}


def test_a_request_is_counted_and_timed_by_method(told):
    AirflowMetrics(PORTAL).on_request("crm.lead.get", PORTAL, 0.25, 1, 200, None)

    tags = {"portal": PORTAL, "method": "crm.lead.get"}
    assert told == [("counter", "bitrix24.calls", 1, tags), ("timer", "bitrix24.request", 0.25, tags)]


def test_a_request_without_an_answer_counts_as_well(told):
    AirflowMetrics(PORTAL).on_request("profile", PORTAL, 30.0, 6, None, None)

    assert [name for _, name, *_ in told] == ["bitrix24.calls", "bitrix24.request"]


def test_a_batch_counts_its_calls(told):
    observer = AirflowMetrics(PORTAL)
    observer.on_batch(50)
    observer.on_batch(7)

    assert [value for _, name, value, _ in told if name == "bitrix24.batches"] == [1, 1]
    assert [value for _, name, value, _ in told if name == "bitrix24.batch_calls"] == [50, 7]


def test_the_metrics_arrive_at_opentelemetry_with_their_tags(report_to):
    logger = pytest.importorskip("airflow.sdk._shared.observability.metrics.otel_logger")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    report_to(lambda: logger.SafeOtelLogger(provider))

    tell_everything(AirflowMetrics(PORTAL))

    points = {
        (metric.name, point.attributes.get("cause"), point.attributes["portal"])
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }
    provider.shutdown()
    assert {name.removeprefix("airflow.") for name, *_ in points} == {
        name for name, *_ in ROW.findall(DOCUMENTATION.read_text())
    }
    assert ("airflow.bitrix24.retries", "moved", PORTAL) in points


@pytest.mark.parametrize("backend", [Broken, unavailable], ids=["fails", "cannot be made"])
def test_a_backend_that_fails_is_no_trouble_to_anybody(report_to, backend, caplog):
    airflow_metrics._warn_once.cache_clear()
    report_to(backend)

    tell_everything(AirflowMetrics(PORTAL))
    tell_everything(AirflowMetrics(PORTAL))

    [record] = [record for record in caplog.records if record.name == airflow_metrics.__name__]
    assert "Metrics cannot be reported" in record.getMessage()
    assert "s3cr3t" not in caplog.text


def test_an_interruption_is_not_taken_for_a_failure():
    with pytest.raises(KeyboardInterrupt), airflow_metrics.harmless():
        raise KeyboardInterrupt

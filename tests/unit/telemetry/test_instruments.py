"""Observable instruments: what an app answers when it is asked, under the names of OpenTelemetry, as long as the app exists."""

from __future__ import annotations

import gc
from collections.abc import Iterable

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, NumberDataPoint, Sum

from streamkit.telemetry import instruments
from streamkit.telemetry.instruments import publish
from streamkit.telemetry.metrics import Sample
from streamkit.telemetry.names import METRICS

LABELS = ("kinesis", "billing", "orders", "shard-1")


class View:
    """An app as its telemetry sees it."""

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples
        self.asked = 0

    @staticmethod
    def read(view: object) -> Iterable[Sample]:
        assert isinstance(view, View)
        view.asked += 1
        return view.samples


class Collector:
    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def collect(self) -> dict[str, tuple[type, str, list[NumberDataPoint]]]:
        data = self._reader.get_metrics_data()
        found = [
            metric for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics for metric in scope.metrics
        ]
        return {
            metric.name: (type(metric.data), metric.unit or "", [p for p in metric.data.data_points if isinstance(p, NumberDataPoint)])
            for metric in found
        }


@pytest.fixture(autouse=True)
def each_collection_looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "SAME_SECONDS", 0.0)


def test_a_sample_is_observed_under_its_other_name_with_attributes_of_the_conventions() -> None:
    view, collector = View(Sample("streamkit_records_total", LABELS, 3), Sample("streamkit_lag_seconds", LABELS, 1.5)), Collector()
    publish(view, View.read, collector.provider)
    found = collector.collect()
    kind, unit, (point,) = found["streamkit.records"]
    assert (kind, unit, point.value) == (Sum, "{record}", 3)
    assert dict(point.attributes or {}) == {
        "messaging.system": "aws_kinesis",
        "messaging.consumer.group.name": "billing",
        "messaging.destination.name": "orders",
        "messaging.destination.partition.id": "shard-1",
    }
    assert found["streamkit.lag"][0] is Gauge
    assert set(found) == {"streamkit.records", "streamkit.lag"}


def test_every_metric_can_be_observed() -> None:
    view, collector = View(*[Sample(metric.name, ("x",) * len(metric.labels), 1) for metric in METRICS]), Collector()
    publish(view, View.read, collector.provider)
    assert set(collector.collect()) == {metric.otel for metric in METRICS}


def test_several_apps_have_one_set_of_instruments(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    views = [View(Sample("streamkit_ready", ("memory", group), 1)) for group in ("a", "b")]
    for view in views:
        publish(view, View.read, collector.provider)
    assert len(collector.collect()["streamkit.ready"][2]) == 2
    assert caplog.text == "", "the SDK warns of an instrument that is made twice"


def test_one_collection_looks_at_an_app_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instruments, "SAME_SECONDS", 60.0)
    view, collector = View(Sample("streamkit_ready", ("memory", "a"), 1)), Collector()
    publish(view, View.read, collector.provider)
    collector.collect()
    assert view.asked == 1


def test_an_app_that_is_gone_is_not_held_and_not_observed() -> None:
    view, collector = View(Sample("streamkit_ready", ("memory", "a"), 1)), Collector()
    publish(view, View.read, collector.provider)
    assert collector.collect()
    del view
    gc.collect()
    assert not collector.collect()

"""What the tests of telemetry share: a harness whose engine is traced and measured, and what an SDK has received of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.metrics import MeterProvider as AnyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import format_span_id, format_trace_id

from streamkit.model import Headers
from streamkit.plugin import NewRecord
from streamkit.telemetry.instrumentation import instrumentation_of
from streamkit.testing import Harness

__all__ = ["TRACE", "Received", "carrying"]

TRACE, PRODUCER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
"""The trace that `carrying` puts a record into, and the span that has made it."""


def carrying(value: bytes, span: str = PRODUCER, name: str = "traceparent", flags: str = "01") -> NewRecord:
    """A record that was created in a span."""
    return NewRecord(value, headers=Headers([("other", b"\xff"), (name, f"00-{TRACE}-{span}-{flags}".encode())]))


class Received:
    """An SDK that keeps what it is given. `harness` makes one whose engine gives it all."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider: AnyMeterProvider = MeterProvider([self._reader], shutdown_on_exit=False)

    def harness(self, target: object, broker: str = "kafka", **settings: object) -> Harness:
        harness = Harness(target, **settings)  # type: ignore[arg-type]
        harness._instrumentation = instrumentation_of(
            broker, "group", "w1", tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )
        return harness

    def spans(self, operation: str = "") -> Sequence[ReadableSpan]:
        """Those that are over, in the order of their ends; of one operation, or all."""
        return [
            span for span in self._exporter.get_finished_spans() if not operation or of(span).get("messaging.operation.name") == operation
        ]

    def points(self, name: str) -> list[HistogramDataPoint]:
        """Of one histogram."""
        data = self._reader.get_metrics_data()
        assert data is not None
        metrics = [metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
        return [
            point for metric in metrics if metric.name == name for point in metric.data.data_points if isinstance(point, HistogramDataPoint)
        ]


def of(span: ReadableSpan) -> Mapping[str, object]:
    """Its attributes."""
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> str:
    """The id of the parent, or empty."""
    return format_span_id(span.parent.span_id) if span.parent is not None else ""


def id_of(span: ReadableSpan) -> str:
    return format_span_id(span.context.span_id) if span.context is not None else ""


def trace_of(span: ReadableSpan) -> str:
    return format_trace_id(span.context.trace_id) if span.context is not None else ""


def links_of(span: ReadableSpan) -> list[str]:
    """The ids of the spans that it is linked to."""
    return [format_span_id(link.context.span_id) for link in span.links]

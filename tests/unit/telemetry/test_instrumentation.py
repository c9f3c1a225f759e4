"""Who is asked for spans and durations, decided once: nobody without a real provider."""

from __future__ import annotations

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from streamkit.model import Checkpoint, Headers, Partition, PlainRecord, Position, Record, StartPosition
from streamkit.processing import Context
from streamkit.telemetry.instrumentation import instrumentation_of
from tests.unit.engine.rig import record

P0 = Partition("orders", "0")


def handle(record: Record, context: Context) -> None:
    """Does nothing."""


class Damaged(PlainRecord):
    """Its headers cannot be read."""

    @property
    def headers(self) -> Headers:
        raise ValueError("damaged")


def test_without_a_provider_there_is_nothing() -> None:
    assert instrumentation_of("kafka", "billing", "w1") is None


def test_providers_that_do_nothing_are_none() -> None:
    assert instrumentation_of("kafka", "billing", "w1", tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()) is None


def test_an_sdk_that_is_switched_off_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider(shutdown_on_exit=False)
    assert instrumentation_of("kafka", "billing", "w1", tracer_provider=tracers, meter_provider=meters) is None


def test_with_metrics_alone_the_loop_calls_the_very_function_of_the_user() -> None:
    found = instrumentation_of("kafka", "billing", "w1", meter_provider=MeterProvider(shutdown_on_exit=False))
    assert found is not None
    assert found.assigned(P0).around(handle, "record") is handle


def test_telemetry_that_fails_is_said_and_goes_no_further(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    tracers = TracerProvider(shutdown_on_exit=False)
    found = instrumentation_of("kafka", "billing", "w1", tracer_provider=tracers, meter_provider=MeterProvider(shutdown_on_exit=False))
    assert found is not None
    saved = Checkpoint(P0, StartPosition.after(Position(4)))
    found.assigned(P0).called("soon", None)  # type: ignore[arg-type]
    found.saved([(saved, None)], "then", "now")  # type: ignore[arg-type]
    found.sent("file:dlq", [record(4)], "then", "now", None)  # type: ignore[arg-type]
    assert found.context_of(Damaged(P0, Position(4), b"")) == ()
    assert [one.getMessage() for one in caplog.records if one.name == "streamkit.telemetry"] == [
        "a call has no duration",
        "checkpoints have no telemetry",
        "dead letters have no telemetry",
        "the dead letter of orders/0/4 has no trace context",
    ]

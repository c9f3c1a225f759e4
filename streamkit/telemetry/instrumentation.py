"""What the engine asks for around its work, for OpenTelemetry: spans and durations, whichever has somebody to receive them.

`instrumentation_of` is called by the app once, when it starts; without a real provider it answers None, and the engine then does
nothing at all. It has the shape of `streamkit.engine.instrumentation`, and does not know it. Nothing here raises: a failure of
telemetry goes to the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from streamkit.model import Checkpoint, Partition, Record
from streamkit.outcome import Outcome
from streamkit.telemetry.durations import CallDurations, Durations
from streamkit.telemetry.names import system_of
from streamkit.telemetry.tracing import ProcessSpans, Spans

__all__ = ["Instrumentation", "instrumentation_of", "real_meter_provider", "real_tracer_provider"]

SCOPE = "streamkit"

_log = logging.getLogger("streamkit.telemetry")


class Instrumentation:
    """Of one app."""

    def __init__(self, spans: Spans | None, durations: Durations | None) -> None:
        self._spans = spans
        self._durations = durations

    def assigned(self, partition: Partition) -> CallInstrumentation:
        """What measures and traces the calls of a new assignment."""
        spans = self._spans.assigned(partition) if self._spans is not None else None
        durations = self._durations.assigned(partition) if self._durations is not None else None
        return CallInstrumentation(spans, durations)

    def saved(self, answers: Sequence[tuple[Checkpoint, Exception | None]], began: float, ended: float) -> None:
        """The store has answered for these checkpoints. Unix seconds."""
        try:
            for checkpoint, error in answers:
                if self._spans is not None:
                    self._spans.saved(checkpoint, error, began, ended)
                if self._durations is not None:
                    self._durations.saved(checkpoint, error, ended - began)
        except Exception:
            _log.exception("checkpoints have no telemetry")

    def context_of(self, record: Record) -> Sequence[tuple[str, bytes]]:
        """Headers for the dead letter of this record, besides its own."""
        try:
            return self._spans.context_of(record) if self._spans is not None else ()
        except Exception:
            _log.exception("the dead letter of %s has no trace context", record.id)
            return ()

    def sent(self, target: str, records: Sequence[Record], began: float, ended: float, error: BaseException | None) -> None:
        """Their dead letters were written to `<plugin>:<stream>`. Unix seconds."""
        try:
            if self._spans is not None:
                self._spans.sent(target, records, began, ended, error)
            if self._durations is not None:
                self._durations.sent(target, error, ended - began)
        except Exception:
            _log.exception("dead letters have no telemetry")


class CallInstrumentation:
    """Of one assignment."""

    def __init__(self, spans: ProcessSpans | None, durations: CallDurations | None) -> None:
        self._spans = spans
        self._durations = durations

    def around(self, process: Callable[..., Any], by: Literal["record", "batch"]) -> Callable[..., Any]:
        """`process`, with a span around each call; the same one without a tracer."""
        return process if self._spans is None else self._spans.around(process, by)

    def called(self, seconds: float, failure: Outcome | BaseException | None) -> None:
        """A call is over: of a batch, or of a run of records."""
        if self._durations is None:
            return
        try:
            self._durations.called(seconds, failure)
        except Exception:
            _log.exception("a call has no duration")


def instrumentation_of(
    broker: str,
    group: str,
    worker: str,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Instrumentation | None:
    """For the providers that the process has now, or for these. None: nobody receives anything."""
    system = system_of(broker)
    spans, durations = None, None
    if (tracers := tracer_provider or real_tracer_provider()) is not None:
        tracer = tracers.get_tracer(SCOPE)
        if not isinstance(tracer, trace.NoOpTracer):  # an SDK that is switched off (OTEL_SDK_DISABLED)
            spans = Spans(tracer, system, group=group, worker=worker)
    if (meters := meter_provider or real_meter_provider()) is not None:
        meter = meters.get_meter(SCOPE)
        if not isinstance(meter, metrics.NoOpMeter):
            durations = Durations(meter, system, group)
    return None if spans is None and durations is None else Instrumentation(spans, durations)


def real_tracer_provider() -> TracerProvider | None:
    """That of an SDK, if there is one: the API's own stand-ins do nothing."""
    found = trace.get_tracer_provider()
    return None if _is_of_the_api(found) else found


def real_meter_provider() -> MeterProvider | None:
    """The same for metrics."""
    found = metrics.get_meter_provider()
    return None if _is_of_the_api(found) else found


def _is_of_the_api(provider: object) -> bool:
    module = type(provider).__module__
    return module == "opentelemetry.trace" or module.startswith("opentelemetry.metrics")

"""How long calls of the user's code, saves and dead letters took, as histograms of OpenTelemetry: one number for each call, none for
a record. Used through `instrumentation.py`, and only if there is a real meter."""

from __future__ import annotations

from opentelemetry.metrics import Histogram, Meter

from streamkit.model import Checkpoint, Partition
from streamkit.outcome import Outcome
from streamkit.telemetry.errors import error_type
from streamkit.telemetry.names import ATTRIBUTES, OPERATION_DURATION, PROCESS_DURATION, Metric, System, system_of

__all__ = ["CallDurations", "Durations"]

BOUNDARIES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""In seconds, as the conventions have them."""


class Durations:
    """Of one app."""

    def __init__(self, meter: Meter, system: System, group: str) -> None:
        self._system = system
        self._group = group
        self._process = _histogram(meter, PROCESS_DURATION)
        self._operation = _histogram(meter, OPERATION_DURATION)

    def assigned(self, partition: Partition) -> CallDurations:
        """Those of the calls of an assignment."""
        return CallDurations(self._process, self._labels("process", partition.stream, partition.id))

    def saved(self, checkpoint: Checkpoint, error: Exception | None, seconds: float) -> None:
        """A store has answered for this checkpoint."""
        labels = self._labels(self._system.settle, checkpoint.partition.stream, checkpoint.partition.id)
        self._operation.record(seconds, _failed(labels, error))

    def sent(self, target: str, error: BaseException | None, seconds: float) -> None:
        """Dead letters were written to `<plugin>:<stream>`."""
        plugin, _, stream = target.partition(":")
        labels = {"broker": system_of(plugin).name, "stream": stream, "operation": "send"}
        self._operation.record(seconds, _failed(_attributes(labels), error))

    def _labels(self, operation: str, stream: str, partition: str) -> dict[str, str]:
        labels = {"broker": self._system.name, "group": self._group, "stream": stream, "partition": partition, "operation": operation}
        return _attributes(labels)


class CallDurations:
    """Of the calls of one assignment."""

    def __init__(self, histogram: Histogram, labels: dict[str, str]) -> None:
        self._histogram = histogram
        self._labels = labels

    def called(self, seconds: float, failure: Outcome | BaseException | None) -> None:
        """A call is over."""
        self._histogram.record(seconds, _failed(self._labels, failure))


def _attributes(labels: dict[str, str]) -> dict[str, str]:
    return {ATTRIBUTES[name]: value for name, value in labels.items()}


def _failed(labels: dict[str, str], failure: object) -> dict[str, str]:
    return labels if failure is None else {**labels, ATTRIBUTES["error"]: error_type(failure)}


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(metric.otel, metric.unit, metric.help, explicit_bucket_boundaries_advisory=BOUNDARIES)

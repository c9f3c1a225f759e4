"""The metrics of `names.py` as observable instruments of OpenTelemetry: read when a reader collects, never counted here.

An instrument cannot be taken back, so each meter provider has one set of them for all apps of the process, and each app is asked as
long as it exists: what it has done before its end is collected once more when the provider is shut down.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, MeterProvider, NoOpMeter, Observation

from streamkit.telemetry.metrics import Sample
from streamkit.telemetry.names import ATTRIBUTES, METRICS, Metric, system_of

__all__ = ["publish"]

SAME_SECONDS = 0.25
"""Instruments that are collected within this time answer from one look at the apps."""

Read = Callable[[object], Iterable[Sample]]


def publish(owner: object, read: Read, provider: MeterProvider) -> None:
    """Let `provider` collect what `read(owner)` answers, from any thread, as long as `owner` lives."""
    with _lock:
        if (instruments := _instruments.get(provider)) is None:
            instruments = _instruments[provider] = _Instruments()
            instruments.create(provider)
    instruments.add(owner, read)


class _Instruments:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: WeakKeyDictionary[object, Read] = WeakKeyDictionary()
        self._seen: dict[str, list[Sample]] = {}
        self._seen_at = -SAME_SECONDS

    def create(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("streamkit")
        if isinstance(meter, NoOpMeter):
            return
        for metric in METRICS:
            make = meter.create_observable_counter if metric.kind == "counter" else meter.create_observable_gauge
            make(metric.otel, [functools.partial(self._observe, metric)], metric.unit, metric.help)

    def add(self, owner: object, read: Read) -> None:
        with self._lock:
            self._owners[owner] = read
            self._seen_at = -SAME_SECONDS

    def _observe(self, metric: Metric, _: CallbackOptions) -> Sequence[Observation]:
        return [Observation(sample.value, _attributes(metric, sample)) for sample in self._samples().get(metric.name, ())]

    def _samples(self) -> dict[str, list[Sample]]:
        """By name."""
        with self._lock:
            now = time.monotonic()
            if now - self._seen_at >= SAME_SECONDS:
                seen: dict[str, list[Sample]] = {}
                for owner, read in list(self._owners.items()):
                    for sample in read(owner):
                        seen.setdefault(sample.name, []).append(sample)
                self._seen, self._seen_at = seen, now
            return self._seen


def _attributes(metric: Metric, sample: Sample) -> dict[str, str]:
    named = zip(metric.labels, sample.labels, strict=True)
    return {ATTRIBUTES[label]: system_of(value).name if label == "broker" else value for label, value in named}


_lock = threading.Lock()
_instruments: WeakKeyDictionary[MeterProvider, _Instruments] = WeakKeyDictionary()

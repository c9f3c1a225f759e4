"""Metrics: what observers count, and the text that Prometheus reads. Their names are in `names.py`.

Nothing is counted per record: how many records are done is what the engine counts anyway, looked up when somebody asks. Labels are
broker, group, stream and partition, never anything out of a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import Observer
from streamkit.telemetry.names import METRICS

__all__ = ["EventCounts", "Sample", "check_installed", "exposition", "samples_of"]

MAX_DEPARTED = 1000
"""Of so many partitions that have left the counts are kept, so that they go on where they stood when one comes back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric."""

    name: str
    labels: tuple[str, ...]
    value: float


@dataclass(slots=True)
class _Counts:
    """Of one partition, since the app began."""

    events: dict[tuple[str, str], int] = field(default_factory=dict)
    """By metric and its last label, which most metrics do not have."""
    saved_at: float | None = None


class EventCounts(Observer):
    """Counts what observers are told. Written on their thread; read by whoever answers `/metrics`."""

    def __init__(self) -> None:
        self.blocked = 0
        self.monotonic: Callable[[], float] = lambda: 0.0
        """The app's clock; set before the start."""
        self._counts: dict[Partition, _Counts] = {}
        self._departed: dict[Partition, None] = {}
        """In the order of their leaving."""

    def _of(self, partition: Partition) -> _Counts:
        if partition not in self._counts:
            self._departed[partition] = None  # until it is assigned
            for one in list(self._departed)[:-MAX_DEPARTED]:
                del self._departed[one], self._counts[one]
        return self._counts.setdefault(partition, _Counts())

    def _count(self, partition: Partition, name: str, label: str = "", number: int = 1) -> None:
        events = self._of(partition).events
        events[name, label] = events.get((name, label), 0) + number

    def _left(self, partition: Partition, what: str) -> None:
        self._count(partition, "streamkit_rebalances_total", what)
        self._counts[partition].saved_at = None
        self._departed[partition] = None

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._count(partition, "streamkit_rebalances_total", "assigned")
        self._counts[partition].saved_at = self.monotonic()
        self._departed.pop(partition, None)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._left(partition, "revoked")

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._left(partition, "lost")

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._left(partition, "ended")

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        self._count(checkpoint.partition, "streamkit_checkpoints_total")
        self._counts[checkpoint.partition].saved_at = self.monotonic()

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self._count(checkpoint.partition, "streamkit_checkpoint_failures_total")

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self._count(partition, "streamkit_failures_total")

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        self._count(partition, "streamkit_stuck_total")

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        self._count(partition, "streamkit_noticed_total", what, records)

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        self.blocked += 1

    def events(self) -> Mapping[Partition, Mapping[tuple[str, str], int]]:
        """A copy: metric and last label to count, for each partition that has had any."""
        return {partition: dict(counts.events) for partition, counts in tuple(self._counts.items())}

    def checkpoint_age(self, partition: Partition) -> float | None:
        """Seconds since the last checkpoint, or since it was assigned; None: it is not ours."""
        counts = self._counts.get(partition)
        if counts is None or counts.saved_at is None:
            return None
        return max(0.0, self.monotonic() - counts.saved_at)


def samples_of(counts: EventCounts, broker: str, group: str) -> Iterator[Sample]:
    """What was counted, as samples. Counters that say nothing when they are missing begin at 0."""
    always = ("streamkit_failures_total", "streamkit_checkpoints_total", "streamkit_checkpoint_failures_total", "streamkit_stuck_total")
    yield Sample("streamkit_blocked_total", (broker, group), counts.blocked)
    for partition, events in counts.events().items():
        labels = (broker, group, partition.stream, partition.id)
        for name in always:
            yield Sample(name, labels, events.get((name, ""), 0))
        for (name, label), count in events.items():
            if name not in always:
                yield Sample(name, (*labels, label) if label else labels, count)


# -- the text ------------------------------------------------------------------------------------------------------------


def check_installed() -> None:
    """Raises ConfigurationError, with what to install, if the page's packages are missing."""
    try:
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"the status page needs {error.name}, which is not installed",
            setting="STREAMKIT_STATUS_ADDRESS",
            fix="pip install 'streamkit[status]', or unset it",
        ) from error


def exposition(samples: Sequence[Sample]) -> tuple[bytes, str]:
    """The text of these samples and its content type. Every metric is named, also those that have no value yet."""
    from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector

    by_name: dict[str, list[Sample]] = {metric.name: [] for metric in METRICS}
    for sample in samples:
        by_name[sample.name].append(sample)

    class All(Collector):
        def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
            for metric in METRICS:
                kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = kind(metric.name, metric.help, labels=metric.labels)
                for sample in by_name[metric.name]:
                    family.add_metric(sample.labels, sample.value)
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(All())
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

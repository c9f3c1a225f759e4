"""A store that does not take checkpoints: since when, for which partitions; told once when it begins and once when it is over."""

from __future__ import annotations

from collections.abc import Callable

from streamkit.model import Partition
from streamkit.plugin import Observer

__all__ = ["Outage"]


class Outage:
    """One for each checkpointer, on the control thread; may be looked at by others (`error`, `since`, `partitions`)."""

    def __init__(self, observer: Observer, monotonic: Callable[[], float]) -> None:
        self.error: Exception | None = None
        """The first one of this outage; None: the store takes checkpoints, as far as we know."""
        self.since = 0.0
        """When it began (monotonic seconds)."""
        self.partitions: frozenset[Partition] = frozenset()
        """Those that wait for the store now."""
        self._met: set[Partition] = set()
        self._observer = observer
        self._monotonic = monotonic

    def look(self, failed: dict[Partition, Exception], saved: set[Partition]) -> None:
        """After each save: what failed and will be tried again, and what is in the store."""
        was_failing = self.error is not None
        self.partitions = (self.partitions | failed.keys()) - saved
        self._met |= failed.keys()
        if not was_failing and failed:
            self.error = next(iter(failed.values()))
            self.since = self._monotonic()
            self._observer.on_store_down(self.error, len(failed))
        elif was_failing and not self.partitions:
            seconds, met = self._monotonic() - self.since, len(self._met)
            self._over()
            self._observer.on_store_up(seconds, met)

    def left(self, partition: Partition) -> None:
        """It does not wait any more, because it is gone. If none is left nobody knows whether the store has recovered."""
        self.partitions -= {partition}
        if not self.partitions:
            self._over()

    def _over(self) -> None:
        self.error = None
        self._met = set()

"""A reader as the engine drives it: all calls from one thread (a thread of its own, if it blocks), never two at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from streamkit.model import Batch, Partition, Record, StartPosition
from streamkit.plugin import Budget, CaughtUp, Ended, Event, Failed, Idle, Reader
from streamkit.testing.conformance.aside import Aside, drive

__all__ = ["BUDGET", "Lane"]

T = TypeVar("T")

BUDGET = Budget(max_records=1000, max_bytes=8 << 20, max_wait_seconds=0.05)
_MOST_IDLE_SECONDS = 0.1


class Lane:
    """Collects what the reader returns. It judges nothing; rules do."""

    def __init__(self, reader: Reader, name: str, patience_seconds: float) -> None:
        self.reader = reader
        self.events: list[Event] = []
        """Everything that polls have returned, in order."""
        self.polls: list[Sequence[Event]] = []
        """The same, poll by poll."""
        self._aside = Aside(name) if reader.blocking else None
        self.patience_seconds = patience_seconds
        self._closed = False

    # -- what the engine calls ------------------------------------------------------------------------------------------

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the reader where it belongs."""
        return await coroutine if self._aside is None else await self._aside.call(drive, coroutine)

    async def add(self, partition: Partition, start: StartPosition = StartPosition.EARLIEST, *, epoch: int = 1) -> None:
        await self.run(self.reader.add(partition, start, epoch=epoch))

    async def remove(self, *partitions: Partition) -> None:
        await self.run(self.reader.remove(partitions))

    async def pause(self, *partitions: Partition) -> None:
        await self.run(self.reader.pause(partitions))

    async def resume(self, *partitions: Partition) -> None:
        await self.run(self.reader.resume(partitions))

    async def poll(self, budget: Budget = BUDGET) -> Sequence[Event]:
        events = await self.run(self.reader.poll(budget))
        self.events += events
        self.polls.append(events)
        for event in events:
            if isinstance(event, Idle):
                await asyncio.sleep(min(event.seconds, _MOST_IDLE_SECONDS))
        return events

    async def close(self) -> None:
        """Closes the reader once; a second call does nothing."""
        if not self._closed:
            self._closed = True
            try:
                await self.run(self.reader.close())
            finally:
                if self._aside is not None:
                    self._aside.end()

    # -- what rules ask -------------------------------------------------------------------------------------------------

    def records(self, partition: Partition) -> list[Record]:
        return [record for batch in self.batches() if batch.partition == partition for record in batch]

    def values(self, partition: Partition) -> list[bytes | None]:
        return [value for batch in self.batches() if batch.partition == partition for value in batch.values()]

    def batches(self) -> list[Batch]:
        return [event for event in self.events if isinstance(event, Batch)]

    def caught_up(self, partition: Partition) -> bool:
        return any(isinstance(event, CaughtUp) and event.partition == partition for event in self.events)

    def ended(self) -> list[Ended]:
        return [event for event in self.events if isinstance(event, Ended)]

    def failed(self) -> list[Failed]:
        return [event for event in self.events if isinstance(event, Failed)]

    async def until(self, condition: Callable[[], object], what: str, budget: Budget = BUDGET) -> None:
        """Poll until that holds. What failed and may be tried again is opened again, as the engine does it. Raises AssertionError."""
        deadline = time.monotonic() + self.patience_seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {self.patience_seconds:g} s; what came: {self.said()}"
            await self.poll(budget)

    async def read(self, partition: Partition, count: int, budget: Budget = BUDGET) -> list[bytes | None]:
        """Poll until so many records of the partition have come in all. All of their values."""
        await self.until(lambda: len(self.values(partition)) >= count, f"{count} records of {partition}", budget)
        return self.values(partition)

    def said(self) -> str:
        """What has come, in a few words."""
        return ", ".join(map(repr, self.events[-8:])) or "nothing"

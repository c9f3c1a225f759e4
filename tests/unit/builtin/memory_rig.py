"""A memory broker on a clock that is moved by hand, and its coroutines run without a loop: none of them waits."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings
from streamkit.model import Batch, Partition, StartPosition
from streamkit.plugin import Budget, CaughtUp, Event, Failed, Reader
from tests.conformance.context import PlainContext

__all__ = ["ALL", "Rig", "at_once", "batches", "caught_up", "failures", "sequences"]

T = TypeVar("T")

ALL = Budget(max_records=1000, max_bytes=1 << 30, max_wait_seconds=0)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    coroutine.close()
    raise AssertionError("it waits for something")


class Rig:
    """A log of its own, a clock, and a broker."""

    def __init__(self, *, auto_create: bool = True, kinesis: bool = False, session: float = 6, revoke: float = 10) -> None:
        MemoryLog.forget("rig")
        self.log = MemoryLog.named("rig")
        self.context = PlainContext(now=1000.0)
        self.settings = MemorySettings(
            name="rig",
            auto_create=auto_create,
            shape="kinesis" if kinesis else "kafka",
            session_timeout=timedelta(seconds=session),
            revoke_timeout=timedelta(seconds=revoke),
        )
        self.broker = MemoryBroker(self.settings, self.context)

    def write(self, count: int, *, stream: str = "s", partition: str = "0", size: int = 1) -> list[int]:
        records = [self.log.append(stream, b"x" * size, partition=partition, now=self.context.now) for _ in range(count)]
        return [record.position.sequence or 0 for record in records]

    def read(self, partition: Partition, start: StartPosition = StartPosition.EARLIEST) -> Reader:
        reader = self.broker.reader()
        at_once(reader.add(partition, start))
        return reader


def batches(events: Sequence[Event]) -> list[Batch]:
    return [event for event in events if isinstance(event, Batch)]


def sequences(events: Sequence[Event]) -> list[int]:
    return [record.position.sequence or 0 for batch in batches(events) for record in batch]


def caught_up(events: Sequence[Event]) -> list[str]:
    return [event.partition.id for event in events if isinstance(event, CaughtUp)]


def failures(events: Sequence[Event]) -> list[type]:
    return [type(event.error) for event in events if isinstance(event, Failed)]

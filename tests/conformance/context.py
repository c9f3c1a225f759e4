"""The least that an adapter needs: names, a clock that is moved by hand, blocking calls that run at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from streamkit.model import Partition
from streamkit.plugin import AdapterContext

__all__ = ["PlainContext"]

T = TypeVar("T")


class PlainContext(AdapterContext):
    def __init__(self, *, broker: str = "memory", group: str = "g", worker: str = "w", now: float = 1_700_000_000.0) -> None:
        self.broker = broker
        self.group = group
        self.worker = worker
        self.now = now
        self.streams: Sequence[str] = ("s",)
        self.told: list[tuple[Partition, str, int]] = []

    def monotonic(self) -> float:
        return self.now

    def unix_time(self) -> float:
        return self.now

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.told.append((partition, what, records))

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)

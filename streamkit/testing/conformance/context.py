"""What adapters are given under test: real clocks, which can be set wrong, and a thread for blocking calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit.testing.conformance.aside import Aside

__all__ = ["KitContext"]

T = TypeVar("T")


class KitContext(AdapterContext):
    """One for each adapter, as in an app."""

    def __init__(
        self, *, broker: str = "kit", group: str = "g", worker: str = "w", streams: Sequence[str] = (), fast_seconds: float = 0.0
    ) -> None:
        """`fast_seconds`: how far this worker's clock is ahead of the right time."""
        self.broker = broker
        self.group = group
        self.worker = worker
        self.streams = streams
        self.fast_seconds = fast_seconds
        self.told: list[tuple[Partition, str, int]] = []
        """What the adapter has noticed."""
        self._calls = Aside(f"{worker}-io")

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time() + self.fast_seconds

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return await self._calls.call(function, *args)

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.told.append((partition, what, records))

    def end(self) -> None:
        """Let the thread of the blocking calls end."""
        self._calls.end()

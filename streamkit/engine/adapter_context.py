"""What the engine hands to adapters: time, names, and a thread for blocking calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from streamkit.engine.runtime import Runtime
from streamkit.model import Partition
from streamkit.plugin import AdapterContext, Observer

__all__ = ["EngineContext"]

T = TypeVar("T")


class EngineContext(AdapterContext):
    """One for each adapter."""

    def __init__(self, runtime: Runtime, adapter: str, *, broker: str, group: str, worker: str, streams: Sequence[str] = ()) -> None:
        self.broker = broker
        self.group = group
        self.worker = worker
        self.streams = streams
        self.observer = Observer()
        """Who is told what the adapter has noticed; set when the observers are made."""
        self._runtime = runtime
        self._calls = runtime.blocking(f"{adapter}-io")

    def monotonic(self) -> float:
        return self._runtime.monotonic()

    def unix_time(self) -> float:
        return self._runtime.unix_time()

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return await self._calls.call(function, *args)

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.observer.on_noticed(partition, what, records)

    def stop(self) -> None:
        """End the thread of the blocking calls."""
        self._calls.stop()

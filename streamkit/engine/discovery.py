"""Which partitions there are, as the broker says: asked at start, when one appears that is not known, and when what is known is old.

Runs on the control thread. Nobody else calls `discover`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamkit.engine.ownership.static import with_unfinished
from streamkit.engine.parts import Parts
from streamkit.engine.runtime import Promise, Runtime
from streamkit.model import Partition, StartPosition

__all__ = ["Discovery"]

FRESH_SECONDS = 5.0
"""How long what was found is taken for true: a rebalance asks once for all its partitions."""


class Discovery:
    """What is known of the streams of one app."""

    def __init__(self, parts: Parts, runtime: Runtime) -> None:
        self._parts = parts
        self._runtime = runtime
        self._known: dict[Partition, Partition] = {}
        self._found_at = float("-inf")
        self._asking: Promise[None] | None = None

    @property
    def known(self) -> Mapping[Partition, Partition]:
        """By itself: what is newest of each."""
        return self._known

    def add(self, partitions: Sequence[Partition]) -> None:
        """Partitions that were found otherwise: the children of one that has ended."""
        self._known.update((partition, partition) for partition in partitions)

    def count(self, stream: str) -> int:
        """How many partitions a stream has now."""
        return sum(1 for partition in self._known if partition.stream == stream)

    async def look_up(self, partition: Partition) -> Partition:
        """What is known of a partition: its incarnation, above all. Asked anew each time, as streams are made anew too."""
        if partition not in self._known or self._runtime.monotonic() - self._found_at > FRESH_SECONDS:
            await self.refresh()
        return self._known.setdefault(partition, partition)

    async def refresh(self) -> None:
        """Ask the broker; all who want to know at the same time ask once."""
        if self._asking is None or self._asking.done():
            self._asking = self._runtime.control.call("discover", self._refresh())
        await self._asking

    async def _refresh(self) -> None:
        settings, store = self._parts.settings, self._parts.store
        if self._parts.ownership == "lease":
            await self.find(StartPosition.EARLIEST)  # what was begun has a lease, wherever a new group would start
            return
        found = await self.find(settings.start)
        if self._parts.broker.capabilities.lineage and store is not None and settings.start != StartPosition.EARLIEST:
            stored = await self._runtime.io.call("list", store.list())
            found = with_unfinished(found, await self._ask(StartPosition.EARLIEST), stored)
            self.add(found)

    async def find(self, start: StartPosition) -> Sequence[Partition]:
        """Those from which `start` can be reached."""
        asked_at = self._runtime.monotonic()
        found = await self._ask(start)
        self._found_at = max(self._found_at, asked_at)
        self.add(found)
        return found

    async def _ask(self, start: StartPosition) -> Sequence[Partition]:
        broker = self._parts.broker
        return await self._runtime.io.call("discover", broker.discover(self._parts.settings.stream, start))

    async def resolve(self, partitions: Sequence[Partition], start: StartPosition) -> Sequence[StartPosition]:
        """What `start` means in each of them, now and tomorrow."""
        broker = self._parts.broker

        async def all_of_them() -> list[StartPosition]:
            return [await broker.resolve(partition, start) for partition in partitions]

        return await self._runtime.io.call("resolve", all_of_them())

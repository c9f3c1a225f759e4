"""Which partitions there are, as the broker says: asked at start, when one appears that is not known, and when what is known is old.

Runs on the control thread. Nobody else calls `discover`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamkit.engine.ownership.static import with_unfinished
from streamkit.engine.parts import Parts
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Partition, StartPosition

__all__ = ["Discovery"]

FRESH_SECONDS = 5.0
"""How long what was found is taken for true: a rebalance asks once for all its partitions."""
PATIENCE_SECONDS = 5.0
OLD_SECONDS = 300.0
"""With leases, while the broker owes an answer for longer than we have patience, what was found is good for so long."""


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
        """What is known of a partition: its incarnation, above all. Asked anew each time, as streams are made anew too.

        A listing that hangs must not keep a lease unread that this worker has taken, as no other can have it then.
        Raises BrokerUnavailableError if there is no answer and what is known is too old.
        """
        if partition not in self._known or self._age > FRESH_SECONDS:
            asking = self._ask_once()
            if self._parts.ownership != "lease" or await self._is_answered(asking):
                await asking
            elif partition not in self._known or self._age > OLD_SECONDS:
                raise BrokerUnavailableError(f"the broker has not listed its partitions within {PATIENCE_SECONDS:g}s")
        return self._known.setdefault(partition, partition)

    @property
    def _age(self) -> float:
        return self._runtime.monotonic() - self._found_at

    async def _is_answered(self, asking: Promise[None]) -> bool:
        """Whether it is within our patience."""
        signal = self._runtime.control.signal()
        asking.on_done(signal.set)
        await signal.wait(PATIENCE_SECONDS)
        return asking.done()

    async def refresh(self) -> None:
        """Ask the broker; all who want to know at the same time ask once."""
        await self._ask_once()

    def _ask_once(self) -> Promise[None]:
        if self._asking is None or self._asking.done():
            self._asking = self._runtime.control.call("discover", self._refresh())
        return self._asking

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

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """What `start` means in it, now and tomorrow."""
        return await self._runtime.io.call("resolve", self._parts.broker.resolve(partition, start))

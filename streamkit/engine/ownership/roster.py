"""Which leases there are: made at the group's first start, when partitions are found, and before a parent's end is saved.

The rules are `lineage.py`; this asks broker and store, and writes. Any worker does it, and does again what another one has
left half done. Runs on the control thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from streamkit.engine.checkpoint.leased_calls import LeasedStoreCalls
from streamkit.engine.ownership.lineage import children_of, to_create, to_remove
from streamkit.engine.ownership.resolving import Resolving
from streamkit.engine.ownership.start import CLOCK_MARGIN
from streamkit.engine.runtime import Runtime
from streamkit.errors import BrokerUnavailableError, PartitionLostError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, StartPosition

__all__ = ["Roster", "Streams"]

STALE_PART = 1 / 2
"""Of a lease's duration: a plan that is older was overtaken by others, perhaps, and is thrown away."""
REST_LEASES = 3
"""Lease durations for which an ended lease stays that nothing needs any more. One that is removed can be made anew, and read anew, by a
request to make it that was held up on its way for all of its life."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What the roster asks of the broker."""

    start: StartPosition
    """Where the group begins."""
    discover: Callable[[StartPosition], Awaitable[Sequence[Partition]]]
    resolve: Callable[[Partition, StartPosition], Awaitable[StartPosition]]


class Roster:
    """The rows of a group."""

    def __init__(self, calls: LeasedStoreCalls, streams: Streams, runtime: Runtime, lease_seconds: float) -> None:
        self._calls = calls
        self._streams = streams
        self._runtime = runtime
        self._patience = lease_seconds * STALE_PART
        self._rest = lease_seconds * REST_LEASES
        self._done_since: dict[Partition, float] = {}
        self._resolving = Resolving(streams.resolve, runtime.control)

    async def tend(self, rows: Sequence[Lease], listed_at: float) -> bool:
        """Add what is missing among `rows`, which were listed at `listed_at`; remove what is done with. Whether nothing was missing.

        Raises BrokerError if the partitions cannot be listed or do not fit together, CheckpointError if the store does not take it.
        """
        start, discover = self._streams.start, self._streams.discover
        everything = await discover(StartPosition.EARLIEST)
        at_start = everything if start == StartPosition.EARLIEST else await discover(start)
        if await self._calls.learn(everything):
            return False  # the rows were perhaps of another cluster
        missing = to_create(start, at_start, everything, rows)
        if missing:
            missing = await self._begun(missing, everything, rows)
            if (age := self._runtime.monotonic() - listed_at) > self._patience:
                raise BrokerUnavailableError(
                    f"listing the partitions, and finding where they begin, took {age:.1f}s: others may have done it meanwhile",
                    fix="it is looked at again, and what was found is kept; a longer STREAMKIT_LEASE_DURATION gives it more time",
                )
            await self._calls.create(missing)
            self._resolving.used()
            return False
        self._resolving.used()
        if rested := self._rested(to_remove(rows), set(everything)):
            await self._calls.remove(rested)
        return True

    def _rested(self, done: Sequence[Lease], listed: Set[Partition]) -> list[Lease]:
        """Those that were seen to be done with long enough ago, or that the broker does not list any more and nobody can make anew."""
        now = self._runtime.monotonic()
        self._done_since = {row.partition: self._done_since.get(row.partition, now) for row in done}
        return [row for row in done if row.partition not in listed or now - self._done_since[row.partition] >= self._rest]

    async def _begun(self, missing: Sequence[Lease], everything: Sequence[Partition], rows: Sequence[Lease]) -> list[Lease]:
        """Those without a checkpoint begin where the group begins. That is resolved here, before anything is read, and for all at once:
        whoever claims one of them later, because the first worker died or was slow, finds the same start."""
        plain = [lease.partition for lease in missing if lease.checkpoint is None]
        times = [row.checkpoint.group_started for row in rows if row.checkpoint is not None and row.checkpoint.group_started is not None]
        started = min(times) if times else self._resolving.began(datetime.fromtimestamp(self._runtime.unix_time(), UTC))
        wish = self._streams.start
        if wish == StartPosition.LATEST and times:  # the rest of a first start that somebody has begun
            wish = StartPosition.at_time(started - CLOCK_MARGIN)
        found = dict(zip(plain, await self._resolving.starts(plain, wish), strict=True))
        return [
            replace(
                lease,
                checkpoint=Checkpoint(
                    lease.partition,
                    found[lease.partition],
                    partitions_at_start=sum(1 for p in everything if p.stream == lease.partition.stream),
                    group_started=started,
                ),
            )
            if lease.checkpoint is None
            else lease
            for lease in missing
        ]

    async def before_end(self, partition: Partition, children: Sequence[Partition]) -> None:
        """The children's leases, then their names in the parent's row; END follows. Raises FencedError, or what is worth another try."""
        held = self._calls.held.get(partition)
        if held is None:
            raise PartitionLostError(f"the lease of {partition} is not ours any more")
        listed_at = self._runtime.monotonic()
        rows = await self._calls.leases()
        parent = next((row for row in rows if row.partition == partition), None)
        if parent is None:
            raise PartitionLostError(f"the lease of {partition} is gone")
        missing = children_of(parent, children, rows)
        if (age := self._runtime.monotonic() - listed_at) > self._patience:
            raise StoreUnavailableError(f"listing the leases took {age:.1f}s: too long to act on them; they are listed again")
        if missing:
            await self._calls.create(missing)
        if children:
            await self._calls.name_children(held, [child.id for child in children])

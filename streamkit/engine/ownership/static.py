"""Ownership by decree: this process takes the partitions that it was told, or all. Runs on the control thread.

Nothing keeps two processes from being told the same partition; the store's fencing is all there is, and the contract says so.
Children of an ended partition start when all their parents have ended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from streamkit.engine.ownership.lineage import to_read
from streamkit.engine.ownership.protocol import Owner
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, Partition
from streamkit.plugin import Event

__all__ = ["StaticOwnership", "with_unfinished"]

AGAIN_SECONDS = 30.0
"""Two processes that were told the same partition would fence each other as fast as they can."""


def with_unfinished(found: Sequence[Partition], everything: Sequence[Partition], stored: Sequence[Checkpoint]) -> Sequence[Partition]:
    """`found`, where the group begins, and what it has begun before: partitions with a checkpoint, all that descend from them, and the
    other parents of what has merged.

    From LATEST or a time a broker shows no partition that has ended, although the group may not have finished it.
    """
    kept = to_read(found, everything, [Lease(checkpoint.partition, checkpoint=checkpoint) for checkpoint in stored])
    return [partition for partition in everything if partition in kept]


class StaticOwnership:
    """Assigns once, and again at every end."""

    reader_knows = False
    again_seconds = AGAIN_SECONDS
    deals_leases = False
    leases = None
    is_complete = True

    def __init__(self, owner: Owner, wanted: Sequence[str]) -> None:
        """`wanted`: partition ids; empty: all."""
        self._owner = owner
        self._wanted = set(wanted)
        self._waiting: dict[Partition, set[str]] = {}
        self._assigned: set[Partition] = set()

    problem: Exception | None = None

    def unattended(self) -> Collection[Partition]:
        """What we were told is assigned at once."""
        return ()

    def waiting(self) -> Mapping[Partition, Collection[str]]:
        return {partition: frozenset(parents) for partition, parents in tuple(self._waiting.items())}

    def begin(self, known: Sequence[Partition]) -> None:
        """Take those that we were told. Raises ConfigurationError if one of them does not exist."""
        ids = {partition.id for partition in known}
        if missing := sorted(self._wanted - ids):
            raise ConfigurationError(
                f"there is no partition {', '.join(missing)}",
                setting="STREAMKIT_PARTITIONS",
                fix=f"there are {', '.join(sorted(ids)[:20])}",
            )
        present = set(known)
        ours = {partition for partition in known if not self._wanted or partition.id in self._wanted}
        size = -1
        while size != len(ours):  # and all that descends from them
            size = len(ours)
            ours.update(one for one in known if any(Partition(one.stream, parent) in ours for parent in one.parents))
        for partition in known:
            if partition in ours:
                self._take(partition, {p for p in partition.parents if Partition(partition.stream, p) in present})

    def heard(self, event: Event) -> None:
        """No reader of ours says who owns what."""

    async def before_end(self, partition: Partition, children: Sequence[Partition]) -> None:
        """Children are found by discovery after a restart."""

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """A partition has ended and that is saved: its children come one parent nearer."""
        for child in children:
            if child not in self._waiting and child not in self._assigned:
                self._waiting[child] = set(child.parents)
        for child, parents in list(self._waiting.items()):
            if child.stream == partition.stream and partition.id in parents:
                parents.discard(partition.id)
                if not parents:
                    del self._waiting[child]
                    self._take(child, set())

    def over(self, partition: Partition) -> None:
        """It stays ours by decree."""

    def drain(self) -> None:
        """Nothing is taken without an end."""

    async def stop(self, seconds: float) -> None:
        """Nobody else is waiting for it."""

    def abandon(self) -> None:
        """There is nobody to be told."""

    def _take(self, partition: Partition, parents: set[str]) -> None:
        if partition in self._assigned:
            return
        if parents:
            self._waiting[partition] = parents
            return
        self._assigned.add(partition)
        self._owner.assign(partition, 0)

"""What the supervisor and an ownership ask of each other: who deals out the partitions is the same to the rest of the engine.

Everything here runs on the control thread.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from typing import Protocol

from streamkit.model import Lease, Partition
from streamkit.plugin import Event

__all__ = ["Owner", "Ownership"]


class Owner(Protocol):
    """What an ownership asks of the supervisor."""

    def assign(self, partition: Partition, epoch: int) -> None: ...

    def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Coroutine[object, object, Sequence[Partition]]:
        """Begin to end these in order; the coroutine waits. Those that are not over after `seconds` are lost, and returned."""

    def lose(self, partitions: Sequence[Partition], reason: str) -> None:
        """They are no longer ours, or we give them up: no further call, nothing more is saved."""

    def extend(self, partition: Partition, until: float) -> None:
        """No call of the user's code is begun at or after `until` (monotonic) unless this is said again."""

    def is_occupied(self, partition: Partition) -> bool:
        """Whether code of an assignment that was lost still runs here: a new one would have to wait for it."""


class Ownership(Protocol):
    """Who reads what: the broker's group, leases in a store, or what this process was told."""

    @property
    def reader_knows(self) -> bool:
        """The reader itself says what is ours, so it need not be told what is not any more."""

    @property
    def again_seconds(self) -> float | None:
        """A partition that was fenced is still ours by the group or by decree: how long to wait before it is begun again. None: never."""

    @property
    def deals_leases(self) -> bool:
        """What is over is given back, and may become another's at once."""

    @property
    def leases(self) -> Sequence[Lease] | None:
        """The leases as they were last listed; None without leases, and before the first listing."""

    @property
    def problem(self) -> Exception | None:
        """Why it cannot do its work now: the store of the leases does not answer. Looked at from any thread."""

    @property
    def is_complete(self) -> bool:
        """What has to be read is known: before that, that nothing is left means nothing."""

    def unattended(self) -> Collection[Partition]:
        """What has to be read now, and nobody is known to read: it is free, or its owner has given no sign of life since we began."""

    def waiting(self) -> Mapping[Partition, Collection[str]]:
        """Partitions that nobody may take yet, and the ids of the parents that have to end first. From any thread."""

    def begin(self, known: Sequence[Partition]) -> None:
        """The app runs: assign what is ours. `known`: what discovery has found."""

    def heard(self, event: Event) -> None:
        """The reader has brought a change of ownership."""

    async def before_end(self, partition: Partition, children: Sequence[Partition]) -> None:
        """What must be in the store before END is. Called until it does not raise."""

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """END is saved."""

    def over(self, partition: Partition) -> None:
        """Its assignment is over here, however it ended: nothing more of it will be saved by this process."""

    def drain(self) -> None:
        """Take nothing any more; what is held is kept until it is over."""

    async def stop(self, seconds: float) -> None:
        """Everything is over: give back what is left, within `seconds`."""

    def abandon(self) -> None:
        """As if the process had died: say nothing to anybody."""

"""Ownership by the broker's own group: it assigns and revokes, we follow. Runs on the control thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streamkit.model import Partition
from streamkit.plugin import Assigned, Lost, Revoked

__all__ = ["GroupOwnership", "Owner"]

SAFETY_SECONDS = 0.2
"""What is kept of a revoke's time for the answer itself."""


class Owner(Protocol):
    """What ownership asks of the supervisor."""

    def assign(self, partition: Partition, epoch: int) -> None: ...
    async def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Sequence[Partition]: ...
    def lose(self, partitions: Sequence[Partition], reason: str) -> None: ...


class GroupOwnership:
    """Follows a membership."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def assigned(self, event: Assigned) -> None:
        for partition in event.partitions:
            self._owner.assign(partition, event.epoch)

    async def revoked(self, event: Revoked) -> None:
        """Give back in order, whatever happens in between: the group waits for `done`."""
        try:
            await self._owner.revoke(event.partitions, "rebalance", max(0.0, event.deadline_seconds - SAFETY_SECONDS))
        finally:
            event.done()

    def lost(self, event: Lost) -> None:
        self._owner.lose(event.partitions, "the group took it away")

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """Groups deal out children themselves."""

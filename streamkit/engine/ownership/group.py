"""Ownership by the broker's own group: it assigns and revokes, we follow. Runs on the control thread."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Protocol

from streamkit.model import Partition
from streamkit.plugin import Assigned, Lost, Revoked

__all__ = ["GroupOwnership", "Owner"]

SAFETY_SECONDS = 0.2
"""What is kept of a revoke's time for the answer itself."""


class Owner(Protocol):
    """What ownership asks of the supervisor."""

    def assign(self, partition: Partition, epoch: int) -> None: ...
    def revoke(self, partitions: Sequence[Partition], reason: str, seconds: float) -> Coroutine[object, object, Sequence[Partition]]: ...
    def lose(self, partitions: Sequence[Partition], reason: str) -> None: ...


class GroupOwnership:
    """Follows a membership."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def assigned(self, event: Assigned) -> None:
        for partition in event.partitions:
            self._owner.assign(partition, event.epoch)

    def revoked(self, event: Revoked) -> Coroutine[object, object, None]:
        """Begin to give back at once, so that an assignment that follows is not taken for this one; the rest takes its time."""
        giving_back = self._owner.revoke(event.partitions, "rebalance", max(0.0, event.deadline_seconds - SAFETY_SECONDS))

        async def rest() -> None:
            try:
                await giving_back
            finally:
                event.done()  # whatever happened in between: the group waits for it

        return rest()

    def lost(self, event: Lost) -> None:
        self._owner.lose(event.partitions, "the group took it away")

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """Groups deal out children themselves."""

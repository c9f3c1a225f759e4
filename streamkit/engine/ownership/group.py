"""Ownership by the broker's own group: it assigns and revokes, we follow. Runs on the control thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

from streamkit.engine.ownership.protocol import Owner
from streamkit.model import Partition
from streamkit.plugin import Assigned, Event, Lost, Revoked

__all__ = ["GroupOwnership"]

SAFETY_SECONDS = 0.2
"""What is kept of a revoke's time for the answer itself."""
AGAIN_SECONDS = 1.0


class GroupOwnership:
    """Follows a membership."""

    reader_knows = True
    again_seconds = AGAIN_SECONDS
    deals_leases = False
    leases = None
    is_complete = True

    def __init__(self, owner: Owner, spawn: Callable[[str, Coroutine[object, object, None]], object]) -> None:
        """`spawn(name, coroutine)` runs one on the control thread."""
        self._owner = owner
        self._spawn = spawn

    problem: Exception | None = None

    def unattended(self) -> Collection[Partition]:
        """The group sees to that."""
        return ()

    def waiting(self) -> Mapping[Partition, Collection[str]]:
        """The group does not say."""
        return {}

    def begin(self, known: Sequence[Partition]) -> None:
        """The group says what is ours, when it has let us in."""

    def heard(self, event: Event) -> None:
        if isinstance(event, Assigned):
            for partition in event.partitions:
                self._owner.assign(partition, event.epoch)
        elif isinstance(event, Lost):
            self._owner.lose(event.partitions, event.reason)
        elif isinstance(event, Revoked):
            self._spawn("revoke", self.revoked(event))

    def revoked(self, event: Revoked) -> Coroutine[object, object, None]:
        """Begin to give back at once, so that an assignment that follows is not taken for this one; the rest takes its time."""
        giving_back = self._owner.revoke(event.partitions, "rebalance", max(0.0, event.deadline_seconds - SAFETY_SECONDS))

        async def rest() -> None:
            try:
                await giving_back
            finally:
                event.done()  # whatever happened in between: the group waits for it

        return rest()

    async def before_end(self, partition: Partition, children: Sequence[Partition]) -> None:
        """The group knows them."""

    def ended(self, partition: Partition, children: Sequence[Partition]) -> None:
        """Groups deal out children themselves."""

    def over(self, partition: Partition) -> None:
        """The answer to the revoke says it."""

    def drain(self) -> None:
        """What the group assigns from now on is not begun."""

    async def stop(self, seconds: float) -> None:
        """The membership leaves when the reader is closed."""

    def abandon(self) -> None:
        """The group finds out by itself."""

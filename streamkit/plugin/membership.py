"""A member of a broker's own group: a reader that is told by the broker what to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from streamkit.plugin.event import Event
from streamkit.plugin.reader import Budget, Reader
from streamkit.plugin.store import CheckpointStore

__all__ = ["Membership"]


class Membership(Reader, ABC):
    """One member. All calls come from one thread, as for every reader."""

    checkpoints: CheckpointStore | None = None
    """The group's own store (Kafka's offsets), or None. Its methods run on the reader's thread and may block it."""

    @abstractmethod
    async def poll(self, budget: Budget) -> Sequence[Event]:
        """What has arrived, and what has changed.

        When: again and again, at least every second, also when there is no room: then everything is paused.
        Where: on the reader's thread.
        Raises: as `Reader.poll`.
        Afterwards: nothing of a revoked or lost partition is returned, in this poll or later.
        """

    @abstractmethod
    async def leave(self) -> None:
        """Leave the group so that others can go on at once.

        When: once, after every partition was removed, or at the drain deadline.
        Where: on the reader's thread.
        Raises: nothing that the engine could act on; what it raises is reported.
        Afterwards: `close` follows.
        """

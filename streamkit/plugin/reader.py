"""What reads records: one `Reader` for all partitions that a worker holds. The engine polls it, and nobody else does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from streamkit.model import Partition, StartPosition
from streamkit.plugin.event import Event

__all__ = ["Budget", "Reader"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one poll may return. One record is always admitted, however large."""

    max_records: int
    max_bytes: int
    max_wait_seconds: float
    """A blocking reader may wait so long for the first record; another one returns at once and says `Idle`."""


class Reader(ABC):
    """Reads many partitions. All calls come from one thread (or one loop), never two at once."""

    blocking: ClassVar[bool] = False
    """True: the engine gives this reader a thread of its own, on which every method runs and may block (an SDK without
    asyncio). False: everything runs on the engine's I/O loop and must not block."""

    @abstractmethod
    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        """Begin to read a partition. `written`: when the record of `start` was written (aware UTC), where that is known. `epoch`:
        of our ownership; it rises with each owner, so a broker that knows owner levels can cut off the one before.

        When: after the assignment's start is known and saved; again after `remove`, or after `Failed`, from our own position.
        Where: on the reader's thread.
        Raises: `BrokerError`; the engine treats it as `Failed`.
        Afterwards: later polls return its records from `start` on, in order, nothing older. A broker that answers a position
            which has expired with its oldest record, and does not say so, is found out by the age in `written`: then the
            reader says `Failed` with PositionExpiredError. A broker that has let somebody else in says so later, by `Lost`.
        """

    @abstractmethod
    async def remove(self, partitions: Sequence[Partition]) -> None:
        """Stop reading these.

        When: on revoke, loss, end and shutdown; also for partitions that were never added.
        Where: on the reader's thread; inside `serve` too.
        Raises: nothing.
        Afterwards: no poll returns anything of them.
        """

    @abstractmethod
    async def pause(self, partitions: Sequence[Partition]) -> None:
        """Return nothing more of these for a while.

        When: their processors are behind (memory is bounded).
        Where: on the reader's thread.
        Raises: nothing.
        Afterwards: polls return nothing of them until `resume`; nothing is lost or repeated.
        """

    @abstractmethod
    async def resume(self, partitions: Sequence[Partition]) -> None:
        """Undo `pause`.

        When: their processors have room again.
        Where: on the reader's thread.
        Raises: nothing.
        Afterwards: polls go on where they were.
        """

    @abstractmethod
    async def poll(self, budget: Budget) -> Sequence[Event]:
        """What has arrived.

        When: again and again while there is room for `budget`.
        Where: on the reader's thread.
        Raises: `BrokerError` if nothing can be read at all; retried with back-off if it is retryable, else the app stops.
        Afterwards: what was returned is the engine's; positions of one partition strictly rise from poll to poll.
        """

    async def close(self) -> None:  # noqa: B027 (most readers have nothing to give back)
        """Give back connections.

        When: once, last.
        Where: on the reader's thread.
        Raises: nothing that the engine could act on; what it raises is reported.
        Afterwards: nothing of this reader is left.
        """

"""What a broker adapter must do. A broker may deal out partitions itself (`GroupBroker`), or only be read, or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel

from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin.adapter import Adapter
from streamkit.plugin.event import Revoked
from streamkit.plugin.membership import Membership
from streamkit.plugin.reader import Reader

__all__ = ["Broker", "GroupBroker"]

S = TypeVar("S", bound=BaseModel)


class Broker(Adapter[S], ABC):
    """Knows streams and their partitions, and reads them. Methods run on the engine's I/O loop."""

    capabilities: Capabilities

    @abstractmethod
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        """The partitions of these streams, with lineage and incarnation.

        When: at start, and again when a partition appears that is not known.
        Where: on the engine's I/O loop. A name with a leading `^` is a regular expression.
        Raises: `StreamGoneError` if a named stream does not exist; `BrokerUnavailableError`, `AccessDeniedError`.
            A cut or empty answer is an error, never «no partitions».
        Afterwards: nothing has changed. With lineage, those are returned from which `start` can be reached.
        """

    @abstractmethod
    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        """The position of the newest record of each, in the same order. None: it holds no record. `Position(None)`: there may be
        records, but the broker does not tell the newest one; then only the reader's `CaughtUp` says that the tip is reached.

        When: once at start for `STREAMKIT_STOP=at_end`, and for lag on demand.
        Where: on the engine's I/O loop.
        Raises: `BrokerError`.
        Afterwards: nothing has changed. A position at the tip need not be a record that is ever delivered (a marker).
        """

    @abstractmethod
    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        """Turn `start` into one that means the same tomorrow.

        When: once per group and partition, when no checkpoint exists; the answer is saved before the first record.
        Where: on the engine's I/O loop.
        Raises: `BrokerError`; `PositionInvalidError` for a position beyond the tip.
        Afterwards: LATEST has become a position (`at` the next record to be written). EARLIEST may stay as it is.
        """

    @abstractmethod
    def reader(self) -> Reader:
        """A new reader for partitions that the engine names itself (static ownership, leases).

        When: once per app.
        Where: on the control thread; must not do I/O.
        Raises: `UnsupportedError` if this broker only works in groups.
        Afterwards: `add` is called on the reader's thread.
        """


class GroupBroker(Broker[S], ABC):
    """A broker that owns membership: it says who reads what."""

    @abstractmethod
    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> Membership:
        """A new member of the group; joining itself happens in its first poll.

        When: once per app in group mode.
        Where: on the control thread; must not do I/O.
        Raises: `ConfigurationError`.
        Afterwards: `poll` is called on the reader's thread. A client library that wants a revoke to be finished inside its
            own callback calls `serve(revoked)` there: it returns when `revoked.done()` was called or the deadline passed,
            and in the meantime calls `remove`, `pause` and the methods of `checkpoints` from that same thread.
        """

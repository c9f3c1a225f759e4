"""The namespace as its connections see it: hubs, who reads what, who may, and what goes wrong on purpose.

Everything here happens on the thread of the server's loop; `server.py` is the way in from others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.eventhubs.cbs import Access
from streamkit_sandbox.eventhubs.faults import Faults
from streamkit_sandbox.eventhubs.log import Hub, PartitionLog, machine_clock_ms
from streamkit_sandbox.eventhubs.readers import Readers
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.connection import Connection
    from streamkit_sandbox.eventhubs.feed import EventFeed

__all__ = ["MAX_MESSAGE_BYTES", "Cancellable", "Service", "Timers"]

MAX_MESSAGE_BYTES = 1_048_576
"""The largest event or batch, as the Standard tier has it."""


_ADMISSIONS = 10_000


class Cancellable(Protocol):
    """What `call_later` gives."""

    def cancel(self) -> None:
        """The call will not happen."""


class Timers(Protocol):
    """The part of an event loop that is used here; tests turn one by hand."""

    def time(self) -> float:
        """Seconds of a clock that only goes forward."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Cancellable:
        """Calls later, on this thread."""


@dataclass(frozen=True, slots=True)
class ReaderInfo:
    """A receiver of events, for tests to look at. `next_sequence` is what it gets next, `credit` how many events it asks for."""

    hub: str
    group: str
    partition: str
    name: str
    epoch: int | None
    next_sequence: int
    credit: int


class Service:
    """State that all connections share."""

    def __init__(
        self,
        timers: Timers,
        *,
        access: Access | None = None,
        clock_ms: Callable[[], int] = machine_clock_ms,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        idle_seconds: float = 240.0,
        faults: Faults | None = None,
    ) -> None:
        self.timers = timers
        self.access = access
        self.clock_ms = clock_ms
        self.max_message_bytes = max_message_bytes
        self.idle_seconds = idle_seconds
        self.faults = faults or Faults(timers.time)
        self.connections: set[Connection] = set()
        self.admissions: deque[ReaderInfo] = deque(maxlen=_ADMISSIONS)
        """Every reader that was let in, in this order, as it was then."""
        self._hubs: dict[str, Hub] = {}
        self._readers: dict[tuple[str, str, str], Readers[EventFeed]] = {}
        self._reads: dict[EventFeed, tuple[str, str, str]] = {}

    def add(self, hub: Hub) -> None:
        """Takes a hub in. Raises SandboxError for a name that is taken."""
        if hub.name.lower() in self._hubs:
            raise SandboxError(f"there is a hub {hub.name!r} already; use another name")
        self._hubs[hub.name.lower()] = hub

    def remove(self, name: str) -> None:
        """Deletes a hub: its links are detached. Raises SandboxError for one that is not there."""
        if self._hubs.pop(name.lower(), None) is None:
            raise SandboxError(f"there is no hub {name!r}")
        self.detach(name, None, "amqp:not-found", f"The messaging entity '{name}' could not be found.")

    @property
    def hubs(self) -> Sequence[Hub]:
        """All of them."""
        return tuple(self._hubs.values())

    def hub(self, name: str) -> Hub:
        """The hub; case does not count. Raises Refused."""
        found = self._hubs.get(name.lower())
        if found is None:
            raise Refused("amqp:not-found", f"The messaging entity '{name}' could not be found.")
        return found

    def partition(self, hub: Hub, id: str) -> PartitionLog:
        """The partition. Raises Refused."""
        found = hub.partition(id)
        if found is None:
            raise Refused(
                "com.microsoft:argument-out-of-range",
                f"The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and "
                f"{len(hub.partitions) - 1}. Parameter name: PartitionId. Actual value was {id}.",
            )
        return found

    def check_group(self, hub: Hub, group: str) -> None:
        """Raises Refused for a consumer group that the hub does not have."""
        if not hub.has_group(group):
            raise Refused("amqp:not-found", f"The messaging entity '{hub.name}/ConsumerGroups/{group}' could not be found.")

    def admit(self, feed: EventFeed, hub: Hub, group: str) -> Sequence[EventFeed]:
        """Lets a reader in, and says whom it drives out. Raises Refused."""
        key = hub.name.lower(), group.casefold(), feed.log.id
        driven_out = self._readers.setdefault(key, Readers()).admit(feed, feed.epoch)
        self._reads[feed] = key
        self.admissions.append(_info(feed, key))
        return driven_out

    def readers(self) -> list[ReaderInfo]:
        """Who reads now."""
        return [_info(feed, key) for feed, key in self._reads.items()]

    def detach(self, hub: str, partition: str | None, condition: str, description: str) -> int:
        """Detaches the links of a hub, or the receivers of one partition, and says how many."""
        found = [
            (session, link)
            for connection in self.connections
            for session in connection.sessions.values()
            for link in session.links.values()
            if link.hub.lower() == hub.lower() and (partition is None or (link in self._reads and self._reads[link][2] == partition))
        ]
        for session, link in found:
            session.detach(link, condition, description)
        return len(found)

    def hold(self) -> None:
        """Every connection stands still."""
        self.faults.is_holding = True
        for connection in self.connections:
            connection.hold()

    def release(self) -> None:
        """Every connection goes on."""
        self.faults.is_holding = False
        for connection in tuple(self.connections):
            connection.release()

    def reader_left(self, feed: EventFeed) -> None:
        """The reader's link is gone."""
        key = self._reads.pop(feed, None)
        if key is not None:
            readers = self._readers[key]
            readers.leave(feed)
            if not len(readers):
                del self._readers[key]


def _info(feed: EventFeed, key: tuple[str, str, str]) -> ReaderInfo:
    return ReaderInfo(feed.hub, key[1], key[2], feed.name, feed.epoch, feed.next_sequence, feed.credit)

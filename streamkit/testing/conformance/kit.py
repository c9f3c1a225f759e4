"""What the author of an adapter writes: how to make it, and how to make the world around it. A fixture yields such an object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from streamkit.plugin import AdapterContext, Broker, CheckpointStore, NewRecord, Producer

__all__ = ["BrokerKit", "StoreKit"]


class BrokerKit(ABC):
    """For `broker_rules`. Its methods are called on a thread of their own and may block; adapters are made there, and opened elsewhere.

    `broker` and `create` must be there, and `write` or `producer`. Each of the others lets more rules speak.
    """

    name: str = "kit"
    """The plugin's name: what `AdapterContext.broker` says."""
    patience_seconds: float = 15.0
    """How long a rule waits for something that must happen."""
    rule_seconds: float = 60.0
    """How long one rule may take."""
    latest_seconds: float = 0.0
    """How much older than a moment a record must be for LATEST of that moment to pass it over; more than 0 where a broker keeps LATEST
    as a time."""
    leave_seconds: float = 5.0
    """How soon others have what a member of a group has left to them; less than the session that the kit sets."""
    spacing_seconds: float = 0.05
    """How far apart records must be written for `at_time` to tell them apart."""
    one_partition: bool = False
    """Whether a stream has one partition, always; then `create` is never asked for more."""
    keeps_keys: bool = True
    """Whether a record has a key of its own."""
    keeps_headers: bool = True
    """Whether a record has headers."""
    keeps_none: bool = True
    """Whether a value of None, and so of a header, differs from an empty one."""
    keeps_bytes: bool = True
    """Whether a value may be any bytes; False: text without line ends."""
    oversize_bytes: int | None = None
    """The size of a value that the broker refuses; None: it takes any."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Rules that cannot be looked at here, by id, with the reason; they are skipped, and the reason is shown."""

    @abstractmethod
    def broker(self, context: AdapterContext) -> Broker[Any]:
        """A new adapter, not opened."""

    @abstractmethod
    def create(self, partitions: int) -> str:
        """Make a stream that was not there before, with so many partitions and no record. Its name."""

    def producer(self, context: AdapterContext) -> Producer[Any]:
        """A new producer for the same streams, not opened. Without it the rules about producers say nothing."""
        raise NotImplementedError

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        """Write records, each to the partition that it names by its id. Without this, `producer` writes them; but then nobody notices
        if both make the same mistake."""
        raise NotImplementedError

    def unreachable(self, context: AdapterContext) -> Broker[Any]:
        """An adapter whose settings lead to an address where nobody answers, with short time limits."""
        raise NotImplementedError

    def end(self, stream: str, partition: str) -> None:
        """Let a partition end: split it, or merge it. Needed where `lineage` is declared."""
        raise NotImplementedError

    def delete(self, stream: str) -> None:
        """Delete a stream."""
        raise NotImplementedError


class StoreKit(ABC):
    """For `store_rules`. Two stores made by one kit keep the same rows; the fixture gives every test a place with none.

    Where `capabilities.scope` is more than `process`, the kit is used in other processes as well: its attributes are pickled, and its
    class is imported there by the name of its module, or from its file.
    """

    patience_seconds: float = 15.0
    """How long a rule waits for something that must happen, other processes above all."""
    rule_seconds: float = 90.0
    """How long one rule may take."""
    excused: ClassVar[Mapping[str, str]] = {}
    """Rules that cannot be looked at here, by id, with the reason; they are skipped, and the reason is shown."""

    @abstractmethod
    def store(self, context: AdapterContext) -> CheckpointStore:
        """A new store, not opened; an `Adapter` too, as every store of a plugin."""

    def unreachable(self, context: AdapterContext) -> CheckpointStore:
        """A store whose settings lead to where nothing answers, or nothing can be written, with short time limits."""
        raise NotImplementedError

"""What every adapter is given: its settings, and the few things of the engine that it may use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic import BaseModel

from streamkit.model import Partition

__all__ = ["Adapter", "AdapterContext"]

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


class AdapterContext(ABC):
    """Handed to every factory. One for each adapter of an app."""

    broker: str
    """Name of the broker's plugin, for example `kafka`: part of a checkpoint's identity."""
    group: str
    """`STREAMKIT_GROUP`: whose checkpoints these are."""
    worker: str
    """`STREAMKIT_WORKER`: this process's name, unique in the group."""
    streams: Sequence[str]
    """`STREAMKIT_STREAM`: names as they were given; a leading `^` is a regular expression."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds that only rise; virtual in simulations. An adapter that needs time asks here."""

    @abstractmethod
    def unix_time(self) -> float:
        """Seconds since 1970 UTC; virtual in simulations."""

    @abstractmethod
    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        """Run a blocking call on the one thread that the engine keeps for this adapter, in the order of the calls."""

    @abstractmethod
    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        """Say that something happened to so many records that an operator should know of, though nothing has failed: what could
        not be taken apart is delivered whole, what belongs to another partition is passed over. From any thread.

        `what` is one of a few fixed texts: it is the label of a metric, and of a line of the log at the 1st, 10th,
        100th, … record of a stream.
        """


class Adapter(Generic[S]):
    """The base of brokers, producers and stores: made by the factory that a `Plugin` names, opened once, closed once.

    The constructor must not do I/O. Methods run on the engine's I/O loop unless their class says otherwise, and must not
    block it: a blocking SDK call goes through `self.blocking`. An adapter never retries or logs by itself beyond what its
    SDK does; it translates errors into those of `streamkit.errors`.
    """

    def __init__(self, settings: S, context: AdapterContext) -> None:
        self.settings = settings
        self.context = context

    async def open(self) -> None:
        """Connect.

        When: before any other method; again after it has raised, so what a failed one has made must not be in the way.
        Where: on the engine's I/O loop.
        Raises: `BrokerUnavailableError` or `StoreUnavailableError`, `AccessDeniedError`, `ConfigurationError`.
        Afterwards: the other methods may be called.
        """

    def terms(self) -> Sequence[tuple[str, str]]:
        """What the settings of this adapter mean for the promise, as lines of the printed contract: a word, and what holds.

        When: before `open`, at the start and by `streamkit explain`.
        Where: on any thread; must not do I/O.
        Raises: nothing.
        Afterwards: nothing has changed. Whatever lets a record go by unprocessed has its line, with where it is counted.
        """
        return ()

    async def close(self) -> None:
        """Give back every connection, thread and file.

        When: once, after the last call, also after a failed `open`.
        Where: on the engine's I/O loop.
        Raises: nothing that the engine could act on; what it raises is reported.
        Afterwards: no thread and no connection of this adapter is left.
        """

    async def blocking(self, function: Callable[..., T], *args: object) -> T:
        """Run a blocking call of the SDK away from the loop; the calls of one adapter run one after the other on one thread."""
        return await self.context.call_blocking(function, *args)

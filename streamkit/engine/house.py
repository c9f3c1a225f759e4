"""What all assignments of one app share: settings, adapters, and the engine's parts that live as long as the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from streamkit.engine.checkpoint.checkpointer import Checkpointer, StoreCalls
from streamkit.engine.delivery.call import Code
from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.delivery.messages import Limits
from streamkit.engine.delivery.retry import RetryPolicy
from streamkit.engine.delivery.turn import Turn
from streamkit.engine.gathering import Gathering
from streamkit.engine.instrumentation import Instrumentation
from streamkit.engine.reading import Reading
from streamkit.engine.requests import Requests
from streamkit.engine.runtime import Runtime
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import Broker, Grant, Observer
from streamkit.settings import Settings

__all__ = ["House", "limits_of", "poll_records"]

POLL_RECORDS = 3000


@dataclass(slots=True)
class House:
    """What all assignments of one app share."""

    runtime: Runtime
    settings: Settings
    code: Code
    limits: Limits
    broker: Broker  # type: ignore[type-arg]  # the engine does not look into an adapter's settings
    store: StoreCalls
    store_capabilities: Capabilities
    checkpointer: Checkpointer
    requests: Requests
    reading: Reading
    observer: Observer
    worker_name: str
    claimant: str
    """Who claims: this process, and none that had its name before. So a store can tell a repeated claim from another owner's."""
    state: object
    dead_letters: DeadLetters | None
    """Where records go that failed for good; None: ON_FAILURE puts none aside."""
    look_up: Callable[[Partition], Awaitable[Partition]]
    """What discovery knows of a partition."""
    partitions_of: Callable[[str], int]
    """How many partitions a stream has now."""
    instrumentation: Instrumentation | None = None
    """What measures and traces; None: nothing does."""
    turn: Turn = field(init=False)
    listing: Gathering[None, Sequence[Checkpoint]] = field(init=False)
    """All checkpoints, as `store.list` has them now."""
    first_saves: Gathering[tuple[Checkpoint, Grant], Grant | Exception] = field(init=False)
    """What is saved before the first record of a partition is read: `store.save`, for all that begin together."""

    def __post_init__(self) -> None:
        self.turn = Turn(self.runtime)
        self.listing = Gathering(self.runtime, "list", self._list)
        self.first_saves = Gathering(self.runtime, "first-saves", self.store.save)

    async def _list(self, asked: Sequence[None]) -> Sequence[Sequence[Checkpoint]]:
        return [await self.store.list()] * len(asked)


def limits_of(settings: Settings, code: Code) -> Limits:
    """The settings that a worker follows."""
    by_record = code.facts.by == "record"
    return Limits(
        # Progress is looked at between calls when it is counted: a handler of records gets no more at once than one save is for.
        max_batch=min(settings.max_batch, settings.checkpoint_records or settings.max_batch) if by_record else settings.max_batch,
        max_wait_seconds=settings.max_wait.total_seconds(),
        retry=RetryPolicy(settings.retry_attempts, settings.retry_backoff.total_seconds(), settings.retry_max_backoff.total_seconds()),
        on_failure=settings.on_failure,
        max_consecutive=settings.dead_letter_max_consecutive,
        bisect=settings.bisect,
        process_timeout_seconds=settings.process_timeout.total_seconds() if settings.process_timeout is not None else None,
        by_key=settings.ordering == "key",
        concurrency=settings.concurrency,
    )


def poll_records(settings: Settings) -> int:
    """How much one poll may bring: more than a call gets, because each poll costs a hand-over between threads; but only where
    that is little beside MAX_IN_FLIGHT, which a poll may overshoot by what it brings."""
    return max(settings.max_batch, min(POLL_RECORDS, settings.max_in_flight // 10))

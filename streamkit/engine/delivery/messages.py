"""What a worker is told, and what it tells: limits, progress, the end, and events for its assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from streamkit.engine.delivery.retry import RetryPolicy
from streamkit.engine.runtime import Promise
from streamkit.model import Partition, Position, Record

__all__ = ["Delivery", "Ending", "FailedRecord", "Limits", "Progress", "RunningCall", "WorkerEvents"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that a worker follows."""

    max_batch: int
    max_wait_seconds: float
    retry: RetryPolicy
    on_failure: Literal["halt", "stop", "dead_letter", "park", "skip"]
    max_consecutive: int
    """So many records put aside in a row halt the partition."""
    bisect: bool
    process_timeout_seconds: float | None
    by_key: bool = False
    """Records keep the order of their key only; else that of their partition."""
    concurrency: int = 1
    """So many calls run at once for a partition, with order by key."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What may be checkpointed: every record up to `position` is done. `count` of them since the assignment began."""

    position: Position | None
    count: int
    written: datetime | None = None
    """When the record at `position` was written, where that is known."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why and by when an assignment ends. `abandoned`: as if the process had died; no hook is called any more."""

    kind: Literal["revoked", "lost", "abandoned"]
    reason: str
    deadline: float = 0.0


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that has failed for good, and is about to be put where it can be found again."""

    record: Record
    error: BaseException
    attempts: int
    alone: bool = False
    """With ON_FAILURE=park: its key is not parked with it, because the code has said before that it was done with the record."""
    parked: str = ""
    """With ON_FAILURE=park: `first` or `behind`, and the name of its letter."""


class WorkerEvents(Protocol):
    """What a worker tells its assignment; called on the worker's carrier, so implementations only post."""

    def attempt_failed(self, error: BaseException, attempt: int) -> None: ...
    def halt(self, error: Exception) -> None: ...
    def recovered(self) -> None: ...
    def stop_asked(self, error: Exception) -> None: ...
    def caught_up(self) -> None: ...
    def hook_failed(self, hook: str, error: BaseException) -> None: ...
    def put_aside(self, failed: Sequence[FailedRecord]) -> Promise[int]:
        """Write them to the dead-letter target; resolved when it has acknowledged all, failed with DeadLetterError."""

    def put_behind(self, records: Sequence[FailedRecord]) -> Promise[int]:
        """The same for records of parked keys, which were not called; resolved with how many were written. Fewer than all: the
        key of the next one is not parked any more."""

    def skipped(self, failed: Sequence[FailedRecord]) -> None:
        """They are passed over, as ON_FAILURE=skip wants: counted and logged."""

    def note_suspect(self, position: Position | None, times: int) -> Promise[None]:
        """Write beside the checkpoint which record is about to be delivered, and how often it was alone; resolved when it is durable.
        None: nothing is suspected any more."""

    def checkpoint_due(self) -> None: ...
    def settle(self, final: Literal["revoke", "end"]) -> Promise[bool]: ...
    def ended(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call of the user's code that runs now."""

    started: float
    """Monotonic."""
    done: int
    """How many of its records are done; only counted for handlers of records."""
    stack: Callable[[], str]


class Delivery(Protocol):
    """A way of bringing records to the user's code; a part of the worker's coroutine. What is done it tells the intake."""

    @property
    def resting_records(self) -> int:
        """Queued records that wait for a retry, and keep no other record of their partition from being called."""

    @property
    def goes_on(self) -> bool:
        """Whether records are called though some have halted."""

    @property
    def is_careful(self) -> bool:
        """Whether each call is noted in the store before it is made."""

    def snapshot(self) -> Progress:
        """What may be checkpointed now, running calls included. Called by the control thread."""

    def calls(self) -> Sequence[RunningCall]:
        """The calls that run now. From any thread."""

    async def run(self) -> tuple[Partition, ...] | None:
        """Call the user's code until the assignment ends, and no call runs. The children if the partition has ended, else None."""

"""What a worker is told, and what it tells: limits, progress, the end, and events for its assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from streamkit.engine.delivery.retry import RetryPolicy
from streamkit.engine.runtime import Promise
from streamkit.model import Position, Record

__all__ = ["Ending", "FailedRecord", "Limits", "Progress", "WorkerEvents"]


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


@dataclass(frozen=True, slots=True)
class Progress:
    """What may be checkpointed: every record up to `position` is done. `count` of them since the assignment began."""

    position: Position | None
    count: int


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


class WorkerEvents(Protocol):
    """What a worker tells its assignment; called on the worker's carrier, so implementations only post."""

    def attempt_failed(self, error: BaseException, attempt: int) -> None: ...
    def halt(self, error: Exception) -> None: ...
    def recovered(self) -> None: ...
    def stop_asked(self, error: Exception) -> None: ...
    def caught_up(self) -> None: ...
    def hook_failed(self, hook: str, error: BaseException) -> None: ...
    def put_aside(self, failed: Sequence[FailedRecord]) -> Promise[None]:
        """Write them to the dead-letter target; resolved when it has acknowledged all, failed with DeadLetterError."""

    def skipped(self, failed: Sequence[FailedRecord]) -> None:
        """They are passed over, as ON_FAILURE=skip wants: counted and logged."""

    def checkpoint_due(self) -> None: ...
    def settle(self, final: Literal["revoke", "end"]) -> Promise[bool]: ...
    def ended(self) -> None: ...

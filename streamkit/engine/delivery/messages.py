"""What a worker is told, and what it tells: limits, progress, the end, and events for its assignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from streamkit.engine.delivery.retry import RetryPolicy
from streamkit.engine.runtime import Promise
from streamkit.model import Position

__all__ = ["Ending", "Limits", "Progress", "WorkerEvents"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that a worker follows."""

    max_batch: int
    max_wait_seconds: float
    retry: RetryPolicy
    on_failure: Literal["halt", "stop"]


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


class WorkerEvents(Protocol):
    """What a worker tells its assignment; called on the worker's carrier, so implementations only post."""

    def attempt_failed(self, error: BaseException, attempt: int) -> None: ...
    def halt(self, error: Exception) -> None: ...
    def recovered(self) -> None: ...
    def stop_asked(self, error: Exception) -> None: ...
    def caught_up(self) -> None: ...
    def hook_failed(self, hook: str, error: BaseException) -> None: ...
    def checkpoint_due(self) -> None: ...
    def settle(self, final: Literal["revoke", "end"]) -> Promise[bool]: ...
    def ended(self) -> None: ...

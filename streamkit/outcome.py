"""What a processor may say about a record or a batch instead of «done», which is None. Raising is a failure, as `Retry` is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Outcome", "Reject", "Retry", "Stop"]


@dataclass(frozen=True, slots=True)
class Retry:
    """Not done; try again. Shares one budget of attempts with raising (`RETRY_ATTEMPTS`)."""

    after: float | None = None
    """Seconds to wait; None: the back-off of the retry policy."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Not done and not worth another attempt: the failure policy (`ON_FAILURE`) takes it at once."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Not done; drain the whole process, exit code 1. The record will be delivered again."""

    reason: str = ""


Outcome = Retry | Reject | Stop

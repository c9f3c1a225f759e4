"""How often, and how long apart, a failing batch or record is tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HALT_BACKOFF_SECONDS", "HALT_MAX_BACKOFF_SECONDS", "UNBOUNDED_SECONDS", "RetryPolicy", "halt_delay"]

UNBOUNDED_SECONDS = 0.1
"""The least wait where no number of attempts ends it, whatever RETRY_BACKOFF is."""

HALT_BACKOFF_SECONDS = 30.0
"""How long a halted partition waits before it tries again; doubles up to the next."""
HALT_MAX_BACKOFF_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` calls in all, the first included. Waits grow as powers of two up to `max_backoff_seconds`, with full jitter."""

    attempts: int
    backoff_seconds: float
    max_backoff_seconds: float

    def exhausted(self, attempt: int) -> bool:
        """Whether no call may follow attempt number `attempt` (from 1)."""
        return attempt >= self.attempts

    def delay(self, attempt: int, random: float) -> float:
        """Seconds between attempt number `attempt` and the next; `random` in [0, 1)."""
        exponent = min(attempt - 1, 62)  # beyond, a float would overflow before the cap is reached
        return random * min(self.max_backoff_seconds, self.backoff_seconds * float(2**exponent))


def halt_delay(times: int) -> float:
    """Seconds until a partition that has halted `times` times in a row tries again."""
    return float(min(HALT_MAX_BACKOFF_SECONDS, HALT_BACKOFF_SECONDS * 2 ** min(times - 1, 10)))

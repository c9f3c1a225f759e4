"""The service's clock, as its answers tell it: signs of life are stamped by it, and ours may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["Clock"]


class Clock:
    """As of the newest answer, moved on by our own monotonic one."""

    def __init__(self, monotonic: Callable[[], float], unix_time: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._unix_time = unix_time
        self._ahead: float | None = None

    def saw(self, date: str | None) -> None:
        """What the header `Date` of an answer said."""
        if date:
            try:
                self._ahead = parsedate_to_datetime(date).timestamp() - self.monotonic()
            except ValueError:  # of no use, and no reason to fail
                return

    def now(self) -> float:
        """Unix seconds."""
        return self._unix_time() if self._ahead is None else self._ahead + self.monotonic()

    @staticmethod
    def text(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

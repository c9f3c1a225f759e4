"""Whether the service as a whole does not answer. Pure. One shard that fails is that shard's matter, all of them are the reader's."""

from __future__ import annotations

from streamkit.errors import BrokerError

__all__ = ["Outage"]

PATIENCE_SECONDS = 5.0
FAILURES = 5


class Outage:
    """Of one reader."""

    def __init__(self) -> None:
        self._since = 0.0
        self._failures = 0
        self._error: BrokerError | None = None

    def failed(self, now: float, error: BrokerError) -> None:
        """A read has failed, of whichever shard."""
        if not self._failures:
            self._since = now
        self._failures += 1
        self._error = error

    def answered(self) -> None:
        """There was an answer, if only a refusal."""
        self._failures = 0
        self._error = None

    def error(self, now: float) -> BrokerError | None:
        """The last failure, once there has been nothing but failures for long enough; else None."""
        return self._error if self._failures >= FAILURES and now - self._since >= PATIENCE_SECONDS else None

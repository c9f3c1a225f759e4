"""Looking for partitions that have no lease yet: one look at a time, and nothing but the first take waits for it.

A look asks the broker, which may take long or never answer. Meanwhile leases are taken, handed over and given back. Used by
`lease` alone, on the control thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from streamkit.engine.runtime import Runtime, Task
from streamkit.errors import BrokerError, BrokerUnavailableError, ConfigurationError, StreamkitError
from streamkit.model import Lease

__all__ = ["Looking"]

POLLS_BETWEEN_LOOKS = 30
"""Partitions that were added are found after so many polls; those that descend from ours at once."""
MAX_POLLS_AFTER_FAILURE = 10


class Looking:
    """Of one worker."""

    def __init__(
        self,
        tend: Callable[[Sequence[Lease], float], Awaitable[bool]],
        runtime: Runtime,
        report: Callable[[str, BaseException], None],
        on_fatal: Callable[[BaseException], None],
        poll_soon: Callable[[], None],
    ) -> None:
        """`tend` adds what is missing among rows that were listed at a time, and answers whether nothing was."""
        self.is_complete = False
        """No lease was missing when we looked: before that nothing is taken."""
        self._tend = tend
        self._runtime = runtime
        self._report = report
        self._on_fatal = on_fatal
        self._poll_soon = poll_soon
        self._polls_left = 0
        self._polls_under_way = 0
        self._failures = 0
        self._error: StreamkitError | None = None
        self._task: Task | None = None
        self._is_over = False

    @property
    def problem(self) -> StreamkitError | None:
        """Why nothing can be taken yet. Later failures hold up nothing."""
        return None if self.is_complete else self._error

    def polled(self, rows: Sequence[Lease], listed_at: float) -> None:
        """The rows were listed: look, if it is time to."""
        self._polls_left -= 1
        self._polls_under_way += 1
        if self._task is not None and self._polls_under_way == POLLS_BETWEEN_LOOKS:
            self._failed(BrokerUnavailableError("the partitions were asked for long ago, and there is no answer"))
        if self._polls_left <= 0 and self._task is None and not self._is_over:
            self._polls_left = POLLS_BETWEEN_LOOKS
            self._polls_under_way = 0
            self._task = self._runtime.control.spawn("look", self._look(rows, listed_at), self._ended)

    def soon(self) -> None:
        """With the next poll: a partition of ours has ended."""
        self._polls_left = 0

    def stop(self) -> None:
        """Add nothing any more."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()

    async def _look(self, rows: Sequence[Lease], listed_at: float) -> None:
        try:
            is_complete = await self._tend(rows, listed_at)
        except ConfigurationError:
            raise
        except StreamkitError as error:
            self._failed(error)
            return
        self._failures = 0
        self._error = None
        if not is_complete:
            self._polls_left = 0  # look at what was made
        if not is_complete or not self.is_complete:
            self._poll_soon()
        self.is_complete = self.is_complete or is_complete

    def _failed(self, error: StreamkitError) -> None:
        self._failures += 1
        self._error = error
        if self._failures == 1:
            first = "looking at partitions" if isinstance(error, BrokerError) else "looking at leases"
            self._report("looking for new partitions" if self.is_complete else first, error)
        if not self.is_complete:
            self._polls_left = min(MAX_POLLS_AFTER_FAILURE, 2 ** min(self._failures - 1, 4))

    def _ended(self, error: BaseException | None) -> None:
        self._task = None
        if error is not None and not self._is_over:
            self._on_fatal(error)

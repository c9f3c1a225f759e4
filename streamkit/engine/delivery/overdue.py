"""Says when a call outlives PROCESS_TIMEOUT that cannot be cut: `def` code, or code that swallows its cancellation.

Such a call is waited for, and what it does counts when it returns: a second one is never begun beside it. Of a handler of
records, the time of one record counts, as far as it can be seen from outside. Looks from the control thread; never in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.runtime import Runtime

__all__ = ["Overdue"]

LOOKS = 4
"""So often in the time that a call may take."""

Key = tuple[float, Callable[[], str]]


@dataclass(slots=True)
class _Seen:
    done: int
    since: float
    is_told: bool = False


class Overdue:
    """Of one assignment."""

    def __init__(
        self,
        runtime: Runtime,
        calls: Callable[[], Sequence[RunningCall]],
        limit_seconds: float,
        tell: Callable[[BaseException], None],
        *,
        is_cut: bool,
    ) -> None:
        """`is_cut`: a call is cancelled when its time is over, so that it is given a little longer before it is told."""
        self._runtime = runtime
        self._calls = calls
        self._limit = limit_seconds
        self._patience = limit_seconds * (1 + 1 / LOOKS) if is_cut else limit_seconds
        self._tell = tell
        self._seen: dict[Key, _Seen] = {}
        self._signal = runtime.control.signal()
        self._is_over = False

    def stop(self) -> None:
        """The assignment is over. From any thread."""
        self._is_over = True
        self._signal.set()

    async def watch(self) -> None:
        """Until `stop`, on the control thread."""
        while not self._is_over:
            await self._signal.wait(self._limit / LOOKS)
            self.look(self._runtime.monotonic())

    def look(self, now: float) -> None:
        """Tell of each record (or batch) that takes too long, once."""
        seen: dict[Key, _Seen] = {}
        for call in self._calls():
            key = (call.started, call.stack)
            known = self._seen.get(key)
            if known is None or known.done != call.done:
                known = _Seen(call.done, call.started if call.done == 0 else now)
            seen[key] = known
            if not known.is_told and now - known.since >= self._patience:
                known.is_told = True
                self._tell(self._error(now - known.since, call.stack()))
        self._seen = seen

    def _error(self, seconds: float, stack: str) -> TimeoutError:
        where = f", here:\n{stack}" if stack else ""
        return TimeoutError(
            f"a call has been running for {seconds:g}s, longer than STREAMKIT_PROCESS_TIMEOUT={self._limit:g}s; it cannot be cut, "
            f"so it is waited for{where}"
        )

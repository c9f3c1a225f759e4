"""Records of one assignment that the failure policy passes: written as dead letters or skipped; counted, told, and timed.

On the control thread, but for `put_aside` and `skipped`, which only post. Counts are looked at by others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.house import House
from streamkit.engine.markers import Markers
from streamkit.engine.runtime import Promise, Signal
from streamkit.errors import DeadLetterError
from streamkit.model import Partition

__all__ = ["SILENT_SECONDS", "Asides"]

SILENT_SECONDS = 30.0
"""A target that has not answered for so long does not answer."""


class Asides:
    """One for each assignment."""

    def __init__(self, partition: Partition, house: House) -> None:
        self.counts: Counter[str] = Counter()
        """How many, by how: counted here and not by observers, which may miss events."""
        self.markers: Markers | None = None
        """With ON_FAILURE=park: which keys are parked."""
        self._partition = partition
        self._house = house
        self._writing: list[float] = []
        """When each write that is under way began (monotonic)."""

    @property
    def since(self) -> float | None:
        """When the oldest write began that the target has not answered; None: it has answered all."""
        return min(tuple(self._writing), default=None)

    def put_aside(self, failed: Sequence[FailedRecord]) -> Promise[int]:
        """Resolved when the target has acknowledged all of them, failed with DeadLetterError."""
        return self._house.runtime.control.call("put-aside", self._put_aside(failed))

    def put_behind(self, records: Sequence[FailedRecord]) -> Promise[int]:
        """The same for records of parked keys, resolved with how many were written."""
        return self._house.runtime.control.call("put-behind", self._put_behind(records))

    def skipped(self, failed: Sequence[FailedRecord]) -> None:
        self._house.runtime.control.post(self._tell, failed, "skip")

    async def _put_aside(self, failed: Sequence[FailedRecord]) -> int:
        if self.markers is not None:
            await self.markers.put_aside(failed)
        else:
            await self.write(failed)
        self._tell(failed, self._house.settings.on_failure)
        return len(failed)

    async def _put_behind(self, records: Sequence[FailedRecord]) -> int:
        assert self.markers is not None
        count = await self.markers.put_behind(records)
        self._tell(records[:count], "park")
        return count

    async def write(self, failed: Sequence[FailedRecord], before: Callable[[], Awaitable[None]] | None = None) -> None:
        """To the target. `before`: waited for before anything is sent. Raises DeadLetterError, and what `before` does."""
        letters = self._house.dead_letters
        assert letters is not None
        for part in letters.parts(failed):
            if before is not None:
                await before()
            await self._write(letters, part)

    async def _write(self, letters: DeadLetters, failed: Sequence[FailedRecord]) -> None:
        runtime = self._house.runtime
        began = runtime.monotonic()
        self._writing.append(began)
        answered = runtime.control.signal()
        runtime.control.spawn(f"letters-of-{self._partition}", self._watch(began, answered), lambda _: None)
        try:
            await letters.write(failed)
        finally:
            self._writing.remove(began)
            answered.set()

    async def _watch(self, began: float, answered: Signal) -> None:
        """Tell it when one write takes too long; once, however many there are."""
        runtime = self._house.runtime
        await answered.wait(SILENT_SECONDS)
        if self.since == began and runtime.monotonic() - began >= SILENT_SECONDS:
            error = DeadLetterError(
                f"the dead-letter target has not answered for {SILENT_SECONDS:g}s",
                fix="look whether it is up; what it has not acknowledged is not done, and is waited for",
            )
            self._house.observer.on_problem(f"putting records of {self._partition} aside", error)

    def _tell(self, failed: Sequence[FailedRecord], how: str) -> None:
        self.counts[how] += len(failed)
        for one in failed:
            self._house.observer.on_put_aside(self._partition, one.record.position, one.error, how)

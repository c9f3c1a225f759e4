"""Which keys are parked, as the delivery of one assignment knows it: their records are put aside without a call.

What is so is decided by `engine/markers.py` on the control thread, which tells by `hold` and `release`; what it has said is
taken in by `hear`, on the worker's carrier, whenever records are looked at. While nothing is parked, nothing is looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from streamkit.engine.delivery.messages import FailedRecord
from streamkit.engine.runtime import Signal
from streamkit.errors import ProcessingError
from streamkit.model import Batch, ParkedKey, Record

__all__ = ["Parking"]


class Parking:
    """Of one assignment."""

    def __init__(self, signal: Signal, stored: Mapping[bytes, ParkedKey]) -> None:
        """`stored`: what the checkpoint says that the assignment begins with."""
        self.keys: dict[bytes, str] = {key: parked.first for key, parked in stored.items()}
        """Each with the id of the record that failed."""
        self.news: deque[tuple[bytes, str | None]] = deque()
        """What the control thread has said since: a key and its first record, or None if it is to be called again."""
        self._signal = signal

    def hold(self, key: bytes, first: str) -> None:
        """Its marker is in the store. By the control thread."""
        self.news.append((key, first))
        self._signal.set()

    def release(self, key: bytes) -> None:
        """Its letters have been replayed, and the marker is gone. By the control thread."""
        self.news.append((key, None))
        self._signal.set()

    def heard(self) -> Mapping[bytes, str]:
        """The keys, with what was said until now."""
        if self.news:
            self.hear()
        return self.keys

    def hear(self) -> None:
        """Take in what was said."""
        while self.news:
            key, first = self.news.popleft()
            if first is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = first

    def is_parked(self, record: Record) -> bool:
        return record.key is not None and record.key in self.keys

    def forget(self, record: Record) -> None:
        """Its key has turned out not to be parked any more."""
        if record.key is not None:
            self.keys.pop(record.key, None)

    def parked_at_head(self, batch: Batch) -> int:
        """How many records from the first on are of parked keys."""
        return next((index for index, record in enumerate(batch) if not self.is_parked(record)), len(batch))

    def free_at_head(self, batch: Batch) -> int:
        """How many records from the first on are of no parked key."""
        return next((index for index, record in enumerate(batch) if self.is_parked(record)), len(batch))

    def behind(self, record: Record) -> FailedRecord:
        """A record that was not called, as it is put aside."""
        assert record.key is not None
        first = self.keys[record.key]
        fix = "`streamkit dead-letters replay` runs both in order, and then the key is called again"
        if first == record.id:  # it came again after a crash between its marker and its letter, and what it had raised is not known
            error = ProcessingError("it has failed, and came again before its dead letter was known to be written", record=first, fix=fix)
        else:
            error = ProcessingError(f"it was not called: its key is parked behind record {first}", record=record.id, fix=fix)
        return FailedRecord(record, error, 0)

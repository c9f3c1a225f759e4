"""Which spans a partition has had whose records are not checkpointed yet, so that the span of the checkpoint can name them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.trace import SpanContext

from streamkit.model import Partition, Position

__all__ = ["Done", "Unsaved"]

MAX_SPANS = 128
"""Of so many, the newest, each partition remembers them: as many links as a span has by the SDK's default."""
MAX_PARTITIONS = 1000


@dataclass(frozen=True, slots=True)
class Done:
    """A process span: from which record to which."""

    first: Position
    last: Position
    span: SpanContext


class Unsaved:
    """Written by the threads that call the user's code, read by the control thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: dict[Partition, deque[Done]] = {}

    def begin(self, partition: Partition) -> None:
        """A new assignment: what an earlier one has done is no business of its checkpoints."""
        with self._lock:
            self._spans.pop(partition, None)
            self._spans[partition] = deque(maxlen=MAX_SPANS)
            while len(self._spans) > MAX_PARTITIONS:  # the oldest; those that are here for so long have no links
                del self._spans[next(iter(self._spans))]

    def add(self, partition: Partition, done: Done) -> None:
        with self._lock:
            if (spans := self._spans.get(partition)) is not None:
                spans.append(done)

    def up_to(self, partition: Partition, position: Position, *, is_saved: bool) -> Sequence[Done]:
        """Those that a checkpoint covers, or a part of them. `is_saved`: the whole ones are not asked for again."""
        with self._lock:
            spans = self._spans.get(partition, ())
            found = [one for one in spans if one.first <= position]
            if is_saved and found:
                self._spans[partition] = deque((one for one in spans if not one.last <= position), MAX_SPANS)
            return found

    def of(self, partition: Partition, position: Position) -> SpanContext | None:
        """The newest span that a record was in."""
        with self._lock:
            found = [one.span for one in self._spans.get(partition, ()) if one.first <= position <= one.last]
        return found[-1] if found else None

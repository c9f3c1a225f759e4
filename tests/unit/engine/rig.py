"""What the tests of the engine share: an observer that notes, processors that fail on order, and short names for settings."""

from __future__ import annotations

from collections.abc import Callable

from streamkit.model import Batch, Checkpoint, Partition, PlainRecord, Position, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, record_processor
from streamkit.testing import Harness

__all__ = ["Notes", "batch", "failing", "record", "values"]

P0 = Partition("stream", "0")


class Notes(Observer):
    """Every event as (name, what it says)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def named(self, name: str) -> list[object]:
        return [what for event, what in self.events if event == name]

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self.events.append(("assigned", epoch))

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self.events.append(("revoked", reason))

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self.events.append(("lost", reason))

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self.events.append(("ended", epoch))

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        self.events.append(("noticed", what))

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        self.events.append(("checkpointed", checkpoint.at.position))

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self.events.append(("checkpoint failed", error))

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self.events.append(("attempt failed", attempt))

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self.events.append(("halted", error))

    def on_recovered(self, partition: Partition) -> None:
        self.events.append(("recovered", None))

    def on_problem(self, subject: str, error: BaseException) -> None:
        self.events.append(("problem", subject))


def failing(values: dict[bytes, int], error: type[Exception] = ValueError, **facts: object) -> Callable[[Record, Context], None]:
    """A record handler that fails as often as told at each of these values."""
    left = dict(values)

    @record_processor(**facts)  # type: ignore[call-overload, untyped-decorator]
    def handle(record: Record, context: Context) -> None:
        if record.value is not None and left.get(record.value, 0) > 0:
            left[record.value] -= 1
            raise error(f"no {record.value!r}")

    return handle  # type: ignore[no-any-return]


def values(harness: Harness) -> list[bytes | None]:
    """What the processor was called with, in order."""
    return [record.value for record in harness.seen]


def record(sequence: int, value: bytes = b"", partition: Partition = P0) -> Record:
    return PlainRecord(partition, Position(sequence), value)


def batch(*sequences: int, partition: Partition = P0) -> Batch:
    return Batch.of([record(sequence, b"%d" % sequence, partition) for sequence in sequences])

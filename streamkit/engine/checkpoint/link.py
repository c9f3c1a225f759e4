"""What stands behind `context.checkpoint`: checks a position, and hands it to the checkpointer. One for each assignment.

Called by the user's code, on the worker's carrier or any thread of theirs; only posts to the control thread.
"""

from __future__ import annotations

from streamkit.engine.checkpoint.checkpointer import Checkpointer, Entry
from streamkit.engine.checkpoint.future import SubmittedCheckpoint, already_saved
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import CheckpointError, CheckpointPositionError, PartitionLostError, UnsupportedError
from streamkit.model import Partition, Position
from streamkit.processing import CheckpointFuture

__all__ = ["Link"]


class Link:
    """The engine's side of a context."""

    def __init__(self, partition: Partition, runtime: Runtime, checkpointer: Checkpointer, metadata_characters: int) -> None:
        self.worker: Worker | None = None
        """Set before its first hook, like `entry`."""
        self.entry: Entry | None = None
        self._partition = partition
        self._runtime = runtime
        self._checkpointer = checkpointer
        self._metadata_characters = metadata_characters

    def submit(self, position: Position | None, metadata: str) -> CheckpointFuture:
        """Raises `PartitionLostError`, `CheckpointPositionError`, or CheckpointError for metadata that is too long."""
        worker = self.worker
        assert worker is not None
        if worker.context.lost:
            raise PartitionLostError(f"{self._partition} has left this worker; it cannot be checkpointed here")
        if len(metadata) > self._metadata_characters:
            raise CheckpointError(f"checkpoint metadata of {len(metadata)} characters; this store takes {self._metadata_characters}")
        low, high = self._lowest(worker), _highest(worker)
        if position is None:
            position = high
        if position is None:
            return already_saved()
        if (low is not None and position < low) or high is None or high < position:
            raise CheckpointPositionError(
                f"{self._partition}: position {position} lies outside [{low}, {high}]: checkpoints move forward, and not beyond "
                "what was delivered",
                position=position,
                low=low,
                high=high,
            )
        worker.submitted = position
        promise: Promise[None] = Promise()
        self._runtime.control.post(self._submitted, position, metadata, promise)
        return SubmittedCheckpoint(promise, lambda: self._runtime.control.post(self._urge))

    def prepare(self, position: Position | None, state: bytes) -> CheckpointFuture:
        """Not built yet."""
        raise UnsupportedError("prepare_checkpoint is not built yet", fix="use context.checkpoint")

    def remaining(self) -> float | None:
        """Seconds to the deadline of the assignment's end; None while no end is in sight."""
        ending = self.worker.ending if self.worker is not None else None
        return None if ending is None else max(0.0, ending.deadline - self._runtime.monotonic())

    def _lowest(self, worker: Worker) -> Position | None:
        """The last checkpoint, submitted or saved: none may go back behind it."""
        saved = self.entry.saved if self.entry is not None else None
        submitted = worker.submitted
        return saved if submitted is None else submitted if saved is None else max(saved, submitted)

    def _submitted(self, position: Position, metadata: str, promise: Promise[None]) -> None:
        assert self.entry is not None
        self._checkpointer.submit(self.entry, position, metadata, promise)

    def _urge(self) -> None:
        if self.entry is not None:
            self._checkpointer.urge(self.entry)


def _highest(worker: Worker) -> Position | None:
    """The highest position that may be checkpointed now: of the running call, else of what has returned; END at the end."""
    if worker.at_end:
        return Position.END
    running = worker.context.running
    if running is not None:
        index = min(running.done, len(running.batch) - 1)  # asked from another thread, the last record may be done already
        return running.batch.slice(index, index + 1).last if running.by_record else running.batch.last
    return worker.progress.position or (worker.context.start.position if worker.context.start.kind == "after" else None)

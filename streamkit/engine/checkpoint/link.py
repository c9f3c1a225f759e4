"""What stands behind `context.checkpoint` and `context.prepare_checkpoint`: checks a position, and hands it to the checkpointer.

One for each assignment. Called by the user's code, on the worker's carrier or any thread of theirs; only posts to the control thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from streamkit.engine.checkpoint.checkpointer import Checkpointer, Entry
from streamkit.engine.checkpoint.future import Prepared, PreparedSubmission, SubmittedCheckpoint, already_saved
from streamkit.engine.delivery.worker import Worker
from streamkit.engine.runtime import Promise, Runtime
from streamkit.errors import CheckpointError, CheckpointPositionError, PartitionLostError, UnsupportedError
from streamkit.model import Capabilities, Partition, Position
from streamkit.processing import CheckpointFuture, PreparedFuture

__all__ = ["Link"]

PREPARED = "a prepared checkpoint"


class Link:
    """The engine's side of a context."""

    def __init__(self, partition: Partition, runtime: Runtime, checkpointer: Checkpointer, store: Capabilities) -> None:
        self.worker: Worker | None = None
        """Set before its first hook, like `entry`."""
        self.entry: Entry | None = None
        self._partition = partition
        self._runtime = runtime
        self._checkpointer = checkpointer
        self._store = store
        self._unsaved: dict[tuple[Position, str | None], Promise[None]] = {}
        """One promise for each position and metadata that are not in the store yet, however often they are said: those that follow."""
        self._newest: tuple[tuple[Position, str | None], Promise[None]] | None = None
        """What was submitted last."""
        self._prepared: Prepared | None = None
        """The last one that was prepared here: it alone may be committed."""

    def submit(self, position: Position | None, metadata: str) -> CheckpointFuture:
        """Raises `PartitionLostError`, `CheckpointPositionError`, or CheckpointError for metadata that is too long."""
        worker = self._owner()
        self._check_metadata(metadata)
        checked = self._checked(worker, position)
        return already_saved() if checked is None else self._submit(worker, checked, metadata)

    def follow(self, position: Position | None, metadata: str, on_wait: Callable[[], None]) -> CheckpointFuture:
        """A future of a position that is not submitted: it is saved once everything up to it is done (order by key).

        `on_wait` is called when somebody waits for it. Raises as `submit` does, for a position below the last checkpoint too.
        """
        last = self._last(self._owner())
        self._check_metadata(metadata)
        if position is None:
            return already_saved()
        if last is not None and position < last:
            raise _out_of_bounds(self._partition, position, last, position)

        def urge() -> None:
            on_wait()
            self._post_urge()

        key = (position, metadata)
        promise = self._unsaved.get(key) if not metadata else None
        if promise is None:
            promise = self._unsaved[key] = Promise()
            promise.on_done(functools.partial(self._saved, key))
            self._runtime.control.post(self._follow, position, metadata, promise)
        return SubmittedCheckpoint(promise, urge)

    def prepare(self, position: Position | None, state: bytes) -> PreparedFuture:
        """Raises as `submit` does, `UnsupportedError` if the store keeps none, CheckpointError for state that is too long."""
        worker = self._owner()
        most = self._store.pending_bytes
        if not most:
            raise UnsupportedError(
                "this store keeps no prepared checkpoints",
                setting="STREAMKIT_STORE",
                fix="use another one, such as sqlite; prepares=True in the code makes the start refuse instead",
            )
        if len(state) > most:
            raise CheckpointError(f"a prepared checkpoint with {len(state)} bytes of state; this store keeps {most}")
        checked = self._checked(worker, position)
        if checked is None:
            raise CheckpointPositionError(
                f"{self._partition}: nothing has been delivered yet, so there is nothing to prepare", position=None, low=None, high=None
            )
        prepared = self._prepared = Prepared(checked, bytes(state), self._commit)
        promise: Promise[None] = Promise()
        self._runtime.control.post(self._note_prepared, prepared, promise)
        return PreparedSubmission(prepared, SubmittedCheckpoint(promise, self._post_urge))

    def remaining(self) -> float | None:
        """Seconds to the deadline of the assignment's end; None while no end is in sight."""
        ending = self.worker.ending if self.worker is not None else None
        return None if ending is None else max(0.0, ending.deadline - self._runtime.monotonic())

    def _saved(self, key: tuple[Position, str | None]) -> None:
        self._unsaved.pop(key, None)

    # -- on the caller's thread -----------------------------------------------------------------------------------

    def _owner(self) -> Worker:
        """The worker, if the partition is still ours."""
        worker = self.worker
        assert worker is not None
        if worker.context.lost:
            raise PartitionLostError(f"{self._partition} has left this worker; it cannot be checkpointed here")
        return worker

    def _checked(self, worker: Worker, position: Position | None) -> Position | None:
        """The position that is meant, inside its bounds; None: there is nothing yet that could be checkpointed."""
        last, returned = self._last(worker), _returned(worker)
        if position is None:  # after a failed call less may have returned than was submitted
            return returned if last is None or (returned is not None and last < returned) else last
        start = worker.context.start
        low = last if last is not None or start.kind != "at" else start.position
        high = self._highest(worker, returned)
        try:
            if high is not None and position <= high and (low is None or low <= position):
                return position
        except (ValueError, AttributeError, TypeError) as error:  # its place is not known, or it is no position at all
            raise _out_of_bounds(self._partition, position, low, high) from error
        raise _out_of_bounds(self._partition, position, low, high)

    def _last(self, worker: Worker) -> Position | None:
        """The last checkpoint, submitted or saved: none may go back behind it."""
        saved = self.entry.saved if self.entry is not None else None
        known = [position for position in (worker.submitted, saved) if position is not None]
        return max(known, default=None)

    def _highest(self, worker: Worker, returned: Position | None) -> Position | None:
        """The highest position that was delivered, here or to whoever prepared a checkpoint before us."""
        pending = worker.context.pending
        known = [returned, worker.context.delivered, pending[0] if pending is not None else None]
        return max((position for position in known if position is not None), default=None)

    def _submit(self, worker: Worker, position: Position, metadata: str | None) -> CheckpointFuture:
        worker.submitted = position
        key, newest = (position, metadata), self._newest
        if newest is not None and newest[0] == key and not newest[1].done():
            return SubmittedCheckpoint(newest[1], self._post_urge)  # said again before it was written: one promise is enough
        promise: Promise[None] = Promise()
        self._newest = (key, promise)
        self._runtime.control.post(self._submitted, position, metadata, promise)
        return SubmittedCheckpoint(promise, self._post_urge)

    def _commit(self, prepared: Prepared) -> CheckpointFuture:
        worker = self._owner()
        newest = self._prepared
        if newest is not prepared:
            at = None if newest is None else newest.position
            raise CheckpointPositionError(
                f"{self._partition}: what was prepared at {prepared.position} has been replaced by a newer one, at {at}",
                position=prepared.position,
                low=at,
                high=at,
                fix="commit the one that was prepared last",
            )
        if worker.submitted is None or worker.submitted < prepared.position:
            worker.submitted = prepared.position
        promise: Promise[None] = Promise()
        self._newest = None
        self._runtime.control.post(self._committed, prepared, promise)
        return SubmittedCheckpoint(promise, self._post_urge)

    def _post_urge(self) -> None:
        self._runtime.control.post(self._urge)

    def _check_metadata(self, metadata: str) -> None:
        most = self._store.metadata_characters
        if len(metadata) > most:
            raise CheckpointError(f"checkpoint metadata of {len(metadata)} characters; this store takes {most}")

    # -- on the control thread ------------------------------------------------------------------------------------

    def _follow(self, position: Position, metadata: str, promise: Promise[None]) -> None:
        assert self.entry is not None
        self._checkpointer.follow(self.entry, position, metadata, promise)

    def _submitted(self, position: Position, metadata: str | None, promise: Promise[None]) -> None:
        assert self.entry is not None
        self._checkpointer.submit(self.entry, position, metadata, promise)

    def _note_prepared(self, prepared: Prepared, promise: Promise[None]) -> None:
        assert self.entry is not None
        pending, state = prepared.position, prepared.state
        self._checkpointer.note(self.entry, PREPARED, lambda notes: replace(notes, pending=pending, pending_state=state), promise)

    def _committed(self, prepared: Prepared, promise: Promise[None]) -> None:
        """The position moves and what was prepared goes, in one save."""
        assert self.entry is not None
        self._checkpointer.note(self.entry, PREPARED, lambda notes: replace(notes, pending=None, pending_state=b""), Promise())
        self._checkpointer.submit(self.entry, prepared.position, None, promise)

    def _urge(self) -> None:
        if self.entry is not None:
            self._checkpointer.urge(self.entry)


def _returned(worker: Worker) -> Position | None:
    """What a checkpoint without a position means: all that has returned, and what the running call was given; END at the end."""
    if worker.at_end:
        return Position.END
    running = worker.context.running
    if running is not None:
        index = min(running.done, len(running.batch) - 1)  # asked from another thread, the last record may be done already
        return running.batch.slice(index, index + 1).last if running.by_record else running.batch.last
    return worker.progress.position or (worker.context.start.position if worker.context.start.kind == "after" else None)


def _out_of_bounds(partition: Partition, position: object, low: Position | None, high: Position | None) -> CheckpointPositionError:
    message = f"{partition}: position {position} lies outside [{low}, {high}]: checkpoints move forward, and not beyond what was delivered"
    return CheckpointPositionError(message, position=position, low=low, high=high)

"""The futures that `context.checkpoint` and `context.prepare_checkpoint` return: waiting for one makes the checkpointer write at once."""

from __future__ import annotations

from collections.abc import Callable, Generator

from streamkit.engine.runtime import Promise
from streamkit.model import Position
from streamkit.processing import CheckpointFuture, PreparedCheckpoint, PreparedFuture

__all__ = ["Prepared", "PreparedSubmission", "SubmittedCheckpoint", "already_saved"]


class SubmittedCheckpoint(CheckpointFuture):
    """One submission. Nobody needs to read it."""

    __slots__ = ("_promise", "_urge")

    def __init__(self, promise: Promise[None], urge: Callable[[], None]) -> None:
        self._promise = promise
        self._urge = urge

    def done(self) -> bool:
        return self._promise.done()

    def result(self, timeout: float | None = None) -> None:
        if not self._promise.done():
            self._urge()
        self._promise.result(timeout)

    def __await__(self) -> Generator[object, None, None]:
        if not self._promise.done():
            self._urge()
        return self._promise.__await__()


def already_saved() -> CheckpointFuture:
    """The future of a checkpoint that is in the store already."""
    promise: Promise[None] = Promise()
    promise.resolve(None)
    return SubmittedCheckpoint(promise, lambda: None)


class Prepared(PreparedCheckpoint):
    """What was prepared, and the way to commit it."""

    __slots__ = ("_commit", "_committed", "_position", "_state")

    def __init__(self, position: Position, state: bytes, commit: Callable[[Prepared], CheckpointFuture]) -> None:
        self._position = position
        self._state = state
        self._commit = commit
        self._committed: CheckpointFuture | None = None

    @property
    def position(self) -> Position:
        return self._position

    @property
    def state(self) -> bytes:
        return self._state

    def commit(self) -> CheckpointFuture:
        if self._committed is None:
            self._committed = self._commit(self)
        return self._committed


class PreparedSubmission(PreparedFuture):
    """One prepared checkpoint on its way to the store."""

    __slots__ = ("_prepared", "_submitted")

    def __init__(self, prepared: Prepared, submitted: CheckpointFuture) -> None:
        self._prepared = prepared
        self._submitted = submitted

    def done(self) -> bool:
        return self._submitted.done()

    def result(self, timeout: float | None = None) -> PreparedCheckpoint:
        self._submitted.result(timeout)
        return self._prepared

    def __await__(self) -> Generator[object, None, PreparedCheckpoint]:
        yield from self._submitted.__await__()
        return self._prepared

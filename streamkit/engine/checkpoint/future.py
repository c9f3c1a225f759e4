"""The futures that `context.checkpoint` returns: waiting for one makes the checkpointer write at once."""

from __future__ import annotations

from collections.abc import Callable, Generator

from streamkit.engine.runtime import Promise
from streamkit.processing import CheckpointFuture

__all__ = ["SubmittedCheckpoint", "already_saved"]


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

"""All observers as one. What one of them raises goes to the log and nowhere else.

An app tells them on a thread of their own, so that one that is slow or hangs holds up the others and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from streamkit.engine.runtime import Mailbox, Promise, Runtime
from streamkit.model import Checkpoint, Partition, Position
from streamkit.plugin import Observer

__all__ = ["Observers", "ObserversAside"]

_log = logging.getLogger("streamkit.observers")

MAX_EVENTS = 10_000
"""So many wait before those are dropped that come with everyday work."""
MAX_RARE_EVENTS = 10 * MAX_EVENTS
"""So many before any other is: a record put aside, a halt, a loss."""
ROUTINE = frozenset({"on_checkpointed", "on_checkpoint_failed", "on_attempt_failed", "on_noticed"})
CLOSE_SECONDS = 5.0


class Observers(Observer):
    """Hands every event on to each."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def _tell(self, method: str, *args: object) -> None:
        for observer in self._observers:
            try:
                getattr(observer, method)(*args)
            except Exception:
                _log.exception("%s.%s raised", type(observer).__name__, method)

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._tell("on_assigned", partition, epoch)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._tell("on_revoked", partition, epoch, reason)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._tell("on_lost", partition, epoch, reason)

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._tell("on_ended", partition, epoch)

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        self._tell("on_checkpointed", checkpoint)

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        self._tell("on_checkpoint_failed", checkpoint, error)

    def on_store_down(self, error: Exception, partitions: int) -> None:
        self._tell("on_store_down", error, partitions)

    def on_store_up(self, seconds: float, partitions: int) -> None:
        self._tell("on_store_up", seconds, partitions)

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self._tell("on_attempt_failed", partition, error, attempt)

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        self._tell("on_put_aside", partition, position, error, how)

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self._tell("on_halted", partition, error)

    def on_recovered(self, partition: Partition) -> None:
        self._tell("on_recovered", partition)

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        self._tell("on_stuck", partition, seconds, stack)

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        self._tell("on_blocked", what, seconds, stack)

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        self._tell("on_noticed", partition, what, records)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._tell("on_problem", subject, error)


class ObserversAside(Observers):
    """The same on a thread of their own, in order. Events that they do not keep up with are dropped, and the log says how many."""

    def __init__(self, observers: Sequence[Observer], runtime: Runtime) -> None:
        super().__init__(observers)
        self._runtime = runtime
        self._waiting: Mailbox[tuple[str, tuple[object, ...]] | None] | None = None
        """None: the thread begins with the first event. An item that is None is the last one."""
        self._over: Promise[None] = Promise()
        self._dropped = 0
        """Written by those who tell."""
        self._reported = 0
        """Written by the thread."""

    def _tell(self, method: str, *args: object) -> None:
        if self._waiting is None:
            carrier = self._runtime.thread("observers")
            self._waiting = Mailbox(carrier.signal())
            carrier.spawn("observers", self._run(self._waiting), lambda _: self._over.resolve(None))
        if len(self._waiting.items) < (MAX_EVENTS if method in ROUTINE else MAX_RARE_EVENTS):
            self._waiting.put((method, args))
        else:
            self._dropped += 1

    async def _run(self, waiting: Mailbox[tuple[str, tuple[object, ...]] | None]) -> None:
        is_closing = False
        while True:
            while waiting.items and not is_closing:
                if (item := waiting.items.popleft()) is None:
                    is_closing = True  # what was dropped is said first
                else:
                    method, args = item
                    super()._tell(method, *args)
            if self._reported < self._dropped:
                count, self._reported = self._dropped - self._reported, self._dropped
                _log.warning("%d events were not told to observers: they did not keep up", count)
            if is_closing:
                return
            await waiting.signal.wait()

    async def close(self) -> None:
        """Wait until everything is told, on the control carrier; not for ever, because one of them may hang."""
        if self._waiting is None:
            return
        told = self._runtime.control.signal()
        self._over.on_done(told.set)
        self._waiting.put(None)
        if not self._over.done():
            await told.wait(CLOSE_SECONDS)

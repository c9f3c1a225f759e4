"""All observers as one. What one of them raises goes to the log and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from streamkit.model import Checkpoint, Partition
from streamkit.plugin import Observer

__all__ = ["Observers"]

_log = logging.getLogger("streamkit.observers")


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

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        self._tell("on_attempt_failed", partition, error, attempt)

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self._tell("on_halted", partition, error)

    def on_recovered(self, partition: Partition) -> None:
        self._tell("on_recovered", partition)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._tell("on_problem", subject, error)

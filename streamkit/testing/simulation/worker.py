"""One simulated process: a real engine in virtual time, and what the world knows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamkit.engine.runtime import Promise
from streamkit.engine.supervisor import Supervisor
from streamkit.model import Checkpoint, Partition, Position
from streamkit.plugin import Observer
from streamkit.testing.simulation.ledger import Ledger
from streamkit.testing.simulation.watched import Watched

__all__ = ["Watch", "Worker"]


@dataclass(slots=True)
class Worker:
    """From its start to its end."""

    name: str
    supervisor: Supervisor
    watched: Watched
    promise: Promise[None]
    few: bool = False
    """It has MAX_PARTITIONS."""
    stopped_at: float | None = None
    thaw: Callable[[], None] | None = None
    """While it is stalled: lets it go on."""
    was_stalled: bool = False
    is_over: bool = False

    @property
    def is_gone(self) -> bool:
        return self.is_over or self.watched.dead

    @property
    def is_running(self) -> bool:
        """It was not told to stop, either."""
        return not self.is_gone and self.stopped_at is None


class Watch(Observer):
    """One worker's events, as the ledger and the world want them."""

    worker: Worker

    def __init__(self, name: str, ledger: Ledger, check_one_owner: Callable[[str, Partition], None]) -> None:
        self._name = name
        self._ledger = ledger
        self._check_one_owner = check_one_owner

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        self._ledger.note(self._name, "assigned", partition.id, epoch)
        assignment = self.worker.supervisor.assignments[partition]
        self._ledger.owned(self._name, partition, epoch, assignment.start)
        self._check_one_owner(self._name, partition)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        self._ledger.note(self._name, "revoked", partition.id, epoch)
        if not self.worker.watched.flushes:  # whose last flush may have failed
            self._ledger.revoked(self._name, partition, epoch)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        self._ledger.note(self._name, "lost", partition.id, epoch)
        if reason.startswith("fenced"):
            self._ledger.counts["fenced"] += 1

    def on_ended(self, partition: Partition, epoch: int) -> None:
        self._ledger.note(self._name, "ended", partition.id, epoch)

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        partition = checkpoint.partition.id
        self._ledger.note(self._name, "checkpointed", partition, self._ledger.place(partition, checkpoint.at))

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        partition = checkpoint.partition.id
        self._ledger.note(self._name, f"not checkpointed: {type(error).__name__}", partition, self._ledger.place(partition, checkpoint.at))

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        self._ledger.put_aside(self._name, partition.id, position, how)

    def on_halted(self, partition: Partition, error: Exception) -> None:
        self._ledger.note(self._name, "halted", partition.id, type(error.__cause__ or error).__name__)

    def on_recovered(self, partition: Partition) -> None:
        self._ledger.note(self._name, "recovered", partition.id)

    def on_problem(self, subject: str, error: BaseException) -> None:
        self._ledger.note(self._name, f"problem: {type(error).__name__}", subject)

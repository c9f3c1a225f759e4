"""Who wants to know what happens: logs, metrics, tests. Small optional methods; a subclass overrides those that it needs."""

from __future__ import annotations

from streamkit.model import Checkpoint, Partition, Position

__all__ = ["Observer"]


class Observer:
    """Called on the engine's control thread, so nothing here may block. What a method raises is reported and goes no further."""

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        """The partition is claimed and its processor is being initialized."""

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        """The partition was given back in order: drained, saved, closed."""

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        """The partition is no longer ours, and its last records may be delivered again elsewhere."""

    def on_ended(self, partition: Partition, epoch: int) -> None:
        """Every record of a closed partition is done, and that is saved."""

    def on_checkpointed(self, checkpoint: Checkpoint) -> None:
        """The checkpoint is in the store."""

    def on_checkpoint_failed(self, checkpoint: Checkpoint, error: Exception) -> None:
        """The checkpoint is not in the store; it is kept and tried again unless the partition is lost."""

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        """The processor raised, or said `Retry`; it is called again after the back-off."""

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        """A record has failed for good and the others go on. `how`: `dead_letter` (the target has acknowledged it), or `skip`."""

    def on_halted(self, partition: Partition, error: Exception) -> None:
        """The failure policy stopped this partition alone; the others go on."""

    def on_recovered(self, partition: Partition) -> None:
        """A halted partition goes on."""

    def on_problem(self, subject: str, error: BaseException) -> None:
        """Something else went wrong: a hook raised, a broker or a store cannot be reached. `subject` says what."""

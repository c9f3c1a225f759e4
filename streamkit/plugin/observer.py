"""Who wants to know what happens: logs, metrics, tests. Small optional methods; a subclass overrides those that it needs."""

from __future__ import annotations

from streamkit.model import Checkpoint, Partition, Position

__all__ = ["Observer"]


class Observer:
    """Called on a thread that all observers of an app share, one event after the other, so that a slow one holds up the others and
    nothing else; those that they do not keep up with are dropped, and the log says how many. What a method raises is logged and goes
    no further."""

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
        """The checkpoint is not in the store; it is kept and tried again unless the partition is lost, or the store refuses it for
        good. Told once for each partition until its next one is saved."""

    def on_store_down(self, error: Exception, partitions: int) -> None:
        """The store has begun to take no checkpoints, of so many partitions at first. Told once; processing goes on meanwhile."""

    def on_store_up(self, seconds: float, partitions: int) -> None:
        """What was kept is in the store: it took so long, and so many partitions had to wait."""

    def on_attempt_failed(self, partition: Partition, error: BaseException, attempt: int) -> None:
        """The processor raised, or said `Retry`; it is called again after the back-off."""

    def on_put_aside(self, partition: Partition, position: Position, error: BaseException, how: str) -> None:
        """A record has failed for good and the others go on. `how`: `dead_letter` (the target has acknowledged it), or `skip`."""

    def on_halted(self, partition: Partition, error: Exception) -> None:
        """The failure policy stopped this partition alone; the others go on."""

    def on_recovered(self, partition: Partition) -> None:
        """A halted partition goes on, or the call that was stuck has returned."""

    def on_stuck(self, partition: Partition, seconds: float, stack: str) -> None:
        """A call of the user's code has run for longer than STUCK_AFTER; told once for each such call. `stack`: where it is."""

    def on_blocked(self, what: str, seconds: float, stack: str) -> None:
        """`what` (the engine's control thread, or the user's loop) could not run for so long: somebody held the interpreter
        lock, or blocked the loop. `stack` says who, as far as that is known. Told once a minute at most."""

    def on_noticed(self, partition: Partition, what: str, records: int) -> None:
        """An adapter has met so many records that an operator should know of; nothing has failed (`AdapterContext.noticed`)."""

    def on_problem(self, subject: str, error: BaseException) -> None:
        """Something else went wrong: a hook raised, a broker or a store cannot be reached. `subject` says what."""

"""What a checkpoint store must do. Implemented by plugins; called by the engine's checkpointer and nobody else.

A store keeps, for each partition of a group, the newest checkpoint and the epoch of the owner that may move it. Which group
of which broker is in the `AdapterContext`. Everything here is `async` and runs on the engine's I/O loop without blocking it,
except for the store of a `Membership`, which runs on the reader's thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType

from streamkit.model import Capabilities, Checkpoint, Partition

__all__ = ["CheckpointStore", "Claim", "Grant"]

Grant = NewType("Grant", object)
"""The store's own proof of ownership (an epoch, a counter, an ETag). Opaque: kept by the engine, shown to the store."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What `CheckpointStore.claim` found and gave."""

    checkpoint: Checkpoint | None
    """Where to go on, or None if the store *knows* that there is none."""
    grant: Grant
    epoch: int
    """The epoch that this claim has raised the partition to; 0 where the store has none."""


class CheckpointStore(ABC):
    """Keeps checkpoints so that only the newest owner can move them."""

    capabilities: Capabilities

    @abstractmethod
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        """Make `owner` the only one who can save for `partition`, and read where to go on, in one atomic step.

        When: once per assignment, before the first record is read; again after a `FencedError` while still assigned.
        Where: as the module says; may run beside claims and saves of other partitions, never beside its own.
        Raises: `StoreUnavailableError` if the answer is in doubt (an empty or cut answer is in doubt, never «no
            checkpoint»); `StoreThrottledError`, `StoreNotReadyError`.
        Afterwards: the stored epoch is the larger of `epoch` and one more than before, and a save with an older grant is
            refused for ever.
        """

    @abstractmethod
    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        """Move checkpoints forward; one answer for each, in the same order.

        When: every checkpoint interval, and before revoke, end and stop.
        Where: as the module says; never twice at once for one partition.
        Raises: nothing for a single checkpoint (its answer is the error: `FencedError`, `CheckpointPositionError`,
            `StoreNotReadyError`); `StoreUnavailableError` or `StoreThrottledError` when none was written.
        Afterwards: what was granted survives the death of this process and, by `capabilities.scope`, of this host.
        """

    @abstractmethod
    async def list(self) -> Sequence[Checkpoint]:
        """Every checkpoint of this broker and group.

        When: for people (`streamkit checkpoints`), and once when a partition without a checkpoint is claimed.
        Where: as the module says.
        Raises: `StoreUnavailableError` if the answer is in doubt.
        Afterwards: nothing has changed. A row that cannot be read raises, and names itself.
        """

    @abstractmethod
    async def overwrite(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint wherever an operator wants it, backwards too, and raise the epoch.

        When: by `streamkit checkpoints set` alone.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: every grant given before is refused.
        """

    @abstractmethod
    async def delete(self, partitions: Sequence[Partition]) -> None:
        """Forget these.

        When: by an operator alone.
        Where: as the module says.
        Raises: `StoreUnavailableError`.
        Afterwards: `claim` finds proof of absence.
        """

"""Who reads a partition, as a lease store keeps it. One row of the store; the same row holds the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

from streamkit.model.checkpoint import Checkpoint
from streamkit.model.partition import Partition

__all__ = ["Lease"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A row as it was listed. It may have changed since: every write that acts on it compares and sets."""

    partition: Partition
    """With `parents`, `children` and `key_range` as the store keeps them; `ended` says nothing here, the checkpoint does."""
    owner: str = ""
    """Empty: free."""
    epoch: int = 0
    """Rises with every change of owner."""
    version: int = 0
    """Rises with every write of its owner (take, renew, save, release): a sign of life. A request for hand-over does not raise it.
    An operator's write does, so that nothing is decided by what was there before."""
    handover_to: str = ""
    """Who has asked the owner for it. On a free lease: for whom it is kept."""
    checkpoint: Checkpoint | None = None
    """None: nobody has resolved where to begin."""
    fruitless_claims: int = 0
    """How often it was taken or claimed since a record of it was last done or its owner gave it back in order. One who takes
    again what is its own, because an answer was lost, is not counted twice."""

    @property
    def is_ended(self) -> bool:
        """Closed, and every record of it is done."""
        return self.checkpoint is not None and self.checkpoint.at.is_end

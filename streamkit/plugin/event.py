"""What a poll returns: batches, and what has changed. A `Membership` returns all, a plain `Reader` neither `Assigned` nor `Revoked`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, StartPosition

__all__ = ["Assigned", "CaughtUp", "Ended", "Event", "Failed", "Idle", "Lost", "Revoked"]


@dataclass(frozen=True, slots=True)
class Ended:
    """Every record of a closed partition has been returned. `children` go on where it ended; empty: none."""

    partition: Partition
    children: tuple[Partition, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """This partition cannot be read on; the others can. `error.retryable` decides whether the engine opens it again."""

    partition: Partition
    error: BrokerError
    resume: StartPosition | None = None
    """Where to go on instead, if the adapter's settings allow it; the engine says so loudly and counts it."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """Every record that the partition held a moment ago has been returned (`STREAMKIT_STOP=at_end` waits for this)."""

    partition: Partition


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing there: poll again after so many seconds. Only meaningful as the one event of a poll."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Assigned:
    """These are ours from now on. The engine claims them, resolves their start, and then calls `add` for each."""

    partitions: tuple[Partition, ...]
    epoch: int = 0
    """The group's generation, if there is one; becomes `context.epoch` where the checkpoints are the group's own."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """The group wants these back, and we still own them until `done` is called or the deadline has passed."""

    partitions: tuple[Partition, ...]
    deadline_seconds: float
    """From now. After it they count as lost."""
    done: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class Lost:
    """These are no longer ours, and somebody else may have them already. Nothing of them is saved any more. A plain reader says so when
    the broker itself has let in another owner, and then returns nothing of them until they are added again."""

    partitions: tuple[Partition, ...]
    reason: str = "the group took it away"
    """For people: who has it now, as far as the broker says."""


Event = Batch | Ended | Failed | CaughtUp | Idle | Assigned | Revoked | Lost

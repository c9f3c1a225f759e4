"""The rules that every store with an epoch in its row shares: who may save, and that checkpoints only move forward.

Pure functions from a stored row and a request to the next row; no I/O, no clock, no lock. A store reads the row, asks here,
and writes the answer in one atomic step of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.plugin import Claim, Grant

__all__ = ["Row", "claim_of", "claimed", "forgotten", "overwritten", "saved"]

_RANKS = {"earliest": 0, "time": 1, "latest": 2, "at": 3, "after": 3}


@dataclass(frozen=True, slots=True)
class Row:
    """What a store keeps for a partition of a group. It outlives its checkpoint, because the epoch must never go back."""

    epoch: int = 0
    owner: str = ""
    checkpoint: Checkpoint | None = None
    """None: claimed or deleted, so the store knows that there is none."""


def claimed(row: Row | None, partition: Partition, owner: str, epoch: int) -> Row:
    """The row after a claim; every grant given before is refused from here on.

    Raises ConfigurationError if the checkpoint belongs to another stream of the same name.
    """
    row = row or Row()
    _same_incarnation(row.checkpoint, partition)
    return Row(max(epoch, row.epoch + 1), owner, row.checkpoint)


def claim_of(row: Row) -> Claim:
    """What the owner of this row is told. Its grant is the epoch."""
    return Claim(row.checkpoint, Grant(row.epoch), row.epoch)


def saved(row: Row | None, checkpoint: Checkpoint, grant: Grant) -> Row:
    """The row after a save. The very same row means that nothing has changed and nothing need be written.

    Raises FencedError if `grant` is not the newest claim's, CheckpointPositionError if the checkpoint would go back.
    """
    held = cast(int, grant) if isinstance(grant, int) else None
    current = row.epoch if row else None
    if row is None or held != current:
        raise FencedError(f"{checkpoint.partition}: epoch {held} was shown, epoch {current} counts", held=held, current=current)
    if row.checkpoint is not None:
        _forward(row.checkpoint.at, checkpoint)
        if row.checkpoint.to_text() == checkpoint.to_text():
            return row
    return Row(row.epoch, row.owner, checkpoint)


def overwritten(row: Row | None, checkpoint: Checkpoint) -> Row:
    """The row after an operator put a checkpoint there: anywhere, and nobody owns it."""
    return Row((row or Row()).epoch + 1, "", checkpoint)


def forgotten(row: Row) -> Row:
    """The row after a delete. The epoch stays and rises, or a grant of long ago would count again."""
    return Row(row.epoch + 1)


def _same_incarnation(checkpoint: Checkpoint | None, partition: Partition) -> None:
    stored = checkpoint.partition.incarnation if checkpoint else ""
    if stored and partition.incarnation and stored != partition.incarnation:
        raise ConfigurationError(
            f"the checkpoint of {partition} belongs to {stored!r}, but the stream is now {partition.incarnation!r}",
            fix="check that this is the right cluster; if the stream was made anew, say where to begin: streamkit checkpoints set …",
        )


def _forward(stored: StartPosition, checkpoint: Checkpoint) -> None:
    if checkpoint.at == stored:
        return
    try:
        goes_back = _order(checkpoint.at, stored) < _order(stored, checkpoint.at)
    except ValueError as error:  # a position without a sequence cannot be compared: in doubt, so refused
        raise _position_error(stored, checkpoint) from error
    if goes_back:
        raise _position_error(stored, checkpoint)


def _order(start: StartPosition, other: StartPosition) -> tuple[object, ...]:
    """A key that rises with progress: starts that name no position come first, and `at` a record before `after` it."""
    rank = _RANKS[start.kind]
    if rank != _RANKS[other.kind]:
        return (rank,)
    return (rank, start.position or start.time, start.kind == "after")


def _position_error(stored: StartPosition, checkpoint: Checkpoint) -> CheckpointPositionError:
    message = f"{checkpoint.partition}: a checkpoint {checkpoint.at} does not follow the stored one, {stored}"
    return CheckpointPositionError(message, position=checkpoint.at, low=stored, high=None)

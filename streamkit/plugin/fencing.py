"""The rules that every store with an epoch in its row shares: who may save, and that checkpoints only move forward.

Pure functions from a stored row and a request to the next row; no I/O, no clock, no lock. A store reads the row, asks here,
and writes the answer in one atomic step of its own. What lease stores do besides is in `leasing.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.plugin.store import Claim, Grant

__all__ = ["Row", "checked", "claim_of", "claimed", "forgotten", "known", "overwritten", "same_incarnation", "saved"]

_RANKS = {"earliest": 0, "time": 1, "latest": 2, "at": 3, "after": 3}


@dataclass(frozen=True, slots=True)
class Row:
    """What a store keeps for a partition of a group. It outlives its checkpoint, because the epoch must never go back."""

    epoch: int = 0
    owner: str = ""
    """Empty: nobody's, and no grant counts."""
    checkpoint: Checkpoint | None = None
    """None: claimed or deleted, so the store knows that there is none."""
    version: int = 0
    """Rises with every write but a request for hand-over. Only lease stores keep it."""
    handover_to: str = ""
    fruitless_claims: int = 0
    """Claims since a record was last known to be done; the newest one counts."""
    partition: Partition | None = None
    """What is known of the partition itself; its lineage is here even while there is no checkpoint. Only lease stores keep it."""


def claimed(row: Row | None, partition: Partition, owner: str, epoch: int) -> Row:
    """The row after a claim; every grant given before is refused from here on. One who claims what is its own already, because an answer
    was lost, is no further owner.

    Raises ConfigurationError if the checkpoint belongs to another stream of the same name.
    """
    row = row or Row()
    same_incarnation(row.checkpoint, partition)
    return replace(
        row,
        epoch=max(epoch, row.epoch + 1),
        owner=owner,
        version=row.version + 1,
        handover_to="",  # it was said to the owner before
        fruitless_claims=row.fruitless_claims + (row.owner != owner or not row.fruitless_claims),
        partition=known(row.partition, partition),
    )


def claim_of(row: Row) -> Claim:
    """What the owner of this row is told. Its grant is the epoch."""
    return Claim(row.checkpoint, Grant(row.epoch), row.epoch, max(row.fruitless_claims - 1, 0))


def checked(row: Row | None, partition: Partition, grant: Grant) -> Row:
    """The row itself. Raises FencedError if `grant` is not the newest owner's."""
    held = cast(int, grant) if isinstance(grant, int) else None
    current = row.epoch if row else None
    if row is None or held != current or not row.owner:
        raise FencedError(f"{partition}: epoch {held} was shown, epoch {current} counts", held=held, current=current)
    return row


def saved(row: Row | None, checkpoint: Checkpoint, grant: Grant) -> Row:
    """The row after a save. The very same checkpoint in it means that the stored one says all of this already.

    One without an owner says that the partition is given back in order: its owner has not died, whether it made progress or not.
    Raises FencedError if `grant` is not the newest claim's, CheckpointPositionError if the checkpoint would go back.
    """
    row = checked(row, checkpoint.partition, grant)
    stored = row.checkpoint
    if stored is not None:
        _forward(stored.at, checkpoint)
        if stored.to_text() == checkpoint.to_text():
            return replace(row, version=row.version + 1)  # nothing new, but the owner lives
    fruitless = 0 if _is_progress(stored, checkpoint) or not checkpoint.owner else row.fruitless_claims
    partition = known(row.partition, checkpoint.partition)
    return replace(row, checkpoint=checkpoint, version=row.version + 1, fruitless_claims=fruitless, partition=partition)


def overwritten(row: Row | None, checkpoint: Checkpoint) -> Row:
    """The row after an operator put a checkpoint there: anywhere, and nobody owns it."""
    row = row or Row()
    partition = known(row.partition, checkpoint.partition)
    return Row(row.epoch + 1, checkpoint=checkpoint, version=row.version + 1, partition=partition)


def forgotten(row: Row) -> Row:
    """The row after a delete. The epoch stays and rises, or a grant of long ago would count again."""
    return Row(row.epoch + 1, version=row.version + 1, partition=row.partition)


def known(stored: Partition | None, found: Partition) -> Partition:
    """What is known of a partition now: what `found` does not say stays as it was stored.

    Children are there once its owner has named them, whatever the broker says: then they have leases. A partition of another
    incarnation has nothing in common with what was stored.
    """
    if stored is None or _differ(stored.incarnation, found.incarnation):
        return replace(found, children=(), ended=False)
    return replace(
        found,
        incarnation=found.incarnation or stored.incarnation,
        parents=found.parents or stored.parents,
        children=stored.children,
        key_range=found.key_range or stored.key_range,
        extra=found.extra or stored.extra,
        ended=False,
    )


def same_incarnation(checkpoint: Checkpoint | None, partition: Partition) -> None:
    """Raise ConfigurationError if the checkpoint belongs to another stream of the same name."""
    stored = checkpoint.partition.incarnation if checkpoint else ""
    if _differ(stored, partition.incarnation):
        raise ConfigurationError(
            f"the checkpoint of {partition} belongs to {stored!r}, but the stream is now {partition.incarnation!r}",
            fix="check that this is the right cluster; if the stream was made anew, say where to begin: streamkit checkpoints set …",
        )


def _differ(stored: str, found: str) -> bool:
    return bool(stored and found) and stored != found


def _is_progress(stored: Checkpoint | None, checkpoint: Checkpoint) -> bool:
    """A record is done that was not. That the start was resolved is none: every owner may have died of the first record."""
    return checkpoint.at.kind == "after" and (stored is None or stored.at != checkpoint.at)


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

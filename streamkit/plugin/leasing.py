"""The rules of leases, beyond those of `fencing.py`: who may become the owner of a row, and what its owner may write.

Pure functions like those, from a stored row and a request to the next row. A grant is the epoch: it is the same from the
take to the next change of owner, whatever is renewed or saved in between, so an answer that was lost costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamkit.errors import FencedError
from streamkit.model import Lease, Partition
from streamkit.plugin.fencing import Row, checked, known, same_incarnation
from streamkit.plugin.store import Grant

__all__ = ["created", "handed_over", "is_unchanged", "lease_of", "released", "renewed", "taken", "with_children"]


def lease_of(row: Row, partition: Partition) -> Lease:
    """The row as a listing shows it; `partition` need have no more than its name."""
    found = row.partition or (row.checkpoint.partition if row.checkpoint is not None else None)
    return Lease(
        known(found, partition),
        owner=row.owner,
        epoch=row.epoch,
        version=row.version,
        handover_to=row.handover_to,
        checkpoint=row.checkpoint,
        fruitless_claims=row.fruitless_claims,
    )


def created(lease: Lease) -> Row:
    """A new row: nobody's, with the checkpoint and the lineage of `lease`."""
    return Row(checkpoint=lease.checkpoint, partition=lease.partition)


def is_unchanged(row: Row | None, lease: Lease) -> bool:
    """Nobody has written the row since `lease` was listed, requests for hand-over aside."""
    return row is not None and (row.version, row.owner, row.epoch) == (lease.version, lease.owner, lease.epoch)


def taken(row: Row | None, lease: Lease, owner: str) -> Row:
    """The row after `owner` took it. One who takes what is its own already, because an answer was lost, is no further owner.

    Raises FencedError if it has changed since it was listed, ConfigurationError as a claim does.
    """
    if row is None or not is_unchanged(row, lease):
        current = row.epoch if row else None
        raise FencedError(f"{lease.partition} has changed since epoch {lease.epoch} was listed", held=lease.epoch, current=current)
    same_incarnation(row.checkpoint, lease.partition)
    return replace(
        row,
        epoch=row.epoch + 1,
        owner=owner,
        version=row.version + 1,
        handover_to="",
        fruitless_claims=row.fruitless_claims + (row.owner != owner),
        partition=known(row.partition, lease.partition),
    )


def renewed(row: Row | None, partition: Partition, grant: Grant) -> Row:
    """The row after its owner showed that it lives. Raises FencedError."""
    row = checked(row, partition, grant)
    return replace(row, version=row.version + 1)


def handed_over(row: Row | None, lease: Lease, to: str) -> Row | None:
    """The row after its owner was asked for it, or has refused (`to` empty); None if it is another's by now, or another asks.

    The version stays: a request must not look like a sign of life. A request that is noted already is noted.
    """
    if row is None or (row.owner, row.epoch) != (lease.owner, lease.epoch) or row.handover_to not in (lease.handover_to, to):
        return None
    return replace(row, handover_to=to)


def released(row: Row | None, partition: Partition, grant: Grant) -> Row:
    """The row after its owner gave it back; whom it is kept for stays. The epoch rises, so every grant is refused. Raises FencedError."""
    row = checked(row, partition, grant)
    return replace(row, epoch=row.epoch + 1, owner="", version=row.version + 1, fruitless_claims=0)


def with_children(row: Row | None, partition: Partition, grant: Grant, children: Sequence[str]) -> Row:
    """The row after its owner has named the partitions that go on where this one ended. Raises FencedError."""
    row = checked(row, partition, grant)
    return replace(row, version=row.version + 1, partition=replace(known(row.partition, partition), children=tuple(children)))

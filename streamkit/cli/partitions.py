"""`streamkit partitions`: where each partition stands and why it does not move. Nobody is disturbed: no membership, no claim.

The worker at STREAMKIT_STATUS_ADDRESS knows most about its own partitions; of all others broker and store tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from streamkit.cli.connection import Connection, connect
from streamkit.cli.output import ConfigFile, JsonFlag, examples, print_json, print_table
from streamkit.cli.worker_page import WorkerLine, ask_worker
from streamkit.engine.ownership.lineage import is_gated
from streamkit.engine.ownership.naming import is_another_program, worker_name
from streamkit.engine.parked import still_parked
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition

__all__ = ["EXAMPLES", "PartitionView", "partitions", "views_of"]

EXAMPLES = examples("streamkit partitions", "streamkit partitions --json | jq '[.[].lag] | add'")


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition, as far as its worker, broker and store tell."""

    partition: Partition
    tip: Position | None
    checkpoint: Checkpoint | None
    lag: int | None
    """Positions between checkpoint and tip; None where they are not to be counted."""
    state: str
    """One word; as its worker says, else `ended`, `caught up`, `waiting`, `refused`, `unowned`, `new`, `read` or `behind`."""
    reason: str
    """Why it does not move, or what is odd about it; empty: nothing is known to hold it up."""
    owner: str = ""
    epoch: int | None = None
    parked: int = 0
    """How many keys are parked."""


def partitions(config: ConfigFile = None, as_json: JsonFlag = False) -> None:
    """Show each partition's tip, checkpoint, lag and owner, and why it does not move. Reads metadata only.

    With STREAMKIT_STATUS_ADDRESS the worker there is asked as well: it alone knows of retries, halts and calls that hang.
    """
    with connect(config) as connection:
        members = connection.members()
        worker = ask_worker(connection.settings)
        views = [_as_its_worker_says(view, worker or {}) for view in views_of(connection, members)]
    if as_json:
        print_json([_json(view) for view in views])
        return
    with_lineage = any(view.partition.parents or view.partition.children for view in views)
    columns = (
        "partition",
        *(("parents", "children") if with_lineage else ()),
        "tip",
        "checkpoint",
        "lag",
        "owner",
        "epoch",
        "state",
        "reason",
    )
    print_table(columns, [_row(view, with_lineage) for view in views])
    if members is not None:
        print(f"\ngroup {connection.settings.group}: {members} member{'s' if members != 1 else ''}")


def views_of(connection: Connection, members: int | None) -> list[PartitionView]:
    """All partitions that exist, then those that only a checkpoint remembers."""
    found = connection.partitions()
    tips = connection.tips(found)
    stored = {checkpoint.partition: checkpoint for checkpoint in connection.checkpoints()}
    rows = {lease.partition: lease for lease in connection.leases() or ()}
    countable = not connection.capabilities.lineage  # where partitions split, sequence numbers have gaps of any size
    views = []
    for partition, tip in zip(found, tips, strict=True):
        checkpoint = stored.get(partition)
        lag = _lag(checkpoint, tip) if countable else None
        state, reason = _stands(partition, tip, stored, rows, members, connection.settings.group)
        parked = len(still_parked(checkpoint.parked)) if checkpoint is not None and not checkpoint.at.is_end else 0
        if parked:
            reason = "; ".join(filter(None, (reason, f"{parked} key{'s are' if parked > 1 else ' is'} parked")))
        views.append(_owned(PartitionView(partition, tip, checkpoint, lag, state, reason, parked=parked), rows.get(partition)))
    streams = {partition.stream for partition in found}
    gone = [checkpoint for partition, checkpoint in stored.items() if partition not in found and partition.stream in streams]
    return views + [_owned(_gone(checkpoint), rows.get(checkpoint.partition)) for checkpoint in gone]


def _gone(checkpoint: Checkpoint) -> PartitionView:
    return PartitionView(checkpoint.partition, None, checkpoint, None, "gone", "is not in the stream any more")


def _owned(view: PartitionView, lease: Lease | None) -> PartitionView:
    """The lease says who reads it now, the checkpoint who wrote last."""
    if lease is not None:
        return replace(view, owner=lease.owner, epoch=lease.epoch)
    return view if view.checkpoint is None else replace(view, owner=view.checkpoint.owner, epoch=view.checkpoint.epoch)


def _as_its_worker_says(view: PartitionView, worker: Mapping[Partition, WorkerLine]) -> PartitionView:
    line = worker.get(view.partition)
    if line is None:
        return view
    return replace(
        view,
        state=line.state,
        reason=line.reason,
        owner=line.owner or view.owner,
        epoch=line.epoch or view.epoch,
        parked=line.parked,
    )


def _lag(checkpoint: Checkpoint | None, tip: Position | None) -> int | None:
    if tip is None:
        return 0
    position = checkpoint.at.position if checkpoint is not None else None
    if checkpoint is None or position is None or position.sequence is None or tip.sequence is None:
        return None
    return max(0, tip.sequence - position.sequence + (checkpoint.at.kind == "at"))


def _stands(
    partition: Partition,
    tip: Position | None,
    stored: Mapping[Partition, Checkpoint],
    rows: Mapping[Partition, Lease],
    members: int | None,
    group: str,
) -> tuple[str, str]:
    """State and reason; the strongest first."""
    checkpoint, lease = stored.get(partition), rows.get(partition)
    at = checkpoint.at if checkpoint is not None else None
    if checkpoint is not None and _is_foreign(checkpoint, partition):
        other = checkpoint.partition.incarnation
        return "refused", f"its checkpoint belongs to {other!r}, another stream of that name: workers refuse to start"
    if at is not None and at.is_end:
        return "ended", "ended, and everything of it is done"
    if _is_beyond(at, tip):
        return "refused", "its checkpoint lies beyond the tip: workers halt it"
    if at is not None and _lag(checkpoint, tip) == 0:
        return "caught up", "at its tip"
    waits_for = is_gated(lease, rows) if lease is not None else _unfinished_parents(partition, stored)
    if waits_for and (checkpoint is None or lease is not None):
        return "waiting", f"waits for the end of {', '.join(waits_for)}"
    if members == 0:
        return "unowned", f"group {group} has no member"
    if lease is not None and not lease.owner:
        return "unowned", f"kept for {worker_name(lease.handover_to)}" if lease.handover_to else "no worker holds its lease"
    if lease is not None and is_another_program(lease.owner):
        return "behind", f"{lease.owner} is another program, such as the KCL, or was: stop it, and workers take it after LEASE_DURATION"
    if lease is not None and lease.handover_to:
        return "behind", f"{worker_name(lease.handover_to)} has asked for it"
    if checkpoint is None:
        return "new", "no worker has started on it yet"
    if tip is not None and tip.sequence is None and not tip.is_end:
        return "read", "how far behind it is its worker knows: the broker does not tell its tip"
    return "behind", ""


def _is_foreign(checkpoint: Checkpoint, partition: Partition) -> bool:
    stored, current = checkpoint.partition.incarnation, partition.incarnation
    return bool(stored and current) and stored != current


def _is_beyond(at: StartPosition | None, tip: Position | None) -> bool:
    """Whether records that were there when it was written are not there now. An empty partition may only have been trimmed."""
    if at is None or at.position is None or tip is None or at.position.sequence is None or tip.sequence is None:
        return False
    return at.position.sequence > tip.sequence + (at.kind == "at")


def _unfinished_parents(partition: Partition, stored: Mapping[Partition, Checkpoint]) -> Sequence[str]:
    unfinished = []
    for parent in partition.parents:
        checkpoint = stored.get(Partition(partition.stream, parent))
        if checkpoint is None or not checkpoint.at.is_end:
            unfinished.append(parent)
    return unfinished


def _row(view: PartitionView, with_lineage: bool) -> tuple[str, ...]:
    partition, checkpoint = view.partition, view.checkpoint
    return (
        str(partition),
        *((", ".join(partition.parents), ", ".join(partition.children)) if with_lineage else ()),
        str(view.tip) if view.tip is not None else "-",
        str(checkpoint.at) if checkpoint is not None else "-",
        str(view.lag) if view.lag is not None else "-",
        worker_name(view.owner) or "-",
        str(view.epoch) if view.epoch else "-",
        view.state,
        view.reason,
    )


def _json(view: PartitionView) -> dict[str, object]:
    partition, checkpoint = view.partition, view.checkpoint
    return {
        "stream": partition.stream,
        "partition": partition.id,
        "parents": list(partition.parents),
        "children": list(partition.children),
        "ended": partition.ended,
        "tip": str(view.tip) if view.tip is not None else None,
        "checkpoint": str(checkpoint.at) if checkpoint is not None else None,
        "lag": view.lag,
        "owner": view.owner or None,
        "epoch": view.epoch,
        "state": view.state,
        "reason": view.reason,
        "parked": view.parked,
    }

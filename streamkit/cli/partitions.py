"""`streamkit partitions`: where each partition stands, seen from outside. Nobody is disturbed: no membership, no claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamkit.cli.connection import Connection, connect
from streamkit.cli.output import ConfigFile, JsonFlag, examples, print_json, print_table
from streamkit.model import Checkpoint, Partition, Position, StartPosition

__all__ = ["EXAMPLES", "PartitionView", "partitions", "views_of"]

EXAMPLES = examples("streamkit partitions", "streamkit partitions --json | jq '[.[].lag] | add'")


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One partition, as far as broker and store tell."""

    partition: Partition
    tip: Position | None
    checkpoint: Checkpoint | None
    lag: int | None
    """Positions between checkpoint and tip; None where they are not to be counted."""
    note: str
    """Why it does not move, or what is odd about it; empty: nothing is known to hold it up."""


def partitions(config: ConfigFile = None, as_json: JsonFlag = False) -> None:
    """Show each partition's tip, checkpoint, lag and owner, and why it does not move. Reads metadata only."""
    with connect(config) as connection:
        views = views_of(connection)
        members = connection.members()
    if as_json:
        print_json([_json(view) for view in views])
        return
    with_lineage = any(view.partition.parents or view.partition.children for view in views)
    columns = ("partition", *(("parents", "children") if with_lineage else ()), "tip", "checkpoint", "lag", "owner", "note")
    print_table(columns, [_row(view, with_lineage) for view in views])
    if members is not None:
        print(f"\ngroup {connection.settings.group}: {members} member{'s' if members != 1 else ''}")


def views_of(connection: Connection) -> list[PartitionView]:
    """All partitions that exist, then those that only a checkpoint remembers."""
    found = connection.partitions()
    tips = connection.tips(found)
    stored = {checkpoint.partition: checkpoint for checkpoint in connection.checkpoints()}
    members = connection.members()
    countable = not connection.capabilities.lineage  # where partitions split, sequence numbers have gaps of any size
    views = []
    for partition, tip in zip(found, tips, strict=True):
        checkpoint = stored.get(partition)
        lag = _lag(checkpoint, tip) if countable else None
        note = _note(partition, tip, stored, members, connection.settings.group)
        views.append(PartitionView(partition, tip, checkpoint, lag, note))
    streams = {partition.stream for partition in found}
    gone = [checkpoint for partition, checkpoint in stored.items() if partition not in found and partition.stream in streams]
    return views + [PartitionView(checkpoint.partition, None, checkpoint, None, "is not in the stream any more") for checkpoint in gone]


def _lag(checkpoint: Checkpoint | None, tip: Position | None) -> int | None:
    if tip is None:
        return 0
    position = checkpoint.at.position if checkpoint is not None else None
    if checkpoint is None or position is None or position.sequence is None or tip.sequence is None:
        return None
    return max(0, tip.sequence - position.sequence + (checkpoint.at.kind == "at"))


def _note(partition: Partition, tip: Position | None, stored: Mapping[Partition, Checkpoint], members: int | None, group: str) -> str:
    """The strongest reason first."""
    checkpoint = stored.get(partition)
    at = checkpoint.at if checkpoint is not None else None
    if checkpoint is not None and _is_foreign(checkpoint, partition):
        return f"its checkpoint belongs to {checkpoint.partition.incarnation!r}, another stream of that name: workers refuse to start"
    if at is not None and at.is_end:
        return "ended, and everything of it is done"
    if _is_beyond(at, tip):
        return "its checkpoint lies beyond the tip: workers halt it"
    if at is not None and _lag(checkpoint, tip) == 0:
        return "at its tip"
    waits_for = _unfinished_parents(partition, stored)
    if waits_for and checkpoint is None:
        return f"waits for the end of {', '.join(waits_for)}"
    if members == 0:
        return f"group {group} has no member"
    if checkpoint is None:
        return "no worker has started on it yet"
    return ""


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
        (checkpoint.owner if checkpoint is not None else "") or "-",
        view.note,
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
        "owner": checkpoint.owner if checkpoint is not None else None,
        "epoch": checkpoint.epoch if checkpoint is not None else None,
        "note": view.note,
    }

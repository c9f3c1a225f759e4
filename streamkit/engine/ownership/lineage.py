"""Which leases there should be when partitions split and merge, and in which order they may be read. Pure: no store, no clock.

Lease ownership calls these. The frontier is what has to be read next: for each hash key the oldest partition that is still to
be done. Only the frontier has leases made for it from listings; whoever ends a partition makes those of its children.

Writes at an end, each one only when the one before has succeeded; whoever owns the partition next repeats them after a crash:

1. `store.create(children_of(parent, children, rows))`, with rows that were listed since the parent was taken;
2. `store.name_children(partition, grant, ids)`, with the ids of *all* children, also those of which no lease was made;
3. `store.save` of END; only then is a child without other parents free to be taken.

A plan is as old as the rows that it was made from. List the rows first and the partitions after them, and throw a plan away
after a longer pause (a suspended process): by then its leases may have been made, finished and removed by others.
A worker's first leases are those of rows about which `to_create` has said that nothing is missing: so a first start that died
half way is completed before any partition of it is read.

The rules are those of the Kinesis Client Library's hierarchical shard sync
(https://github.com/awslabs/amazon-kinesis-client), except where a method says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from streamkit.engine.ownership.family import Family, in_words, inconsistent, uncovered
from streamkit.model import Checkpoint, Lease, Partition, StartPosition

__all__ = ["children_of", "holes", "is_gated", "to_create", "to_read", "to_remove"]


def to_create(
    start: StartPosition,
    at_start: Sequence[Partition],
    everything: Sequence[Partition],
    rows: Sequence[Lease],
) -> list[Lease]:
    """The leases to add: the generation for `start` if a stream has none yet, later what is missing of the frontier.

    `at_start` is what the broker discovers for `start`, `everything` what it discovers for EARLIEST. A lease without a
    checkpoint begins at `start`, as of the group's first start. One that descends from a leased partition, or that was found
    after the group had begun, begins at EARLIEST, and says so in its checkpoint. What lies behind a lease is never created:
    it was finished and removed, or is before `start`.

    Raises BrokerUnavailableError (retryable) if the listing has a hole or contradicts itself: then nothing may be created.
    """
    listed = _by_stream([*everything, *at_start])
    if not listed:
        raise inconsistent("the broker has listed no partitions")
    started_at = _by_stream(at_start)
    return [lease for stream in listed for lease in _missing(stream, start, started_at.get(stream, []), listed[stream], rows)]


def _missing(stream: str, start: StartPosition, at_start: list[Partition], listed: list[Partition], rows: Sequence[Lease]) -> list[Lease]:
    ours = {row.partition.id: row for row in rows if row.partition.stream == stream}
    family = Family(stream, listed, ours.values())
    family.check()
    history = _History.of(stream, rows)
    # Records may have been written to a stream that a running group has only just found: nothing of it is skipped. It stays new
    # until somebody has begun to read it, so that a creation that died half way goes on with the same generation.
    is_new_stream = start == StartPosition.LATEST and history.has_begun and all(_is_at_earliest(row) for row in ours.values())
    base = {partition.id for partition in (listed if is_new_stream else at_start)}
    ended = {member for member, row in ours.items() if row.is_ended}
    between = _between(family, ours.keys(), ended)
    ahead = _ahead(family, base, ours.keys(), ended, between)
    frontier = [member for member in family.members if member in ahead and not any(p in ahead for p in family.parents(member))]
    _refuse_holes(family, ahead if ours else frontier)
    _refuse_overlaps(family, [member for member in frontier if member not in ours], ours.keys() - ended)
    return [
        Lease(
            replace(family.members[member], children=(), ended=False),
            checkpoint=_first_checkpoint(family, member, ours, history, is_new_stream),
        )
        for member in [*frontier, *sorted(between)]
        if member not in ours
    ]


def to_read(at_start: Sequence[Partition], everything: Sequence[Partition], rows: Sequence[Lease]) -> set[Partition]:
    """All that a group has to read, now or when parents have ended, by the rules of `to_create`; for owners that keep no leases.

    `rows` are its checkpoints. It refuses nothing: what is not listed now is found with the next start.
    """
    listed = _by_stream([*everything, *at_start])
    found = set(at_start) | {row.partition for row in rows}
    for stream, partitions in listed.items():
        ours = {row.partition.id: row for row in rows if row.partition.stream == stream}
        family = Family(stream, partitions, ours.values())
        ended = {member for member, row in ours.items() if row.is_ended}
        base = {partition.id for partition in at_start if partition.stream == stream}
        ahead = _ahead(family, base, ours.keys(), ended, _between(family, ours.keys(), ended))
        found.update(family.members[member] for member in ahead)
    return found


def _between(family: Family, leased: Set[str], ended: Set[str]) -> set[str]:
    """What has no lease, and lies between an older one that has not ended and a younger one.

    It is not behind the younger one, and cannot have been read. Without a lease it would not hold up the younger one. That happens
    when two workers have listed the partitions of a first start at different moments.
    """
    below = family.descendants(leased - ended, family.members.keys() - ended)
    return (family.ancestors(leased) & below) - leased


def _ahead(family: Family, base: Set[str], leased: Set[str], ended: Set[str], between: Set[str]) -> set[str]:
    """All that has still to be read: what the start wants, what has a lease, and all that descends from them."""
    behind = ended | (family.ancestors(leased) - leased - between)
    left = family.members.keys() - behind
    named = {child for member in ended for child in family.children(member)}
    ahead = family.descendants(base | leased | named, left)
    while True:
        # The other parent of a merge closed at the same moment: where one of them is read, both are. From LATEST or a time it
        # may not be listed by itself, because it has no record after that.
        others = {
            parent
            for member in ahead
            if any(parent in ahead or parent in ended for parent in family.parents(member))
            for parent in family.parents(member)
            if parent in left and parent not in ahead
        }
        if not others:
            return ahead
        ahead |= family.descendants(others, left)


def _refuse_holes(family: Family, covering: Iterable[str]) -> None:
    if gaps := uncovered(family.ranges(covering)):
        raise inconsistent(f"{family.stream}: no partition is listed for the hash keys {in_words(gaps)}")


def _refuse_overlaps(family: Family, new: Sequence[str], unfinished: Iterable[str]) -> None:
    """Two of the frontier have no keys in common, or the listing lacks what connects them: one may have been finished long ago."""
    held = [(key_range, member) for member in unfinished if (key_range := family.members[member].key_range) is not None]
    for member in new:
        own = family.members[member].key_range
        for (low, high), other in held:
            if own is not None and low <= own[1] and own[0] <= high:
                raise inconsistent(f"{family.stream}: {member} is listed with hash keys of {other}, and nothing that connects them")


@dataclass(frozen=True, slots=True)
class _History:
    """What the group remembers of its first start, to be handed on."""

    has_begun: bool
    """Somebody has taken a lease, of any stream: the first start is complete, and what is missing now is new."""
    has_begun_here: bool
    started: datetime | None
    partitions: int | None

    @classmethod
    def of(cls, stream: str, rows: Sequence[Lease]) -> _History:
        here = [row for row in rows if row.partition.stream == stream]
        times = (row.checkpoint.group_started for row in rows if row.checkpoint is not None)
        counts = (row.checkpoint.partitions_at_start for row in here if row.checkpoint is not None)
        return cls(
            any(_was_taken(row) for row in rows),
            any(_was_taken(row) for row in here),
            min((time for time in times if time is not None), default=None),
            min((count for count in counts if count is not None), default=None),
        )

    def counts(self, partition: str) -> bool:
        """Whether the number of a partition without lineage says that it was there at the group's first start."""
        return self.partitions is not None and partition.isdigit() and int(partition) < self.partitions


def _first_checkpoint(family: Family, member: str, ours: Mapping[str, Lease], history: _History, is_new_stream: bool) -> Checkpoint | None:
    partition = family.members[member]
    descends = any(ancestor in ours for ancestor in family.ancestors([member]))
    is_alone = not partition.parents and partition.key_range is None  # a broker without lineage can only have added it
    if not (descends or is_new_stream or (is_alone and history.has_begun_here and not history.counts(member))):
        return None
    return Checkpoint(
        replace(partition, children=(), ended=False),
        StartPosition.EARLIEST,
        partitions_at_start=history.partitions,
        group_started=history.started,
    )


def is_gated(lease: Lease, rows: Mapping[Partition, Lease]) -> tuple[str, ...]:
    """The ids of the parents that must end first; empty: it may be taken.

    A parent without a row does not gate: it was removed, or has expired, or lies before the start.
    """
    stream = lease.partition.stream
    found = ((parent, rows.get(Partition(stream, parent))) for parent in lease.partition.parents)
    return tuple(parent for parent, row in found if row is not None and not row.is_ended)


def children_of(parent: Lease, children: Sequence[Partition], rows: Iterable[Lease]) -> list[Lease]:
    """The leases to add when `parent` has ended: all its children that have none and whose other parents have one.

    They begin at EARLIEST, whatever the configured start is: with LATEST, what was written between the split and their first
    claim would be skipped.
    A merge's child whose other parent has no lease yet is left to that one's end: `is_gated` knows a parent by its row alone,
    and would let the child go first. If the other parent has expired, the next `to_create` adds the child. (The Kinesis Client
    Library keeps the parent from ending instead.)

    Raises BrokerUnavailableError (retryable) if children are missing: a false end would lose all that they hold.
    """
    own = parent.partition
    if own.key_range is not None and (gaps := uncovered([child.key_range for child in children], own.key_range)):
        raise inconsistent(f"{own} has ended without a child for its hash keys {in_words(gaps)}")
    known = {row.partition for row in rows} | {own}
    stored = parent.checkpoint
    created = []
    for child in dict.fromkeys(children):
        parents = child.parents if own.id in child.parents else (own.id, *child.parents)
        if child in known or any(Partition(own.stream, other) not in known for other in parents):
            continue
        partition = replace(child, parents=parents, children=(), ended=False)
        checkpoint = Checkpoint(
            partition,
            StartPosition.EARLIEST,
            partitions_at_start=stored.partitions_at_start if stored is not None else None,
            group_started=stored.group_started if stored is not None else None,
        )
        created.append(Lease(partition, checkpoint=checkpoint))
    return created


def to_remove(rows: Sequence[Lease]) -> list[Lease]:
    """Ended leases that nothing needs any more: all their children have leases that have begun, and their own parents are gone.

    So a lease is always left between what was removed and what a listing still shows of it, and `to_create` never makes it anew.
    One whose children were never named stays.
    """
    known = {row.partition: row for row in rows}

    def is_done_with(row: Lease) -> bool:
        stream = row.partition.stream
        children = [known.get(Partition(stream, child)) for child in row.partition.children]
        return (
            row.is_ended
            and bool(children)
            and all(child is not None and _has_begun(child) for child in children)
            and not any(Partition(stream, parent) in known for parent in row.partition.parents)
        )

    return [row for row in rows if is_done_with(row)]


def _has_begun(lease: Lease) -> bool:
    """It stands at a record, no longer at the start that it was created with."""
    return lease.checkpoint is not None and lease.checkpoint.at.position is not None


def _is_at_earliest(lease: Lease) -> bool:
    return lease.checkpoint is not None and lease.checkpoint.at == StartPosition.EARLIEST


def _was_taken(lease: Lease) -> bool:
    return lease.epoch > 0 or (lease.checkpoint is not None and lease.checkpoint.at.kind == "after")


def holes(partitions: Iterable[Partition]) -> list[tuple[int, int]]:
    """The hash keys, first and last, that no open partition of a stream has; those that have ended are passed over.

    Of leases, give the partitions of the unfinished ones. Empty where partitions have no ranges. While one parent of a merge
    waits for the other, its keys are in a hole that closes by itself: what stays for longer than that is an error.
    """
    return [
        gap
        for members in _by_stream(partitions).values()
        if (ranges := [partition.key_range for partition in members if not partition.ended])
        for gap in uncovered(ranges)
    ]


def _by_stream(partitions: Iterable[Partition]) -> dict[str, list[Partition]]:
    streams: dict[str, list[Partition]] = {}
    for partition in partitions:
        streams.setdefault(partition.stream, []).append(partition)
    return streams

"""Which leases to take, to ask for, to refuse and to give up, so that all workers end up level. Pure: time is passed in.

No worker leads. Each looks at the same rows and decides about itself alone; where two decide the same, the store lets one
of them. What is said here once holds for all: a free lease belongs to the worker whose target has room for it, by rank; a
lease that is owned moves only when its owner has two more than whoever asks; so level within one never moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from streamkit.engine.ownership.observation import Limits, Observation
from streamkit.model import Lease, Partition

__all__ = ["Decisions", "View", "decide"]

LEFT_OVER_POLLS = 3
"""What has been free for so long is not wanted by those whose share it is: they are at their MAX_PARTITIONS."""


@dataclass(frozen=True, slots=True)
class View:
    """What one worker knows when it decides."""

    rows: Sequence[Lease]
    seen: Mapping[Partition, Observation]
    me: str
    now: float
    limits: Limits
    held: Collection[Partition] = ()
    """What is ours here, not only by the rows."""
    giving: Collection[Partition] = ()
    """Those of them that are being handed over."""
    gated: Collection[Partition] = ()
    """Their parents have not ended."""
    busy: Collection[Partition] = ()
    """Not for us just now: an earlier call still runs here, or the release is under way."""
    unaskable: Collection[str] = ()
    """Owners that are other programs: they never answer."""
    is_announced: bool = True
    """The rows name us: as an owner, or as one who has asked."""
    is_known: bool = True
    """They have for a poll, so that all who began with us can have seen it."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What to do about the rows of a `View`."""

    take: tuple[Lease, ...] = ()
    force: tuple[Lease, ...] = ()
    """Taken although their owner lives: it has not answered in time."""
    ask: tuple[Lease, ...] = ()
    refuse: tuple[Lease, ...] = ()
    give: tuple[Lease, ...] = ()


@dataclass(slots=True)
class _Table:
    """The rows, sorted by what they are to us."""

    load: Counter[str] = field(default_factory=Counter)
    """How many each worker has once everything that is asked for, or kept for it, has moved."""
    owned: dict[str, list[Lease]] = field(default_factory=dict)
    """By living owners, ourselves included."""
    free: list[Lease] = field(default_factory=list)
    """For anybody."""
    ours: list[Lease] = field(default_factory=list)
    """For us alone: kept for us, or taken by us and the answer was lost."""
    leaving: set[str] = field(default_factory=set)
    """Workers that have just given leases back: they want none, although they may have some for as long as they drain."""
    count: int = 0
    """All that somebody must read now."""


def decide(view: View) -> Decisions:
    """What this worker does now."""
    table = _table(view)
    give, refuse = _answers(view, table)
    for lease in refuse:
        table.load[lease.handover_to] -= 1
        table.load[view.me] += 1
    room = _room(view)
    force = _overdue(view, table)[:room]
    take = table.ours[: room - len(force)]
    room -= len(force) + len(take)
    if not view.is_known:
        if not view.is_announced and not take and not force:
            asks = () if table.free else _asks(view, table, 0, min(1, room))
            return Decisions(_one(view, table, room), (), asks, refuse, give)
        return Decisions(tuple(take), tuple(force), (), refuse, give)
    share = [lease for lease in _share(view, table)[:room] if lease.partition not in view.busy]
    asks = _asks(view, table, len(share), room - len(share))
    return Decisions((*take, *share), tuple(force), asks, refuse, give)


def _table(view: View) -> _Table:
    table = _Table(Counter({view.me: 0}))
    for lease in sorted(view.rows, key=_by_number):
        if lease.is_ended or lease.partition in view.gated:
            continue
        table.count += 1
        seen = view.seen[lease.partition]
        to = lease.handover_to
        if lease.owner and (not seen.is_expired(view.now, view.limits) or lease.partition in view.held):
            table.load[lease.owner] += 0  # a worker, even if all that it has is about to move
            table.load[to or lease.owner] += 1
            if lease.owner != view.me or lease.partition in view.held:
                table.owned.setdefault(lease.owner, []).append(lease)
            elif lease.partition not in view.busy:
                table.ours.append(lease)
        elif not lease.owner and to and not seen.is_expired(view.now, view.limits):
            table.load[to] += 1
            if to == view.me and lease.partition not in view.busy:
                table.ours.append(lease)
        else:
            table.free.append(lease)
            table.leaving.add(seen.freed_by)
    table.leaving -= {view.me}
    return table


def _room(view: View) -> int:
    """How many more we may take."""
    most = view.limits.max_partitions
    return len(view.rows) if most is None else max(0, most - len(view.held))


def _one(view: View, table: _Table, room: int) -> tuple[Lease, ...]:
    """A first lease announces us, as a first request does where none is free: with only a part of the others in sight our share would
    seem too large. Which one is by chance, or all who begin together would want the same."""
    free = [lease for lease in table.free if lease.partition not in view.busy]
    return (free[crc32(view.me.encode()) % len(free)],) if free and room else ()


def _share(view: View, table: _Table) -> list[Lease]:
    """Of the free leases our slice: those before us in rank have theirs, so nobody else takes ours. And what nobody has taken."""
    workers = sorted(table.load)
    rank = workers.index(view.me)
    wants = _wants(table)
    before = sum(wants[w] for w in workers[:rank])
    after = before + wants[view.me]
    old = view.limits.poll_seconds * LEFT_OVER_POLLS
    left_over = [lease for lease in table.free[:before] + table.free[after:] if _free_seconds(view, lease) >= old]
    return table.free[before:after] + [
        lease for place, lease in enumerate(left_over) if place % len(workers) == rank or _free_seconds(view, lease) >= 2 * old
    ]


def _wants(table: _Table) -> dict[str, int]:
    """How many more each would have if all were level; those who have most anyway keep the odd ones."""
    staying = [worker for worker in table.load if worker not in table.leaving]
    base, more = divmod(table.count, len(staying))
    fullest = sorted(staying, key=lambda w: (-table.load[w], w))
    wants = {w: max(0, base + (place < more) - table.load[w]) for place, w in enumerate(fullest)}
    return {worker: wants.get(worker, 0) for worker in table.load}


def _free_seconds(view: View, lease: Lease) -> float:
    """For how long anybody could have taken it."""
    since = view.seen[lease.partition].since
    return view.now - since - (view.limits.lease_seconds if lease.owner or lease.handover_to else 0.0)


def _asks(view: View, table: _Table, gained: int, room: int) -> tuple[Lease, ...]:
    """Ask the fullest for one, again and again, while it has two more than we would have. Beyond our share one at a time: others have
    asked as well, or cannot take theirs, and the next listing will tell."""
    load = table.load.copy()
    mine = load[view.me] + gained
    room = min(room, max(1, _wants(table)[view.me] - gained))
    askable = {
        worker: [lease for lease in leases if not lease.handover_to and lease.partition not in view.busy]
        for worker, leases in table.owned.items()
        if worker != view.me and worker not in view.unaskable
    }
    asked: list[Lease] = []
    while len(asked) < room:
        victims = [worker for worker, leases in askable.items() if leases and load[worker] - mine >= 2]
        if not victims:
            break
        victim = max(victims, key=lambda w: (load[w], w))
        leases = askable[victim]
        asked.append(leases.pop(crc32(view.me.encode()) % len(leases)))  # others ask the same one at the same time: not for the same
        load[victim] -= 1
        mine += 1
    return tuple(asked)


def _answers(view: View, table: _Table) -> tuple[tuple[Lease, ...], tuple[Lease, ...]]:
    """What we are asked for: given while that makes things more even, by the rule that the one who asks has followed."""
    owned = table.owned.get(view.me, ())
    asked = [lease for lease in owned if lease.handover_to not in ("", view.me) and lease.partition not in view.giving]
    mine = len(view.held) - len(view.giving)
    theirs = table.load.copy()
    for lease in asked:
        theirs[lease.handover_to] -= 1  # counted as moved; not yet
    give, refuse = [], []
    for lease in asked:
        if mine - theirs[lease.handover_to] >= 2:
            give.append(lease)
            mine -= 1
            theirs[lease.handover_to] += 1
        else:
            refuse.append(lease)
    return tuple(give), tuple(refuse)


def _overdue(view: View, table: _Table) -> list[Lease]:
    """What we have asked for and the owner, although alive, has neither given nor refused."""
    late = view.limits.handover_seconds + 2 * view.limits.poll_seconds  # it sees the request a poll late, and so do we its answer
    return [
        lease
        for worker, leases in table.owned.items()
        if worker != view.me
        for lease in leases
        if lease.handover_to == view.me and lease.partition not in view.busy and view.now - view.seen[lease.partition].asked_since >= late
    ]


def _by_number(lease: Lease) -> tuple[str, int, str]:
    """The order of people, the same for all workers: 9 before 10."""
    return (lease.partition.stream, len(lease.partition.id), lease.partition.id)

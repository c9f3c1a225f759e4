"""Leases as vmware-go-kcl (both versions) and gokini keep them, for import alone. Pure.

| | key | position | closed | alive |
|---|---|---|---|---|
| vmware-go-kcl | ShardID | Checkpoint, absent before the first one | Checkpoint SHARD_END | AssignedTo until LeaseTimeout |
| gokini | ShardID | SequenceID, likewise | Closed; SequenceID stays | the same |

Neither keeps sub-sequences, hash keys, or the second parent of a merge: the broker's own listing knows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit_dynamodb.answers import Item
from streamkit_dynamodb.positions import SHARD_END, position_of

__all__ = ["GO_KEY", "GoRow", "go_row", "go_sign"]

GO_KEY = "ShardID"
_OWNER, _UNTIL = "AssignedTo", "LeaseTimeout"
_VMWARE, _GOKINI, _CLOSED = "Checkpoint", "SequenceID", "Closed"
_PARENTS = ("ParentShardId", "ParentShardID")
_KNOWN = {GO_KEY, _OWNER, _UNTIL, _VMWARE, _GOKINI, _CLOSED, *_PARENTS, "ClaimRequest"}
_FRACTION = re.compile(r"\.(\d{6})\d+")


@dataclass(frozen=True, slots=True)
class GoRow:
    """What a lease says."""

    shard: str
    start: StartPosition | None
    """None: nothing was ever checkpointed."""
    parents: tuple[str, ...]
    owner: str
    until: datetime | None
    unknown: frozenset[str]

    def checkpoint(self, partition: Partition) -> Checkpoint:
        """Without one of its own it begins at EARLIEST: where the application was told to begin is not in the table, and nothing is
        skipped so."""
        return Checkpoint(partition, self.start or StartPosition.EARLIEST)


def go_sign(item: Item) -> str:
    """What changes while a worker lives."""
    return ", ".join(str(next(iter(item[column].values()))) for column in (_OWNER, _UNTIL, _VMWARE, _GOKINI) if column in item)


def go_row(item: Item, table: str) -> GoRow:
    """Raises ConfigurationError for a row that cannot be understood."""
    shard = str(item.get(GO_KEY, {}).get("S", ""))
    try:
        if not shard.startswith("shardId-"):
            raise ValueError("its ShardID is no shard's id")
        return GoRow(
            shard,
            _start(item),
            tuple(item[column]["S"] for column in _PARENTS if item.get(column, {}).get("S")),
            owner=str(item.get(_OWNER, {}).get("S", "")),
            until=_time(item[_UNTIL]["S"]) if item.get(_UNTIL, {}).get("S") else None,
            unknown=frozenset(item.keys() - _KNOWN),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{table}: the row {shard!r} cannot be understood: {error}",
            fix="nothing was changed; mend the row, or take it out, if you know that it is not needed",
        ) from None


def _start(item: Item) -> StartPosition | None:
    if _VMWARE in item and _GOKINI in item:
        raise ValueError(f"it has both {_VMWARE} and {_GOKINI}")
    if item.get(_CLOSED, {}).get("BOOL"):
        return StartPosition.END
    name = item.get(_VMWARE, item.get(_GOKINI, {})).get("S", "")
    if not name:
        return None
    if name == SHARD_END:
        return StartPosition.END
    return StartPosition.after(position_of(name, 0))


def _time(text: str) -> datetime:
    """RFC 3339 with 0 to 9 digits of a second. Raises ValueError."""
    time = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    if time.tzinfo is None:
        raise ValueError(f"{_UNTIL} {text!r} has no time zone")
    return time.astimezone(UTC)

"""Leases as KCL 1, 2 and 3 keep them, for import and export: one item, one checkpoint. Pure.

Unlike `rows.py`, which lives in such a table, this knows no column of streamkit's, and takes nothing for granted: what cannot be
understood is an error that names the row. Columns: https://github.com/awslabs/amazon-kinesis-client, its DynamoDBLeaseSerializer.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace

from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit_dynamodb.answers import Item
from streamkit_dynamodb.keys import MultiKey
from streamkit_dynamodb.positions import AT_TIMESTAMP, TRIM_HORIZON, pending_place, place_of, position_of, start_of
from streamkit_dynamodb.rows import (
    CHECKPOINT,
    CHECKPOINT_OWNER,
    CHILDREN,
    COUNTER,
    ENTITY,
    HIGH,
    KEY,
    LEASE,
    LOW,
    OWNER,
    PARENTS,
    PENDING,
    PENDING_STATE,
    PENDING_SUB,
    SHARD,
    STREAM,
    SUB,
    SWITCHES,
)

__all__ = ["KclRow", "is_lease", "item_of", "lease_of_item", "says_less", "sign_of"]

_MEANT = {CHECKPOINT, SUB, PENDING, PENDING_SUB, PENDING_STATE, PARENTS, CHILDREN, LOW, HIGH, KEY, STREAM, SHARD}
_LEFT = {OWNER, COUNTER, SWITCHES, CHECKPOINT_OWNER, ENTITY, "throughputKBps"}
"""What counts only while its workers live."""


@dataclass(frozen=True, slots=True)
class KclRow:
    """What a lease says."""

    name: MultiKey | str
    """Of several streams, or a shard's id alone."""
    start: StartPosition | None
    """None: where the application was told to begin, at a time that is not in the table."""
    pending: Position | None
    pending_state: bytes
    parents: tuple[str, ...]
    children: tuple[str, ...]
    key_range: tuple[int, int] | None
    unknown: frozenset[str]
    """Columns that mean nothing to us."""

    def checkpoint(self, partition: Partition, start: StartPosition) -> Checkpoint:
        """Of `partition`, as far as it is known already; `start` in place of a time that the row does not have."""
        known = replace(
            partition,
            parents=partition.parents or self.parents,
            children=self.children or partition.children,
            key_range=partition.key_range or self.key_range,
        )
        return Checkpoint(known, self.start or start, pending=self.pending, pending_state=self.pending_state)


def is_lease(item: Item) -> bool:
    """KCL 3 keeps metrics of its workers and its leader among the leases."""
    return ENTITY not in item or item[ENTITY].get("S") == LEASE


def sign_of(item: Item) -> str:
    """What changes while a worker lives."""
    if not is_lease(item):
        return repr(sorted(item.items()))
    owner = item.get(OWNER, {}).get("S") or "nobody"
    return f"{owner}, counter {item.get(COUNTER, {}).get('N', '-')}"


def lease_of_item(item: Item, table: str) -> KclRow:
    """Raises ConfigurationError for a row that cannot be understood."""
    key = str(item.get(KEY, {}).get("S", ""))
    try:
        multi = MultiKey.parse(key)
        shard = multi.shard if multi is not None else key
        if not shard.startswith("shardId-"):
            raise ValueError(f"{key!r} is neither a shard's id nor account:stream:creation:shard")
        return KclRow(
            multi or key,
            _start(item),
            _pending(item),
            _state(item),
            parents=tuple(sorted(item[PARENTS]["SS"])) if PARENTS in item else (),
            children=tuple(sorted(item[CHILDREN]["SS"])) if CHILDREN in item else (),
            key_range=(int(item[LOW]["S"]), int(item[HIGH]["S"])) if LOW in item and HIGH in item else None,
            unknown=frozenset(item.keys() - _MEANT - _LEFT),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigurationError(
            f"{table}: the row {key!r} cannot be understood: {what}",
            fix="nothing was changed; mend the row, or take it out, if you know that it is not needed",
        ) from None


def _start(item: Item) -> StartPosition | None:
    name, sub = item[CHECKPOINT]["S"], int(item.get(SUB, {"N": "0"})["N"])
    return None if name == AT_TIMESTAMP else start_of((name, sub))


def _pending(item: Item) -> Position | None:
    if PENDING not in item:
        return None
    return position_of(item[PENDING]["S"], int(item.get(PENDING_SUB, {"N": "0"})["N"]))


def _state(item: Item) -> bytes:
    """KCL writes a number here when it creates a row: that is no state."""
    state = item.get(PENDING_STATE, {}).get("B", b"")
    return base64.b64decode(state, validate=True) if isinstance(state, str) else bytes(state)


def item_of(key: str, lease: Lease) -> Item:
    """A row that belongs to nobody. KCL 3.1.3 stops altogether at a row without `ownerSwitchesSinceCheckpoint`."""
    checkpoint, partition = lease.checkpoint, lease.partition
    name, sub = place_of(checkpoint.at if checkpoint is not None else None)
    item: Item = {
        KEY: {"S": key},
        CHECKPOINT: {"S": name},
        SUB: {"N": str(sub)},
        COUNTER: {"N": "0"},
        SWITCHES: {"N": "0"},
    }
    if partition.parents:
        item[PARENTS] = {"SS": sorted(set(partition.parents))}
    if partition.children:
        item[CHILDREN] = {"SS": sorted(set(partition.children))}
    if partition.key_range is not None:
        item |= {LOW: {"S": str(partition.key_range[0])}, HIGH: {"S": str(partition.key_range[1])}}
    if (multi := MultiKey.parse(key)) is not None:
        item |= {STREAM: {"S": multi.identifier}, SHARD: {"S": multi.shard}}
    if checkpoint is not None and checkpoint.pending is not None and (place := pending_place(checkpoint.pending)):
        item |= {PENDING: {"S": place[0]}, PENDING_SUB: {"N": str(place[1])}}
        if checkpoint.pending_state:
            item[PENDING_STATE] = {"B": checkpoint.pending_state}
    return item


def says_less(item: Item, checkpoint: Checkpoint | None) -> bool:
    """KCL will begin before the place that is meant, because it has no word for it."""
    return item[CHECKPOINT]["S"] == TRIM_HORIZON and (checkpoint is None or checkpoint.at != StartPosition.EARLIEST)

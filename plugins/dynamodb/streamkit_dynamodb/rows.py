"""Rows of the table: items in the columns of the KCL 2 and a few of ours, to `fencing.Row` and back. Pure.

Columns of the KCL mean what they mean to it, with one counter: `leaseCounter` is our version, and what a take or claim makes of
it is the epoch. Columns of ours (names begin with `streamkit`) hold what the KCL has no word for; it neither reads nor
removes them. Where its columns differ from what we wrote beside ours, it has gone on since, and its columns count.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import fencing
from streamkit_dynamodb.answers import Item
from streamkit_dynamodb.keys import MultiKey, Names, is_same_stream
from streamkit_dynamodb.positions import AT_TIMESTAMP, LATEST, Place, pending_place, place_of, position_of, start_of

__all__ = [
    "CHECKPOINT_OWNER",
    "COUNTER",
    "GRANT",
    "HANDOVER",
    "HELD_BY_ANOTHER",
    "KEY",
    "MANAGED",
    "NEVER_CHECKPOINTED",
    "OWNER",
    "REQUEST",
    "SWITCHES",
    "TIME_IS_ELSEWHERE",
    "Rows",
    "Stored",
    "changed",
    "everything",
    "grant_text",
    "moved",
]

KEY, OWNER, COUNTER, SWITCHES = "leaseKey", "leaseOwner", "leaseCounter", "ownerSwitchesSinceCheckpoint"
CHECKPOINT, SUB = "checkpoint", "checkpointSubSequenceNumber"
PENDING, PENDING_SUB, PENDING_STATE = "pendingCheckpoint", "pendingCheckpointSubSequenceNumber", "pendingCheckpointState"
PARENTS, CHILDREN, LOW, HIGH = "parentShardId", "childShardIds", "startingHashKey", "endingHashKey"
STREAM, SHARD = "streamName", "shardId"
CHECKPOINT_OWNER = "checkpointOwner"
ENTITY, LEASE = "entityType", "LEASE"

GRANT = "streamkitGrant"
"""`<epoch>/<owner>/<chance>`: whose writes are taken. The last part tells claims of two processes with one name apart.

Without an owner it counts for nothing, but that who wrote it knows its write again."""
TEXT = "streamkitCheckpoint"
"""`Checkpoint.to_text()` without the state of a prepared one; empty: it is known that there is none. Absent: the KCL's columns count."""
ABOUT = "streamkitRow"
"""Whose row it is, and what is known of the partition beyond the KCL's columns."""
HANDOVER, FRUITLESS, REQUEST = "streamkitHandover", "streamkitFruitless", "streamkitRequest"

PLACE = frozenset((CHECKPOINT, SUB, PENDING, PENDING_SUB, PENDING_STATE, TEXT))
"""What a checkpoint is."""
MANAGED = frozenset((OWNER, COUNTER, SWITCHES, PARENTS, CHILDREN, LOW, HIGH, STREAM, SHARD, GRANT, ABOUT, FRUITLESS, *PLACE))
"""What a write of a row may change. Requests are written by others, and never with a row."""

TIME_IS_ELSEWHERE = "the KCL's start at a time is not in the table: begins at the earliest record"
NEVER_CHECKPOINTED = (
    "the KCL began at LATEST and has never checkpointed: begins a minute before the lease is taken, and skips what is older"
)
HELD_BY_ANOTHER = "another program, such as the KCL, has its lease: taken when that has been silent for LEASE_DURATION"

NOTHING = Partition("", "")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A row, and the item that it was read from or written to."""

    key: str
    partition: Partition
    """As far as its name goes."""
    row: fencing.Row
    item: Item
    said: Partition
    """What our own text in the item says of the partition; nothing, if there is none."""

    @property
    def switches(self) -> int:
        return int(self.item.get(SWITCHES, {"N": "0"})["N"])

    @property
    def grant(self) -> str:
        return _text(self.item, GRANT)

    @property
    def has_text(self) -> bool:
        """A worker of streamkit has written its checkpoint, or that there is none."""
        return TEXT in self.item

    @property
    def is_ours(self) -> bool:
        """A worker of streamkit has it, by a grant."""
        return _has_grant(self.item)


def grant_text(epoch: int, owner: str, chance: str) -> str:
    return f"{epoch}/{owner}/{chance}"


class Rows:
    """Reads and makes items of one group."""

    def __init__(self, names: Names, table: str, noticed: Callable[[Partition, str], None]) -> None:
        self._names = names
        self._table = table
        self._noticed = noticed
        self._known: dict[str, tuple[Item, Stored]] = {}
        self._told: set[tuple[Partition, str]] = set()

    @property
    def is_kcl(self) -> bool:
        """The keys are the KCL's."""
        return self._names.is_kcl

    def key_of(self, partition: Partition) -> str | None:
        return self._names.key_of(partition)

    # -- from items -----------------------------------------------------------------------------------------------

    def read(self, item: Item) -> Stored | None:
        """None: no lease of ours. Raises StoreUnavailableError for a lease that cannot be read, and names it; ConfigurationError if
        another group or stream has this table."""
        key = _text(item, KEY)
        if _text(item, ENTITY) not in ("", LEASE):  # the KCL 3 keeps metrics of workers and its leader in the same table
            return None
        partition = self._names.partition_of(key)
        if partition is None:
            return None
        known = self._known.get(key)
        try:
            if known is not None and known[0] == _but_counter(item):
                return self._moved(known[1], item)
            stored = self._stored(key, partition, item)
        except ConfigurationError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreUnavailableError(f"DynamoDB {self._table!r}: the row {key!r} cannot be read: {error!r}") from error
        self._known[key] = (_but_counter(item), stored)
        return stored

    def forget(self, keys: set[str]) -> None:
        """Keep in mind only these."""
        for key in list(self._known):
            if key not in keys:
                self._known.pop(key, None)  # another thread may list as well

    def _moved(self, stored: Stored, item: Item) -> Stored:
        """Only the counter has: that is what a renewal does, and renewals are what listings mostly see."""
        version, row = int(item[COUNTER]["N"]), stored.row
        epoch = row.epoch if _has_grant(item) else version
        # Written out, because `replace` takes three times as long, and this is done for every lease once a second.
        row = fencing.Row(epoch, row.owner, row.checkpoint, version, row.handover_to, row.fruitless_claims, row.partition)
        return Stored(stored.key, stored.partition, row, item, stored.said)

    def _stored(self, key: str, bare: Partition, item: Item) -> Stored:
        about = json.loads(_text(item, ABOUT) or "{}")
        if about.get("v", _VERSION) > _VERSION + 1:
            raise ValueError(f"made by a newer streamkit: {about['v']}")
        self._check_owner_of_table(key, bare, about)
        version = int(item[COUNTER]["N"])
        text = _own_text(item, bare)
        partition = _partition(bare, item, about, text)
        checkpoint = self._checkpoint(partition, item, text)
        owner = _text(item, OWNER) or _text(item, CHECKPOINT_OWNER)  # of a row that is handed over by the KCL 3: not free
        row = fencing.Row(
            epoch=_epoch(item) if _has_grant(item) else version,
            owner=owner,
            checkpoint=checkpoint,
            version=version,
            handover_to=_text(item, HANDOVER) if _has_grant(item) or not owner else "",  # else it was asked of the owner before
            fruitless_claims=int(item[FRUITLESS]["N"]) if FRUITLESS in item else 0,
            partition=partition,
        )
        if row.owner and not _has_grant(item):
            self._tell(bare, HELD_BY_ANOTHER)
        return Stored(key, bare, row, item, text.partition if text is not None else NOTHING)

    def _check_owner_of_table(self, key: str, bare: Partition, about: dict[str, Any]) -> None:
        names = self._names
        group, stream = about.get("group", names.group), about.get("stream", bare.stream)
        if names.is_kcl and (group != names.group or not is_same_stream(stream, bare.stream)):
            whose = f"the group {group!r}" if group != names.group else f"the stream {stream!r}"
            raise ConfigurationError(
                f"{self._table!r} belongs to {whose} (row {key!r}), and has room for one",
                setting="STREAMKIT_DYNAMODB__TABLE",
                fix="name another table" if group != names.group else "name another table, or set STREAMKIT_DYNAMODB__KEYS=multi",
            )

    def _checkpoint(self, partition: Partition, item: Item, text: Checkpoint | None) -> Checkpoint | None:
        place = (item[CHECKPOINT]["S"], int(item.get(SUB, {"N": "0"})["N"]))
        if TEXT in item and text is None and place == place_of(None):
            return None
        if text is None or place != place_of(text.at):
            started = {"partitions_at_start": text.partitions_at_start, "group_started": text.group_started} if text else {}
            found = Checkpoint(partition, self._start(partition, place), **started, parked=text.parked if text else {})  # type: ignore[arg-type]
        else:
            found = text
        pending = _pending(item, text.pending if text else None)
        return replace(found, pending=pending, pending_state=_state(item) if pending is not None else b"")

    def _start(self, partition: Partition, place: Place) -> StartPosition:
        if place[0] == AT_TIMESTAMP:
            self._tell(partition, TIME_IS_ELSEWHERE)
            return StartPosition.EARLIEST
        if place[0] == LATEST:
            self._tell(partition, NEVER_CHECKPOINTED)
        return start_of(place)

    def _tell(self, partition: Partition, what: str) -> None:
        if (partition, what) not in self._told:
            self._told.add((partition, what))
            self._noticed(partition, what)

    # -- to items -------------------------------------------------------------------------------------------------

    def after(self, before: Stored, row: fencing.Row, *, grant: str, switches: int, checkpoint: bool) -> Stored:
        """What `row` is to be written as, in place of `before`. `checkpoint`: its columns too; else they stay, whoever wrote them."""
        ours = MANAGED if checkpoint else MANAGED - PLACE
        item: Item = {name: value for name, value in before.item.items() if name not in ours}
        item |= {KEY: {"S": before.key}, COUNTER: {"N": str(row.version)}, SWITCHES: {"N": str(switches)}}
        if row.owner:
            item[OWNER] = {"S": row.owner}
        if grant:
            item[GRANT] = {"S": grant}
        if row.fruitless_claims:
            item[FRUITLESS] = {"N": str(row.fruitless_claims)}
        said = before.said
        if checkpoint:
            _write_checkpoint(item, row.checkpoint)
            said = row.checkpoint.partition if row.checkpoint is not None else NOTHING
        known = row.partition or before.partition
        _write_lineage(item, known)
        if self._names.style == "multi" and (multi := MultiKey.parse(before.key)):
            item |= {STREAM: {"S": multi.identifier}, SHARD: {"S": multi.shard}}
        item[ABOUT] = {"S": self._about(before.partition, known, said)}
        return Stored(before.key, before.partition, row, item, said)

    def nothing(self, key: str, partition: Partition) -> Stored:
        """Before there is a row."""
        return Stored(key, Partition(partition.stream, partition.id), fencing.Row(), {}, NOTHING)

    def _about(self, bare: Partition, known: Partition, said: Partition) -> str:
        """Each row is paid for by the kilobyte with each renewal, so nothing is said twice."""
        body: dict[str, object] = {"v": _VERSION}
        if self._names.is_kcl:
            body |= {"group": self._names.group, "stream": bare.stream}
        if known.incarnation != said.incarnation:
            body["incarnation"] = known.incarnation
        if dict(known.extra) != dict(said.extra):
            body["extra"] = dict(known.extra)
        for name, ids in (("parents", known.parents), ("children", known.children)):
            if list(ids) != sorted(set(ids)):  # a set of strings has no order
                body[name] = list(ids)
        return json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def moved(stored: Stored, row: fencing.Row) -> Stored:
    """The same but for its version: its owner lives."""
    return Stored(stored.key, stored.partition, row, {**stored.item, COUNTER: {"N": str(row.version)}}, stored.said)


def changed(before: Item, after: Item) -> tuple[Item, list[str]]:
    """What to set and what to remove, of our columns."""
    sets = {name: value for name, value in after.items() if name in MANAGED and before.get(name) != value}
    return sets, [name for name in before if name in MANAGED and name not in after]


def everything(after: Item) -> tuple[Item, list[str]]:
    """The same when it is not known what is there."""
    return {name: value for name, value in after.items() if name in MANAGED}, [name for name in sorted(MANAGED) if name not in after]


def _write_checkpoint(item: Item, checkpoint: Checkpoint | None) -> None:
    name, sub = place_of(checkpoint.at if checkpoint else None)
    item |= {CHECKPOINT: {"S": name}, SUB: {"N": str(sub)}}
    item[TEXT] = {"S": replace(checkpoint, pending_state=b"").to_text() if checkpoint else ""}
    if checkpoint is None or checkpoint.pending is None:
        return
    if place := pending_place(checkpoint.pending):
        item |= {PENDING: {"S": place[0]}, PENDING_SUB: {"N": str(place[1])}}
    if checkpoint.pending_state:
        item[PENDING_STATE] = {"B": checkpoint.pending_state}


def _write_lineage(item: Item, known: Partition) -> None:
    if known.parents:
        item[PARENTS] = {"SS": sorted(set(known.parents))}
    if known.children:
        item[CHILDREN] = {"SS": sorted(set(known.children))}
    if known.key_range is not None:
        item[LOW], item[HIGH] = {"S": str(known.key_range[0])}, {"S": str(known.key_range[1])}


def _partition(bare: Partition, item: Item, about: dict[str, Any], text: Checkpoint | None) -> Partition:
    said = text.partition if text is not None else bare
    return Partition(
        bare.stream,
        bare.id,
        incarnation=about.get("incarnation", said.incarnation),
        parents=_ids(item, PARENTS, about.get("parents")),
        children=_ids(item, CHILDREN, about.get("children")),
        key_range=(int(item[LOW]["S"]), int(item[HIGH]["S"])) if LOW in item and HIGH in item else None,
        extra=about.get("extra", said.extra),
    )


def _ids(item: Item, column: str, ordered: list[str] | None) -> tuple[str, ...]:
    """The KCL's set, in our order as long as it is the same set."""
    found = sorted(item[column]["SS"]) if column in item else []
    return tuple(ordered) if ordered is not None and sorted(set(ordered)) == found else tuple(found)


def _own_text(item: Item, bare: Partition) -> Checkpoint | None:
    """Our own column, whether it counts or not; its stream as STREAM says it now."""
    text = _text(item, TEXT)
    found = Checkpoint.from_text(text) if text else None
    return found and replace(found, partition=replace(found.partition, stream=bare.stream, id=bare.id))


def _pending(item: Item, ours: Position | None) -> Position | None:
    place = (item[PENDING]["S"], int(item.get(PENDING_SUB, {"N": "0"})["N"])) if PENDING in item else None
    if place == pending_place(ours):
        return ours  # with its token
    return position_of(*place) if place is not None else None


def _state(item: Item) -> bytes:
    """The KCL writes a number here when it creates a row: that is no state."""
    state = item.get(PENDING_STATE, {}).get("B", b"")
    return base64.b64decode(state) if isinstance(state, str) else bytes(state)


def _text(item: Item, column: str) -> str:
    return str(item[column].get("S", "")) if column in item else ""


def _epoch(item: Item) -> int:
    return int(_text(item, GRANT).partition("/")[0])


def _has_grant(item: Item) -> bool:
    """Whether the grant in our column is that of the owner; if another program has taken the lease since, it is not."""
    owner, grant = _text(item, OWNER), _text(item, GRANT)
    return bool(owner) and CHECKPOINT_OWNER not in item and grant.partition("/")[2].rpartition("/")[0] == owner


def _but_counter(item: Item) -> Item:
    return {name: value for name, value in item.items() if name != COUNTER}

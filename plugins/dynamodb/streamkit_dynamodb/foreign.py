"""Which shard of which stream a foreign row is, and what all rows together mean. Pure. Called by `exchange.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.plugin import Foreign
from streamkit_dynamodb.answers import Item
from streamkit_dynamodb.go_rows import GO_KEY, GoRow, go_row, go_sign
from streamkit_dynamodb.kcl_rows import KclRow, is_lease, lease_of_item, sign_of
from streamkit_dynamodb.keys import KEYS, MultiKey, is_same_stream
from streamkit_dynamodb.rows import KEY

__all__ = ["Understanding", "keys_of"]

_STREAM = "STREAMKIT_STREAM"


class Understanding:
    """Of one table or file."""

    def __init__(self, partitions: Sequence[Partition], start: StartPosition, now: float, *, is_store: bool = False) -> None:
        """`partitions` are all that the broker lists, `now` is in unix seconds."""
        self._there = {(partition.stream, partition.id): partition for partition in partitions}
        self._streams = {partition.stream: partition for partition in partitions}
        self._start = start
        self._now = datetime.fromtimestamp(now, UTC)
        self._is_store = is_store
        self._checkpoints: dict[Partition, Checkpoint] = {}
        self._signs: dict[str, str] = {}
        self._alive: list[str] = []
        self._notes: dict[str, list[str]] = {}

    def of(self, items: Sequence[Item], where: str) -> Foreign:
        """Raises ConfigurationError for a row that cannot be understood, or belongs to no stream that is there."""
        for item in items:
            if GO_KEY in item:
                self._see_go(go_row(item, where), item, where)
            else:
                self._see_kcl(item, where)
        remarks = [f"{', '.join(sorted(names))}: {text}" for text, names in self._notes.items()]
        return Foreign(tuple(self._checkpoints.values()), self._signs, tuple(self._alive), tuple(remarks), self._is_store)

    def _see_kcl(self, item: Item, where: str) -> None:
        key = str(item.get(KEY, {}).get("S", ""))
        self._signs[key] = sign_of(item)
        if not is_lease(item):
            self._note("no lease, and not taken along", key)
            return
        if key.startswith("streamkit:"):
            self._note("of a group of streamkit on another broker, and not taken along", key)
            return
        row = lease_of_item(item, where)
        self._note_columns(row, key)
        partition = self._partition(row.name, key, where)
        start = StartPosition.EARLIEST
        if row.start is None:
            start = self._start if self._start.kind == "time" else start
            said = f"begins at {start}, as STREAMKIT_START says" if start.kind == "time" else "begins at the oldest record"
            self._note(f"AT_TIMESTAMP without a time, which is in the application's own settings: {said}", key)
        elif row.start == StartPosition.LATEST:
            self._note("at LATEST, nothing was ever checkpointed: begins with what is written from now on", key)
        self._add(row.checkpoint(partition, start), key, where)

    def _see_go(self, row: GoRow, item: Item, where: str) -> None:
        self._signs[row.shard] = go_sign(item)
        if row.unknown:
            self._note(f"unknown columns, not taken along: {', '.join(sorted(row.unknown))}", row.shard)
        if row.owner and row.until is not None and row.until > self._now:
            self._alive.append(f"{row.owner} has {row.shard} until {row.until.isoformat(timespec='seconds')}")
        if row.start is None:
            self._note("never checkpointed: begins at the oldest record", row.shard)
        partition = self._partition(row.shard, row.shard, where)
        self._add(row.checkpoint(replace(partition, parents=partition.parents or row.parents)), row.shard, where)

    def _note_columns(self, row: KclRow, key: str) -> None:
        ours = {column for column in row.unknown if column.startswith("streamkit")}
        if row.unknown - ours:
            self._note(f"unknown columns, not taken along: {', '.join(sorted(row.unknown - ours))}", key)
        if ours:
            text = "streamkit has worked on it: what it keeps beside the KCL's columns is not taken along"
            self._note(f"{text} (`streamkit checkpoints export` with STREAMKIT_STORE=dynamodb has all of it)", key)

    def _note(self, text: str, key: str) -> None:
        self._notes.setdefault(text, []).append(key)

    def _add(self, checkpoint: Checkpoint, key: str, where: str) -> None:
        if checkpoint.partition in self._checkpoints:
            raise ConfigurationError(f"{where}: the row {key!r} is a second one of {checkpoint.partition}", fix="take the older one out")
        self._checkpoints[checkpoint.partition] = checkpoint

    # -- which shard ------------------------------------------------------------------------------------------------

    def _partition(self, name: MultiKey | str, key: str, where: str) -> Partition:
        """As the broker lists it; one that it does not list any more is of the same stream as those that it does."""
        sample = self._of_several(name, key, where) if isinstance(name, MultiKey) else self._of_one(key, where)
        shard = name.shard if isinstance(name, MultiKey) else name
        found = self._there.get((sample.stream, shard)) or Partition(sample.stream, shard, incarnation=sample.incarnation)
        if isinstance(name, MultiKey) and (now := MultiKey.of(found)) is not None and now.creation != name.creation:
            raise ConfigurationError(
                f"{where}: the row {key!r} is of a stream that was made at {name.creation}, and the one there now at {now.creation}",
                fix="its positions mean nothing there: take such rows out of a file of the table, and import that",
            )
        return found

    def _of_one(self, key: str, where: str) -> Partition:
        if len(self._streams) != 1:
            raise ConfigurationError(
                f"{where}: the row {key!r} does not say of which stream it is, and there are {len(self._streams)}",
                setting=_STREAM,
                fix="name the one stream that the table is of, and import each table by itself",
            )
        return next(iter(self._streams.values()))

    def _of_several(self, name: MultiKey, key: str, where: str) -> Partition:
        for stream, sample in self._streams.items():
            known = MultiKey.of(sample)
            if is_same_stream(stream, name.stream) and (known is None or known.account == name.account):
                return sample
        raise ConfigurationError(
            f"{where}: the row {key!r} is of the stream {name.stream!r} of account {name.account}, which {_STREAM} does not name",
            setting=_STREAM,
            fix="name all streams of the application, or take such rows out of a file of the table, and import that",
        )


def keys_of(partitions: Sequence[Partition], keys: Literal["auto", "single", "multi"], streams: Sequence[str]) -> list[str]:
    """The lease keys of an export: shard ids for one stream, `account:stream:creation:shard` for several. Raises ConfigurationError."""
    several = sorted({partition.stream for partition in partitions})
    is_single = keys == "single" or (keys == "auto" and len(streams) == 1 and not streams[0].startswith("^"))
    if is_single and len(several) > 1:
        raise ConfigurationError(
            f"single keys say nothing of the stream, and these are checkpoints of {', '.join(several)}",
            setting=KEYS,
            fix=f"set {KEYS}=multi for an application with several streams, or another {_STREAM} to export one",
        )
    return [partition.id if is_single else _multi(partition) for partition in partitions]


def _multi(partition: Partition) -> str:
    key = MultiKey.of(partition)
    if key is None:
        raise ConfigurationError(
            f"{partition} does not say of which account and which creation its stream is ({partition.incarnation!r})",
            fix="the KCL's tables are for shards of Kinesis; set STREAMKIT_BROKER=kinesis",
        )
    return str(key)

"""Rows of one group as SQLite keeps them: tables and statements, columns to rows and back. Used by `sqlite.py` alone.

`checkpoints` has the columns that it had from the first version on, so that code of that version still claims and saves in
the same file, fenced by the same epoch. What leases need stands beside it in `leases`; a row that only older code has
written has none there, and is a lease of version 0. Transactions and SQLite's errors are the caller's business.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import fencing

__all__ = ["SqliteRows", "migrate"]

Run = Callable[..., sqlite3.Cursor]
"""Executes a statement with its values."""

_LAYOUT = 3
"""What `migrate` makes of a file."""
_NEEDED = 1
"""The oldest code that may still work with that; what is older refuses by name, as this code does when the file needs a newer one."""
_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS streamkit_schema (version INTEGER NOT NULL)",  # which code is needed
    "CREATE TABLE IF NOT EXISTS streamkit_layout (version INTEGER NOT NULL)",  # what has been made
)
_TABLES = (
    """CREATE TABLE IF NOT EXISTS checkpoints (
    broker TEXT NOT NULL, grp TEXT NOT NULL, stream TEXT NOT NULL, partition TEXT NOT NULL,
    epoch INTEGER NOT NULL, owner TEXT NOT NULL, checkpoint TEXT,
    PRIMARY KEY (broker, grp, stream, partition)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS leases (
    broker TEXT NOT NULL, grp TEXT NOT NULL, stream TEXT NOT NULL, partition TEXT NOT NULL,
    version INTEGER NOT NULL, handover_to TEXT NOT NULL, fruitless_claims INTEGER NOT NULL, lineage TEXT NOT NULL,
    PRIMARY KEY (broker, grp, stream, partition)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS requests (
    broker TEXT NOT NULL, grp TEXT NOT NULL, stream TEXT NOT NULL, partition TEXT NOT NULL, request TEXT NOT NULL,
    PRIMARY KEY (broker, grp, stream, partition)) WITHOUT ROWID""",
)

_FIND = """SELECT stream, partition, epoch, owner, version, handover_to, fruitless_claims, lineage, CASE WHEN ? THEN checkpoint END
    FROM checkpoints LEFT JOIN leases USING (broker, grp, stream, partition)
    WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?"""
_ALL = """SELECT stream, partition, epoch, owner, version, handover_to, fruitless_claims, lineage, checkpoint
    FROM checkpoints LEFT JOIN leases USING (broker, grp, stream, partition)
    WHERE broker = ? AND grp = ?"""
_CHECKPOINTS = "SELECT stream, partition, checkpoint FROM checkpoints WHERE broker = ? AND grp = ? AND checkpoint IS NOT NULL"
_PUT = "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)"
_OWN = "UPDATE checkpoints SET epoch = ?, owner = ? WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?"
_LEASE = "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_LIVES = """UPDATE leases SET version = ?, handover_to = ?, fruitless_claims = ?
    WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?"""
_ASK = "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?)"
_REQUESTS = "SELECT stream, partition, request FROM requests WHERE broker = ? AND grp = ?"
_ANSWERED = "DELETE FROM requests WHERE broker = ? AND grp = ? AND stream = ? AND partition = ? AND request = ?"
_REMOVE = (
    "DELETE FROM checkpoints WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?",
    "DELETE FROM leases WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?",
)


def migrate(run: Run, path: Path) -> None:
    """Make or complete the tables, inside the caller's transaction. Raises ConfigurationError if only newer code may work here."""
    for statement in _VERSIONS:
        run(statement)
    run("INSERT INTO streamkit_schema SELECT ? WHERE NOT EXISTS (SELECT * FROM streamkit_schema)", _NEEDED)
    (needed,) = run("SELECT max(version) FROM streamkit_schema").fetchone()
    if needed > _LAYOUT:
        raise ConfigurationError(
            f"{str(path)!r} has schema version {needed}, and this streamkit knows {_LAYOUT}",
            setting="STREAMKIT_SQLITE__PATH",
            fix="upgrade streamkit, or name another file",
        )
    for statement in _TABLES:
        run(statement)
    run("INSERT INTO streamkit_layout SELECT ? WHERE NOT EXISTS (SELECT * FROM streamkit_layout WHERE version >= ?)", _LAYOUT, _LAYOUT)


class SqliteRows:
    """Reads and writes the rows of one broker and group on a connection that is open."""

    def __init__(self, run: Run, path: Path, broker: str, group: str) -> None:
        self._run = run
        self._path = str(path)
        self._group = (broker, group)

    def find(self, partition: Partition, *, checkpoint: bool = True) -> fencing.Row | None:
        """`checkpoint=False` leaves it unread: for rules that do not look at it, to be written back by `own` alone."""
        found = self._run(_FIND, checkpoint, *self._key(partition)).fetchone()
        return None if found is None else self._row(found)[1]

    def all(self) -> Iterator[tuple[Partition, fencing.Row]]:
        """Every row, as of one moment; each with its partition's name."""
        with closing(self._run(_ALL, *self._group)) as cursor:
            yield from map(self._row, cursor.fetchall())

    def checkpoints(self) -> Iterator[Checkpoint]:
        with closing(self._run(_CHECKPOINTS, *self._group)) as cursor:
            for stream, partition, text in cursor.fetchall():
                yield self._checkpoint(text, f"{stream}/{partition}")

    def put(self, partition: Partition, row: fencing.Row) -> None:
        """Write all of a row."""
        text = row.checkpoint and row.checkpoint.to_text()
        self._run(_PUT, *self._key(partition), row.epoch, row.owner, text)
        self._lease(partition, row)

    def own(self, partition: Partition, row: fencing.Row, stored: fencing.Row | None) -> None:
        """Write what of a row differs from `stored`, its checkpoint aside: renewals are many, and others wait for the file."""
        if stored is None or (row.epoch, row.owner) != (stored.epoch, stored.owner):
            self._run(_OWN, row.epoch, row.owner, *self._key(partition))
        if stored is None or row.partition is None or row.partition is not stored.partition:
            self._lease(partition, row)
        else:
            self._run(_LIVES, row.version, row.handover_to, row.fruitless_claims, *self._key(partition))

    def remove(self, partition: Partition) -> None:
        for statement in _REMOVE:
            self._run(statement, *self._key(partition))

    def ask(self, partition: Partition, request: str) -> None:
        self._run(_ASK, *self._key(partition), request)

    def requests(self) -> Iterator[tuple[Partition, str]]:
        with closing(self._run(_REQUESTS, *self._group)) as cursor:
            for stream, partition, request in cursor.fetchall():
                yield Partition(stream, partition), request

    def answered(self, partition: Partition, request: str) -> None:
        self._run(_ANSWERED, *self._key(partition), request)

    def _lease(self, partition: Partition, row: fencing.Row) -> None:
        lineage = _lineage(row.partition or partition)
        self._run(_LEASE, *self._key(partition), row.version, row.handover_to, row.fruitless_claims, lineage)

    def _key(self, partition: Partition) -> tuple[str, str, str, str]:
        return (*self._group, partition.stream, partition.id)

    def _row(self, columns: tuple[object, ...]) -> tuple[Partition, fencing.Row]:
        stream, name, epoch, owner, version, handover_to, fruitless, lineage, text = cast(
            tuple[str, str, int, str, int | None, str | None, int | None, str | None, str | None], columns
        )
        bare = Partition(stream, name)
        checkpoint = None if text is None else self._checkpoint(text, str(bare))
        partition = None if lineage is None else self._partition(bare, lineage)
        return bare, fencing.Row(epoch, owner, checkpoint, version or 0, handover_to or "", fruitless or 0, partition)

    def _checkpoint(self, text: str, partition: str) -> Checkpoint:
        try:
            return Checkpoint.from_text(text)
        except ValueError as error:
            raise StoreUnavailableError(f"{self._path!r}: the checkpoint of {partition} cannot be read: {error}") from error

    def _partition(self, bare: Partition, lineage: str) -> Partition:
        try:
            return _partition(bare, lineage)
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreUnavailableError(f"{self._path!r}: the lease of {bare} cannot be read: {error}") from error


def _lineage(partition: Partition) -> str:
    """What is known of a partition, as one line of JSON. Hash keys have 128 bits: as text, or SQLite's own JSON would round them."""
    body = {
        "incarnation": partition.incarnation,
        "parents": list(partition.parents),
        "children": list(partition.children),
        "key_range": partition.key_range and [str(key) for key in partition.key_range],
        "extra": dict(partition.extra),
    }
    return json.dumps({name: value for name, value in body.items() if value}, sort_keys=True, ensure_ascii=False)


def _partition(bare: Partition, lineage: str) -> Partition:
    body = json.loads(lineage)
    key_range = None
    if "key_range" in body:
        low, high = body["key_range"]
        key_range = (int(low), int(high))
    return Partition(
        bare.stream,
        bare.id,
        incarnation=body.get("incarnation", ""),
        parents=tuple(body.get("parents", ())),
        children=tuple(body.get("children", ())),
        key_range=key_range,
        extra=body.get("extra", {}),
    )

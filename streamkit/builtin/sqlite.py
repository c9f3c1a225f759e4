"""Checkpoints in one SQLite file: for any number of processes on one host, not for several hosts (no network folders).

A row has its key, epoch and owner as columns and the checkpoint as the JSON that `Checkpoint.to_text` makes, because that
text carries its own version and so needs no migration, and people still read it with SQLite's `->>`. Every claim and every
save is one `BEGIN IMMEDIATE` transaction, synced before it is answered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from streamkit.builtin import fencing
from streamkit.errors import CheckpointError, ConfigurationError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import Adapter, AdapterContext, CheckpointStore, Claim, Duration, Grant, Plugin, hookimpl

__all__ = ["SqliteSettings", "SqliteStore", "streamkit_plugin"]

T = TypeVar("T")

_VERSION = 1
_SCHEMA = "CREATE TABLE IF NOT EXISTS streamkit_schema (version INTEGER NOT NULL)"
_TABLE = """CREATE TABLE IF NOT EXISTS checkpoints (
    broker TEXT NOT NULL, grp TEXT NOT NULL, stream TEXT NOT NULL, partition TEXT NOT NULL,
    epoch INTEGER NOT NULL, owner TEXT NOT NULL, checkpoint TEXT,
    PRIMARY KEY (broker, grp, stream, partition)) WITHOUT ROWID"""
_FIND = "SELECT epoch, owner, checkpoint FROM checkpoints WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?"
_LIST = "SELECT stream, partition, checkpoint FROM checkpoints WHERE broker = ? AND grp = ? AND checkpoint IS NOT NULL"
_WRITE = "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CONVERSIONS = 16


class SqliteSettings(BaseModel):
    """`STREAMKIT_SQLITE__…`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="The database file. Its folder must exist, on a disk of this host.")
    busy_timeout: Duration = Field(default=timedelta(seconds=5), description="How long to wait for another process that is writing.")


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(name="sqlite", settings=SqliteSettings, store="streamkit.builtin.sqlite:SqliteStore")


class SqliteStore(Adapter[SqliteSettings], CheckpointStore):
    """One connection, opened and used on the thread of `blocking` alone."""

    capabilities = Capabilities(fencing=True, scope="host", metadata_characters=4096, pending_bytes=1 << 20)

    def __init__(self, settings: SqliteSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        await self.blocking(self._open)

    async def close(self) -> None:
        await self.blocking(self._close)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        return await self.blocking(self._transact, lambda: self._claim(partition, owner, epoch))

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self.blocking(self._transact, lambda: [self._save(checkpoint, grant) for checkpoint, grant in checkpoints])

    async def list(self) -> Sequence[Checkpoint]:
        return await self.blocking(self._list)

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        await self.blocking(self._transact, lambda: self._overwrite(checkpoint))

    async def delete(self, partitions: Sequence[Partition]) -> None:
        await self.blocking(self._transact, lambda: self._delete(partitions))

    def _open(self) -> None:
        path = self.settings.path
        if not path.parent.is_dir():
            raise ConfigurationError(f"there is no folder {str(path.parent)!r}", setting="STREAMKIT_SQLITE__PATH", fix="make it")
        with self._translated():
            self._connection = sqlite3.connect(path, timeout=self.settings.busy_timeout.total_seconds(), isolation_level=None)
            if self._keep_wal() != "wal":
                message = f"SQLite cannot keep a write-ahead log beside {str(path)!r}"
                raise ConfigurationError(message, setting="STREAMKIT_SQLITE__PATH", fix="name a file on a disk of this host")
            self._connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before it is answered
        self._transact(self._migrate)

    def _keep_wal(self) -> str:
        """The journal mode, made WAL where it can be. Of several processes that convert a new file at once SQLite answers
        some with busy *without* the busy time-out: those wait for the winner by taking the write lock, and look again."""
        for _ in range(_CONVERSIONS):
            try:
                mode = self._journal("PRAGMA journal_mode")
                return mode if mode == "wal" else self._journal("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
            self._run("BEGIN IMMEDIATE")
            self._run("ROLLBACK")
        return self._journal("PRAGMA journal_mode = WAL")

    def _journal(self, statement: str) -> str:
        return str(self._run(statement).fetchone()[0])

    def _migrate(self) -> None:
        self._run(_SCHEMA)
        self._run("INSERT INTO streamkit_schema SELECT ? WHERE NOT EXISTS (SELECT * FROM streamkit_schema)", _VERSION)
        (version,) = self._run("SELECT max(version) FROM streamkit_schema").fetchone()
        if version > _VERSION:
            raise ConfigurationError(
                f"{str(self.settings.path)!r} has schema version {version}, and this streamkit knows {_VERSION}",
                setting="STREAMKIT_SQLITE__PATH",
                fix="upgrade streamkit, or name another file",
            )
        self._run(_TABLE)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        row = fencing.claimed(self._row(partition), partition, owner, epoch)
        self._write(partition, row)
        return fencing.claim_of(row)

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
        try:
            stored = self._row(checkpoint.partition)
            row = fencing.saved(stored, checkpoint, grant)
        except CheckpointError as error:  # of this row alone; what SQLite itself raises undoes the whole transaction
            return error
        if row is not stored:
            self._write(checkpoint.partition, row)
        return grant

    def _list(self) -> Sequence[Checkpoint]:
        with self._translated(), closing(self._run(_LIST, self.context.broker, self.context.group)) as cursor:
            return [self._read(text, f"{stream}/{partition}") for stream, partition, text in cursor.fetchall()]

    def _overwrite(self, checkpoint: Checkpoint) -> None:
        self._write(checkpoint.partition, fencing.overwritten(self._row(checkpoint.partition), checkpoint))

    def _delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (row := self._row(partition)) is not None:
                self._write(partition, fencing.forgotten(row))

    def _transact(self, work: Callable[[], T]) -> T:
        """Run `work` in one transaction: all of it is on the disk afterwards, or nothing."""
        with self._translated():
            self._run("BEGIN IMMEDIATE")  # the write lock at once: what is read here cannot be changed before it is written
            try:
                answer = work()
                self._run("COMMIT")
            except BaseException:
                if self._connection is not None and self._connection.in_transaction:
                    self._run("ROLLBACK")
                raise
            return answer

    def _row(self, partition: Partition) -> fencing.Row | None:
        found = self._run(_FIND, *self._key(partition)).fetchone()
        if found is None:
            return None
        epoch, owner, text = found
        return fencing.Row(epoch, owner, None if text is None else self._read(text, str(partition)))

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        text = row.checkpoint and row.checkpoint.to_text()
        self._run(_WRITE, *self._key(partition), row.epoch, row.owner, text)

    def _read(self, text: str, partition: str) -> Checkpoint:
        try:
            return Checkpoint.from_text(text)
        except ValueError as error:
            raise StoreUnavailableError(f"{str(self.settings.path)!r}: the checkpoint of {partition} cannot be read: {error}") from error

    def _key(self, partition: Partition) -> tuple[str, str, str, str]:
        return (self.context.broker, self.context.group, partition.stream, partition.id)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        if self._connection is None:
            raise StoreUnavailableError(f"{str(self.settings.path)!r} is not open")
        return self._connection.execute(statement, values)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as ours. Busy or locked: another process is writing for longer than the busy timeout."""
        try:
            yield
        except sqlite3.Error as error:
            kind = StoreThrottledError if _is_busy(error) else StoreUnavailableError
            raise kind(f"{str(self.settings.path)!r}: {error}") from error


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BUSY  # the lower byte is the primary code

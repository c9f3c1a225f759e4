"""Checkpoints and leases in one SQLite file: for any number of processes on one host, not for several hosts (no network folders).

A row has its key, epoch and owner as columns and the checkpoint as the JSON that `Checkpoint.to_text` makes, because that
text carries its own version and so needs no migration, and people still read it with SQLite's `->>`. Every write, of however
many leases or checkpoints, is one `BEGIN IMMEDIATE` transaction, synced before it is answered. The tables are in
`sqlite_rows.py`, the rules in `fencing.py` and `leasing.py`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from streamkit.builtin.sqlite_rows import SqliteRows, migrate
from streamkit.errors import CheckpointError, ConfigurationError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Lease, Partition
from streamkit.plugin import Adapter, AdapterContext, Claim, Duration, Grant, LeaseStore, Plugin, fencing, hookimpl, leasing

__all__ = ["SqliteSettings", "SqliteStore", "streamkit_plugin"]

T = TypeVar("T")
R = TypeVar("R")

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


class SqliteStore(Adapter[SqliteSettings], LeaseStore):
    """One connection, opened and used on the thread of `blocking` alone."""

    capabilities = Capabilities(
        fencing=True, scope="host", metadata_characters=4096, pending_bytes=1 << 20, parked_bytes=1 << 16, leases=True
    )

    def __init__(self, settings: SqliteSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._connection: sqlite3.Connection | None = None
        self._rows = SqliteRows(self._run, settings.path, context.broker, context.group)

    async def open(self) -> None:
        await self.blocking(self._open)

    async def close(self) -> None:
        await self.blocking(self._close)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        return await self.blocking(self._transact, lambda: self._claim(partition, owner, epoch))

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self._each(checkpoints, lambda pair: self._save(*pair))

    async def list(self) -> Sequence[Checkpoint]:
        return await self.blocking(self._read, self._rows.checkpoints)

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        await self.blocking(self._transact, lambda: self._overwrite(checkpoint))

    async def delete(self, partitions: Sequence[Partition]) -> None:
        await self.blocking(self._transact, lambda: self._delete(partitions))

    async def ask(self, partition: Partition, request: str) -> None:
        await self.blocking(self._transact, lambda: self._rows.ask(partition, request))

    async def requests(self) -> Mapping[Partition, str]:
        return dict(await self.blocking(self._read, self._rows.requests))

    async def answered(self, partition: Partition, request: str) -> None:
        await self.blocking(self._transact, lambda: self._rows.answered(partition, request))

    # -- leases ---------------------------------------------------------------------------------------------------

    async def leases(self) -> Sequence[Lease]:
        return await self.blocking(self._read, lambda: (leasing.lease_of(row, partition) for partition, row in self._rows.all()))

    async def create(self, leases: Sequence[Lease]) -> None:
        await self.blocking(self._transact, lambda: self._create(leases))

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        return await self._each(leases, lambda lease: self._take(lease, owner))

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        return await self._each(held, lambda pair: self._renew(*pair))

    async def request_handover(self, lease: Lease, to: str) -> bool:
        return await self.blocking(self._transact, lambda: self._request_handover(lease, to))

    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        return await self._each(held, lambda pair: self._release(*pair))

    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        return await self.blocking(self._transact, lambda: self._name_children(partition, grant, children))

    async def remove(self, leases: Sequence[Lease]) -> None:
        await self.blocking(self._transact, lambda: self._remove(leases))

    # -- opening --------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        path = self.settings.path
        if not path.parent.is_dir():
            raise ConfigurationError(f"there is no folder {str(path.parent)!r}", setting="STREAMKIT_SQLITE__PATH", fix="make it")
        self._close()  # what an earlier one has made, that failed
        with self._translated():
            self._connection = sqlite3.connect(path, timeout=self.settings.busy_timeout.total_seconds(), isolation_level=None)
            if self._keep_wal() != "wal":
                message = f"SQLite cannot keep a write-ahead log beside {str(path)!r}"
                raise ConfigurationError(message, setting="STREAMKIT_SQLITE__PATH", fix="name a file on a disk of this host")
            self._connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before it is answered
        self._transact(lambda: migrate(self._run, path))

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

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- inside a transaction, on the thread of `blocking` --------------------------------------------------------

    def _claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        row = fencing.claimed(self._row(partition), partition, owner, epoch)
        self._write(partition, row)
        return fencing.claim_of(row)

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        stored = self._row(checkpoint.partition)
        row = fencing.saved(stored, checkpoint, grant)
        if stored is not None and row.checkpoint is stored.checkpoint:
            self._rows.own(checkpoint.partition, row, stored)
        else:
            self._write(checkpoint.partition, row)
        return grant

    def _overwrite(self, checkpoint: Checkpoint) -> None:
        self._write(checkpoint.partition, fencing.overwritten(self._row(checkpoint.partition), checkpoint))

    def _delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if (row := self._row(partition)) is not None:
                self._write(partition, fencing.forgotten(row))

    def _create(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if self._lease(lease.partition) is None:
                self._write(lease.partition, leasing.created(lease))

    def _take(self, lease: Lease, owner: str) -> Claim:
        stored = self._row(lease.partition)
        row = leasing.taken(stored, lease, owner)
        self._rows.own(lease.partition, row, stored)
        return fencing.claim_of(row)

    def _renew(self, partition: Partition, grant: Grant) -> Grant:
        stored = self._lease(partition)
        self._rows.own(partition, leasing.renewed(stored, partition, grant), stored)
        return grant

    def _request_handover(self, lease: Lease, to: str) -> bool:
        stored = self._lease(lease.partition)
        row = leasing.handed_over(stored, lease, to)
        if row is not None:
            self._rows.own(lease.partition, row, stored)
        return row is not None

    def _release(self, partition: Partition, grant: Grant) -> None:
        stored = self._lease(partition)
        self._rows.own(partition, leasing.released(stored, partition, grant), stored)

    def _name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        stored = self._lease(partition)
        self._rows.own(partition, leasing.with_children(stored, partition, grant, children), stored)
        return grant

    def _remove(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            if leasing.is_unchanged(self._lease(lease.partition), lease):
                self._rows.remove(lease.partition)

    def _row(self, partition: Partition) -> fencing.Row | None:
        return self._rows.find(partition)

    def _lease(self, partition: Partition) -> fencing.Row | None:
        """The row without its checkpoint, which may be long and is not looked at."""
        return self._rows.find(partition, checkpoint=False)

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        self._rows.put(partition, row)

    # -- transactions ---------------------------------------------------------------------------------------------

    async def _each(self, items: Sequence[T], write: Callable[[T], R]) -> Sequence[R | Exception]:
        """Write for each item, all in one transaction; what is wrong with one is its own answer."""
        return await self.blocking(self._transact, lambda: [_answer(write, item) for item in items])

    def _read(self, rows: Callable[[], Iterable[T]]) -> Sequence[T]:
        with self._translated():
            return tuple(rows())

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


def _answer(write: Callable[[T], R], item: T) -> R | Exception:
    try:
        return write(item)
    except (CheckpointError, ConfigurationError) as error:  # of this row alone; what SQLite itself raises undoes the whole transaction
        return error


def _is_busy(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _BUSY  # the lower byte is the primary code

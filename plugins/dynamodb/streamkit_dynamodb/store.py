"""Leases and checkpoints in a DynamoDB table that the Kinesis Client Library can go on with, and the other way round.

What a row is, is in `rows.py`; owners write by `holding.py`, everybody else by `changing.py`, both as conditional statements
(`statements.py`). Calls have two lanes: renewals and saves the engine's thread for this adapter, all else a thread of our own.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence

from streamkit.errors import ConfigurationError, FencedError, StoreUnavailableError
from streamkit.model import Capabilities, Checkpoint, Lease, Partition
from streamkit.plugin import Adapter, AdapterContext, Claim, Grant, LeaseStore, fencing, leasing
from streamkit_dynamodb.changing import Changing
from streamkit_dynamodb.client import DynamoDBClient, make_client
from streamkit_dynamodb.errors import TABLE
from streamkit_dynamodb.holding import Change, Holding
from streamkit_dynamodb.keys import names_of
from streamkit_dynamodb.lane import Lane
from streamkit_dynamodb.reading import Reading
from streamkit_dynamodb.rows import KEY, REQUEST, Rows, Stored
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.statements import Retries, Statements
from streamkit_dynamodb.table import Table, table_name

__all__ = ["DynamoDBStore"]


class DynamoDBStore(Adapter[DynamoDBSettings], LeaseStore):
    """One client, used by two threads."""

    # An item has room for 400 KB: four bytes for each character of metadata, 4/3 for each of parked keys, and for a thousand
    # of those the names of their first records and letters, about 250 bytes each.
    capabilities = Capabilities(
        fencing=True, scope="cluster", metadata_characters=4096, pending_bytes=1 << 16, parked_bytes=1 << 15, leases=True
    )

    def __init__(
        self,
        settings: DynamoDBSettings,
        context: AdapterContext,
        connect: Callable[[DynamoDBSettings, str], DynamoDBClient] = make_client,
    ) -> None:
        super().__init__(settings, context)
        self._connect = connect
        self._lane = Lane("dynamodb-listing")
        self._client: DynamoDBClient | None = None
        self._parts: _Parts | None = None

    async def open(self) -> None:
        await self.blocking(self._open)

    async def close(self) -> None:
        await self._lane.close()
        if self._client is not None:
            client, self._client, self._parts = self._client, None, None
            await self.blocking(client.close)

    def _open(self) -> None:
        context = self.context
        name = table_name(self.settings, context.group)
        names = names_of(self.settings.keys, context.broker, context.group, context.streams)
        client = self._client = self._client or self._connect(self.settings, name)
        retries = Retries(context.monotonic, self.settings.retry_timeout.total_seconds())
        table = Table(client, name, self.settings)
        table.open()
        rows = Rows(names, name, context.noticed)
        self._parts = _Parts(table, name, rows, Reading(client, name, retries), Statements(client, name, retries), context.unix_time)

    @property
    def _open_parts(self) -> _Parts:
        if self._parts is None:
            raise StoreUnavailableError("the table is not open")
        return self._parts

    # -- checkpoints ----------------------------------------------------------------------------------------------

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        return await self._lane.call(self._open_parts.claim, partition, owner, epoch)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self.blocking(self._open_parts.save, checkpoints)

    async def list(self) -> Sequence[Checkpoint]:
        return await self._lane.call(self._open_parts.checkpoints)

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        await self._lane.call(self._open_parts.overwrite, checkpoint)

    async def delete(self, partitions: Sequence[Partition]) -> None:
        await self._lane.call(self._open_parts.delete, partitions)

    async def ask(self, partition: Partition, request: str) -> None:
        await self._lane.call(self._open_parts.changing.ask, partition, request)

    async def requests(self) -> Mapping[Partition, str]:
        return await self._lane.call(self._open_parts.requests)

    async def answered(self, partition: Partition, request: str) -> None:
        await self._lane.call(self._open_parts.changing.answered, partition, request)

    # -- leases ---------------------------------------------------------------------------------------------------

    async def leases(self) -> Sequence[Lease]:
        return await self._lane.call(self._open_parts.leases)

    async def create(self, leases: Sequence[Lease]) -> None:
        await self._lane.call(self._open_parts.changing.create, leases)

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        return await self._lane.call(self._open_parts.take, leases, owner)

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        return await self.blocking(self._open_parts.renew, held)

    async def request_handover(self, lease: Lease, to: str) -> bool:
        return await self._lane.call(self._open_parts.changing.request_handover, lease, to)

    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        return await self.blocking(self._open_parts.release, held)

    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        return await self.blocking(self._open_parts.name_children, partition, grant, children)

    async def remove(self, leases: Sequence[Lease]) -> None:
        await self._lane.call(self._open_parts.changing.remove, leases)


class _Parts:
    """An open table. Blocking."""

    def __init__(
        self, table: Table, name: str, rows: Rows, reading: Reading, statements: Statements, unix_time: Callable[[], float]
    ) -> None:
        self._table = table
        self._name = name
        self._rows = rows
        self._reading = reading
        self._listed: Mapping[Partition, Stored] = {}
        """As of the last listing; replaced whole."""
        self._holding = Holding(name, rows, reading, statements, self._key_of)
        self.changing = Changing(name, rows, reading, statements, self._key_of, unix_time)

    # -- everybody ------------------------------------------------------------------------------------------------

    def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        stored = self.changing.claim(partition, owner, epoch)
        self._holding.add(stored)
        return fencing.claim_of(stored.row)

    def overwrite(self, checkpoint: Checkpoint) -> None:
        self.changing.overwrite(checkpoint.partition, lambda row: fencing.overwritten(row, checkpoint))

    def delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self.changing.forget(partition)

    def checkpoints(self) -> builtins.list[Checkpoint]:
        return [stored.row.checkpoint for stored in self._list().values() if stored.row.checkpoint is not None]

    def leases(self) -> builtins.list[Lease]:
        return [leasing.lease_of(stored.row, partition) for partition, stored in self._list().items()]

    def requests(self) -> dict[Partition, str]:
        return {partition: stored.item[REQUEST]["S"] for partition, stored in self._list().items() if REQUEST in stored.item}

    def _list(self) -> Mapping[Partition, Stored]:
        items = sorted(self._reading.all(), key=lambda item: str(item[KEY]["S"]))
        listed: dict[Partition, Stored] = {}
        for item in items:
            stored = self._rows.read(item)
            if stored is None:
                continue
            other = listed.setdefault(stored.partition, stored)
            if other is not stored:
                raise ConfigurationError(
                    f"{self._name!r} has two leases of {stored.partition}, {other.key!r} and {stored.key!r}: the stream was made anew",
                    setting=TABLE,
                    fix="delete the rows of the older one, or name another table",
                )
        if not items and self._listed:
            self._table.check_same()
        self._rows.forget({item[KEY]["S"] for item in items})
        self._listed = listed
        return listed

    def _key_of(self, partition: Partition) -> str:
        """Raises ConfigurationError if the partition does not say which stream of that name it is of, and has no row."""
        key = self._rows.key_of(partition)
        if key is not None:
            return key
        stored = self._listed.get(partition) or self._list().get(partition)
        if stored is None:
            raise ConfigurationError(f"{partition} has no row, and does not say of which stream's creation it is")
        return stored.key

    # -- owners ---------------------------------------------------------------------------------------------------

    def take(self, leases: Sequence[Lease], owner: str) -> builtins.list[Claim | Exception]:
        answers: builtins.list[Claim | Exception] = []
        for stored in self.changing.take(leases, owner, self._listed.get):
            if isinstance(stored, Stored):
                self._holding.add(stored)
                answers.append(fencing.claim_of(stored.row))
            else:
                answers.append(stored)
        return answers

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> builtins.list[Grant | Exception]:
        return self._write([_save(checkpoint, grant) for checkpoint, grant in checkpoints])

    def renew(self, held: Sequence[tuple[Partition, Grant]]) -> builtins.list[Grant | Exception]:
        return self._write([_renewal(partition, grant) for partition, grant in held])

    def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        change = Change(partition, grant, lambda row: leasing.with_children(row, partition, grant, children))
        (answer,) = self._write([change])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self, held: Sequence[tuple[Partition, Grant]]) -> builtins.list[Exception | None]:
        """Raises what leaves one of them in doubt: it is given back again then, and what is free already is «no longer ours»."""
        answers = self._write([_release(partition, grant) for partition, grant in held])
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, FencedError):
                raise answer
        return [answer if isinstance(answer, Exception) else None for answer in answers]

    def _write(self, changes: Sequence[Change]) -> builtins.list[Grant | Exception]:
        answers = self._holding.write(changes)
        return [a if isinstance(a, Exception) else change.grant for change, a in zip(changes, answers, strict=True)]


def _save(checkpoint: Checkpoint, grant: Grant) -> Change:
    return Change(checkpoint.partition, grant, lambda row: fencing.saved(row, checkpoint, grant), checkpoint=True)


def _renewal(partition: Partition, grant: Grant) -> Change:
    return Change(partition, grant, lambda row: leasing.renewed(row, partition, grant))


def _release(partition: Partition, grant: Grant) -> Change:
    return Change(partition, grant, lambda row: leasing.released(row, partition, grant))

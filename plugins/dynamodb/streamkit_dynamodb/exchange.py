"""`streamkit checkpoints import --from kcl` and `export --to kcl`: tables of the KCL 1, 2 and 3, and (import alone) of
vmware-go-kcl and gokini.

What one row says is in `kcl_rows.py` and `go_rows.py`, which shard of which stream it is in `foreign.py`. Whether the old workers are
alive is judged by the command, from the signs that this reads.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence

from streamkit.errors import ConfigurationError, FencedError
from streamkit.model import Lease, Partition, StartPosition
from streamkit.plugin import AdapterContext, Exchange, Exported, Foreign
from streamkit_dynamodb.answers import Item
from streamkit_dynamodb.client import DynamoDBClient, make_client
from streamkit_dynamodb.errors import is_missing_table, translated
from streamkit_dynamodb.foreign import Understanding, keys_of
from streamkit_dynamodb.kcl_rows import is_lease, item_of, says_less
from streamkit_dynamodb.positions import SHARD_END
from streamkit_dynamodb.reading import Reading
from streamkit_dynamodb.rows import (
    CHECKPOINT,
    CHECKPOINT_OWNER,
    COUNTER,
    GRANT,
    KEY,
    OWNER,
    PENDING,
    PENDING_STATE,
    PENDING_SUB,
    SUB,
    TEXT,
)
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.statements import Done, Refused, Retries, Statement, Statements, Where
from streamkit_dynamodb.table import Table, table_name

__all__ = ["KclExchange"]

RETRY_SECONDS = 10.0
"""An operator waits: longer than a worker with leases may."""
LISTING_SECONDS = 300.0
"""A table of stopped workers is the same from its first page to its last, and may have little read capacity."""
_PLACE = (COUNTER, OWNER, CHECKPOINT, SUB, PENDING, PENDING_SUB)


class KclExchange(Exchange[DynamoDBSettings]):
    """Connects with the first table that it is asked for."""

    def __init__(
        self,
        settings: DynamoDBSettings,
        context: AdapterContext,
        connect: Callable[[DynamoDBSettings, str], DynamoDBClient] = make_client,
    ) -> None:
        super().__init__(settings, context)
        self._connect = connect
        self._client: DynamoDBClient | None = None
        self._retries = Retries(context.monotonic, RETRY_SECONDS)

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await self.blocking(client.close)

    async def exists(self, table: str) -> bool:
        return await self.blocking(self._exists, table)

    async def read(self, table: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        return await self.blocking(self._read, table, partitions, start)

    def parse(self, text: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        return Understanding(partitions, start, self.context.unix_time()).of(_items(text), "the file")

    def export(self, leases: Sequence[Lease]) -> Exported:
        rows = self._rows(leases)
        lines = [json.dumps(item, default=_base64, sort_keys=True, ensure_ascii=False) + "\n" for item in rows.values()]
        return Exported("".join(lines), _remarks(leases, rows))

    async def write(self, table: str, leases: Sequence[Lease]) -> Exported:
        return await self.blocking(self._write, table, leases)

    # -- on the thread of `blocking` --------------------------------------------------------------------------------

    def _connected(self, table: str) -> DynamoDBClient:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", table):
            raise ConfigurationError(f"{table!r} is no name of a table: 3 to 255 of A-Z a-z 0-9 _ . -", fix="give the name, not the ARN")
        if self._client is None:
            self._client = self._connect(self.settings, table)
        return self._client

    def _read(self, table: str, partitions: Sequence[Partition], start: StartPosition) -> Foreign:
        if not self._exists(table):
            raise ConfigurationError(f"there is no table {table!r}", fix="check its name, its region and the account")
        items = self._reading(table).all()
        return Understanding(partitions, start, self.context.unix_time(), is_store=self._is_store(table)).of(items, repr(table))

    def _reading(self, table: str) -> Reading:
        return Reading(self._connected(table), table, self._retries, LISTING_SECONDS)

    def _exists(self, table: str) -> bool:
        client = self._connected(table)
        with translated("DescribeTable", table):
            try:
                client.describe_table(TableName=table)
            except Exception as error:
                if is_missing_table(error):
                    return False
                raise
        return True

    def _is_store(self, table: str) -> bool:
        try:
            return table_name(self.settings, self.context.group) == table
        except ConfigurationError:  # the group's name is no name for a table
            return False

    def _rows(self, leases: Sequence[Lease]) -> dict[str, Item]:
        keys = keys_of([lease.partition for lease in leases], self.settings.keys, self.context.streams)
        return {key: item_of(key, lease) for key, lease in zip(keys, leases, strict=True)}

    def _write(self, table: str, leases: Sequence[Lease]) -> Exported:
        rows = self._rows(leases)
        client = self._connected(table)
        Table(client, table, self.settings).open()
        reading = self._reading(table)
        there = {item[KEY]["S"]: item for item in reading.all()}
        statements = [_statement(table, item, there.get(key)) for key, item in rows.items()]
        for (key, item), result in zip(rows.items(), Statements(client, table, self._retries).run(statements), strict=True):
            if isinstance(result, Refused) and not _is_written(reading.find(key), item, there.get(key)):
                fix = "see that no worker is running, and export again"
                raise FencedError(f"{table!r}: somebody has changed the row {key!r} meanwhile", fix=fix)
            if not isinstance(result, Done | Refused):
                raise result
        return Exported(remarks=[*_remarks(leases, rows), *_left_there(there, rows)])


def _statement(table: str, item: Item, there: Item | None) -> Statement:
    """A new row, or new places in one that is as it was read: what it says beside them stays."""
    if there is None:
        return Statement.insert(table, item)
    sets = {name: value for name, value in item.items() if name != KEY} | {COUNTER: _counter_after(there)}
    # What streamkit has once written beside the KCL's columns would count again wherever it says the same place.
    gone = (OWNER, CHECKPOINT_OWNER, PENDING, PENDING_SUB, PENDING_STATE, GRANT, TEXT)
    free = [name for name in gone if name in there and name not in sets]
    return Statement.update(table, sets, free, Where.key(item[KEY]["S"]).equals(COUNTER, there.get(COUNTER)))


def _counter_after(there: Item) -> dict[str, str]:
    return {"N": str(int(there.get(COUNTER, {"N": "0"})["N"]) + 1)}


def _is_written(found: Item | None, item: Item, there: Item | None) -> bool:
    """Whether a write that was refused had been carried out before, and its answer was lost."""
    meant = item | ({COUNTER: _counter_after(there)} if there is not None else {})
    return found is not None and all(found.get(name) == meant.get(name) for name in _PLACE)


def _left_there(there: Mapping[str, Item], rows: Mapping[str, Item]) -> list[str]:
    left = [key for key, item in there.items() if key not in rows and is_lease(item) and item.get(CHECKPOINT, {}).get("S") != SHARD_END]
    text = "in the table, and not of this group any more: left as it is, and the KCL reads it again from there while it is in the stream"
    return [f"{', '.join(sorted(left))}: {text}; if streamkit has finished it, delete the row"] if left else []


def _remarks(leases: Sequence[Lease], rows: dict[str, Item]) -> list[str]:
    remarks = []
    earlier = [str(lease.partition) for lease, item in zip(leases, rows.values(), strict=True) if says_less(item, lease.checkpoint)]
    if earlier:
        text = "the KCL has no word for where they stand (at a time, or at a record that is not done), and begins at the oldest record"
        remarks.append(f"{', '.join(earlier)}: {text}")
    if told := [str(lease.partition) for lease in leases if lease.checkpoint is not None and lease.checkpoint.metadata]:
        remarks.append(f"{', '.join(told)}: the KCL keeps no metadata, and it is left out")
    return remarks


def _items(text: str) -> list[Item]:
    """What `export` writes, a row on each line, or what `aws dynamodb scan` answers."""
    try:
        found = json.loads(text)
        items = _scanned(found) if isinstance(found, dict) and "Items" in found else [found]
    except ValueError:
        items = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                items += [json.loads(line)] if line.strip() else []
            except ValueError as error:
                fix = "give what `aws dynamodb scan` has written, or `streamkit checkpoints export --to kcl`"
                raise ConfigurationError(f"line {number} is not JSON: {error}", fix=fix) from None
    if not isinstance(items, list) or not all(isinstance(item, dict) and all(isinstance(v, dict) for v in item.values()) for item in items):
        raise ConfigurationError("it holds no rows of DynamoDB", fix='each is an object such as {"leaseKey": {"S": "shardId-…"}, …}')
    return items


def _scanned(found: dict[str, list[Item]]) -> list[Item]:
    """What a scan answered. Raises ConfigurationError if it is not all of the table."""
    if found.get("LastEvaluatedKey") or found.get("NextToken") or found.get("Count", len(found["Items"])) != len(found["Items"]):
        raise ConfigurationError("it is not the whole table: the scan goes on", fix="scan all of it, without --max-items and --no-paginate")
    return found["Items"]


def _base64(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()

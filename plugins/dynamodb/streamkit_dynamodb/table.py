"""The table itself: made if it is not there, waited for, and checked before anything is believed of it. Blocking; used at the start,
and when a listing looks as if another table had taken its place."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from streamkit.errors import ConfigurationError, StoreNotReadyError, StoreThrottledError, StoreUnavailableError
from streamkit_dynamodb.answers import Answer, whole
from streamkit_dynamodb.client import DynamoDBClient
from streamkit_dynamodb.errors import TABLE, is_missing_table, table_gone, translated
from streamkit_dynamodb.rows import KEY
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.statements import Retries

__all__ = ["Table", "table_name"]

T = TypeVar("T")

PATIENCE_SECONDS = 15.0
"""For how long a service that throttles or does not answer is asked again: a worker that starts is nobody's but its own loss."""
READY_SECONDS = 120.0
"""A table is made within seconds; one that is restored or deleted takes longer."""
FIRST_LOOK_SECONDS, MAX_LOOK_SECONDS = 0.05, 1.0
REPLAY = ".replay"
"""How the group of a replay ends (`streamkit dead-letters replay`)."""
_FOREIGN = {"ShardID": "vmware-go-kcl or gokini", "shard_id": "async-kinesis", "shard": "kinesis-python", "namespace": "harlow's consumer"}


def table_name(settings: DynamoDBSettings, group: str) -> str:
    """Raises ConfigurationError if the group's name is no name for a table.

    A replay of dead letters has a table of its own, whether the name comes from the group or not: a table with the KCL's keys is
    of one group, and rows of others would be shards to the KCL.
    """
    name = settings.table or group
    if not name.endswith(REPLAY) and group.endswith(REPLAY):
        name += REPLAY
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", name):
        raise ConfigurationError(
            f"a table cannot be called as the group is, {name!r}: 3 to 255 of A-Z a-z 0-9 _ . -",
            setting=TABLE,
            fix=f"set {TABLE} to a name of its own",
        )
    return name


class Table:
    """One table. `monotonic` counts seconds; `pause` waits so many."""

    def __init__(
        self,
        client: DynamoDBClient,
        name: str,
        settings: DynamoDBSettings,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._name = name
        self._settings = settings
        self._monotonic = monotonic
        self._pause = pause
        self._identity = ""

    def open(self) -> None:
        """It is there, ACTIVE, and has the right key.

        Raises ConfigurationError for a table of another kind, StoreNotReadyError if it does not become ACTIVE in time,
        AccessDeniedError, StoreUnavailableError, StoreThrottledError.
        """
        until, seconds = self._monotonic() + READY_SECONDS, FIRST_LOOK_SECONDS
        while True:
            found = self._patiently(self._describe)
            status = found.get("TableStatus") if found else "missing"
            if found and status in ("ACTIVE", "UPDATING"):
                self._check_key(found)
                self._identity = _identity(found)
                return
            if self._monotonic() >= until:
                message = f"the table {self._name!r} is {status} for {READY_SECONDS:g}s"
                raise StoreNotReadyError(message, fix="look at it in the AWS console")
            if found is None and self._patiently(self._create):
                continue
            self._pause(seconds)
            seconds = min(MAX_LOOK_SECONDS, 2 * seconds)

    def check_same(self) -> None:
        """Raises ConfigurationError if the table was deleted since `open`, whether it was made anew or not."""
        found = self._describe()
        if found is None or _identity(found) != self._identity:
            raise table_gone(self._name)

    def _patiently(self, ask: Callable[[], T]) -> T:
        again = Retries(self._monotonic, PATIENCE_SECONDS, self._pause, most=1000).begin()
        while True:
            try:
                return ask()
            except (StoreThrottledError, StoreUnavailableError):
                if not again():
                    raise

    def _describe(self) -> Answer | None:
        """None: there is no such table."""
        doing = "DescribeTable"
        with translated(doing, self._name):
            try:
                answer = self._client.describe_table(TableName=self._name)
            except ClientError as error:
                if is_missing_table(error):
                    return None
                raise
            found: Answer = whole(whole(answer, ["Table"], doing)["Table"], ["TableStatus", "KeySchema"], doing)
            return found

    def _create(self) -> bool:
        """False if another worker is making it, or the one before is still being deleted."""
        try:
            with translated("CreateTable", self._name):
                self._client.create_table(**_request(self._name, self._settings))
        except StoreNotReadyError:
            return False
        return True

    def _check_key(self, found: Answer) -> None:
        schema = [(one["AttributeName"], one["KeyType"]) for one in found["KeySchema"]]
        types = {one["AttributeName"]: one["AttributeType"] for one in found.get("AttributeDefinitions", [])}
        if schema == [(KEY, "HASH")] and types.get(KEY) == "S":
            return
        has = ", ".join(f"{name} ({kind}, {types.get(name, '?')})" for name, kind in schema)
        owner = _FOREIGN.get(schema[0][0], "")
        raise ConfigurationError(
            f"{self._name!r} is no lease table: its key is {has}, and should be {KEY} (HASH, S)" + (f"; {owner} made it" if owner else ""),
            setting=TABLE,
            fix="name another table; it is made if it is not there",
        )


def _request(name: str, settings: DynamoDBSettings) -> dict[str, Any]:
    request: dict[str, Any] = {
        "TableName": name,
        "KeySchema": [{"AttributeName": KEY, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": KEY, "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if settings.billing == "provisioned":
        units = {"ReadCapacityUnits": settings.read_units, "WriteCapacityUnits": settings.write_units}
        request |= {"BillingMode": "PROVISIONED", "ProvisionedThroughput": units}
    if settings.tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in settings.tags.items()]
    if settings.deletion_protection:
        request["DeletionProtectionEnabled"] = True
    return request


def _identity(found: Answer) -> str:
    """Which table of that name it is."""
    return str(found.get("TableId") or found.get("CreationDateTime", ""))

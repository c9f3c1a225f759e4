"""Stores by name, or by the address of a server, and short ways to write what they keep."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from streamkit_dynamodb.client import DynamoDBClient, make_client
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.memory import MemorySettings, MemoryStore
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from tests.conformance.context import PlainContext

__all__ = ["DYNAMODB", "AnyStore", "after", "opened", "partition", "where_it_is"]

AnyStore = MemoryStore | FileStore | SqliteStore | DynamoDBStore

DYNAMODB = pytest.param("dynamodb", marks=pytest.mark.integration)


def where_it_is(request: pytest.FixtureRequest) -> str:
    """The kind of store that a test is to run with, as `opened` wants it: its name, or the address of its server."""
    kind = str(request.param)
    if kind != "dynamodb":
        return kind
    server = request.getfixturevalue("dynamodb_server")
    monkeypatch = request.getfixturevalue("monkeypatch")
    for name, value in server.settings().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    return str(server.endpoint_url)


def partition(name: str = "0", *, stream: str = "orders", incarnation: str = "c/1") -> Partition:
    return Partition(stream, name, incarnation=incarnation)


def after(sequence: int, of: Partition | None = None, *, metadata: str = "") -> Checkpoint:
    return Checkpoint(of or partition(), StartPosition.after(Position(sequence)), metadata=metadata, owner="w")


def _shared_client(settings: DynamoDBSettings, table: str) -> DynamoDBClient:
    """One for all stores: to make one takes longer than most tests."""
    return _made_once(settings.endpoint_url)


@functools.cache
def _made_once(endpoint_url: str) -> DynamoDBClient:
    client = make_client(DynamoDBSettings(endpoint_url=endpoint_url, region="us-east-1"), "")
    client.close = lambda: None  # type: ignore[method-assign]
    return client


@asynccontextmanager
async def opened(kind: str, where: Path, *, broker: str = "memory", group: str = "g", worker: str = "w") -> AsyncIterator[AnyStore]:
    """A store over what is at `where`; two of them at once are two owners' stores of the same rows."""
    context = PlainContext(broker=broker, group=group, worker=worker)
    store: AnyStore
    if kind == "memory":
        store = MemoryStore(MemorySettings(name=str(where)), context)
    elif kind.startswith("http"):
        table = f"t-{hashlib.sha256(str(where).encode()).hexdigest()[:24]}"
        store = DynamoDBStore(DynamoDBSettings(endpoint_url=kind, region="us-east-1", table=table), context, _shared_client)
    elif kind == "file":
        store = FileStore(FileSettings(path=where / "checkpoints"), context)
    else:
        store = SqliteStore(SqliteSettings(path=where / "checkpoints.db"), context)
    try:
        await store.open()
        yield store
    finally:
        await store.close()

"""The three built-in stores by name, and short ways to write what they keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.memory import MemorySettings, MemoryStore
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from tests.conformance.context import PlainContext

__all__ = ["AnyStore", "after", "opened", "partition"]

AnyStore = MemoryStore | FileStore | SqliteStore


def partition(name: str = "0", *, stream: str = "orders", incarnation: str = "c/1") -> Partition:
    return Partition(stream, name, incarnation=incarnation)


def after(sequence: int, of: Partition | None = None, *, metadata: str = "") -> Checkpoint:
    return Checkpoint(of or partition(), StartPosition.after(Position(sequence)), metadata=metadata, owner="w")


@asynccontextmanager
async def opened(kind: str, where: Path, *, broker: str = "memory", group: str = "g", worker: str = "w") -> AsyncIterator[AnyStore]:
    """A store over what is at `where`; two of them at once are two owners' stores of the same rows."""
    context = PlainContext(broker=broker, group=group, worker=worker)
    store: AnyStore
    if kind == "memory":
        store = MemoryStore(MemorySettings(name=str(where)), context)
    elif kind == "file":
        store = FileStore(FileSettings(path=where / "checkpoints"), context)
    else:
        store = SqliteStore(SqliteSettings(path=where / "checkpoints.db"), context)
    try:
        await store.open()
        yield store
    finally:
        await store.close()

"""The stores of streamkit itself by name, and short ways to write what they keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from streamkit.builtin.file import FileSettings, FileStore
from streamkit.builtin.memory import MemorySettings, MemoryStore
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.testing.conformance.store_bench import after, partition
from tests.conformance.context import PlainContext

__all__ = ["AnyStore", "Kind", "after", "opened", "partition"]

AnyStore = MemoryStore | FileStore | SqliteStore
Kind = Literal["memory", "file", "sqlite"]


@asynccontextmanager
async def opened(kind: Kind, where: Path, *, broker: str = "memory", group: str = "g", worker: str = "w") -> AsyncIterator[AnyStore]:
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

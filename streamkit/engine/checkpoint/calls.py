"""Calling a store from the control thread: each store lives on the I/O loop, or on its reader's thread."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from streamkit.engine.reading import Reading
from streamkit.engine.runtime import Carrier
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import CheckpointStore, Claim, Grant

__all__ = ["IoStoreCalls", "ReaderStoreCalls"]


class IoStoreCalls:
    """A store of its own (memory, file, sqlite, …), on the I/O loop."""

    def __init__(self, store: CheckpointStore, io: Carrier) -> None:
        self._store = store
        self._io = io

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]:
        return self._io.call("claim", self._store.claim(partition, owner, epoch))

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]:
        return self._io.call("save", self._store.save(checkpoints))

    def list(self) -> Awaitable[Sequence[Checkpoint]]:
        return self._io.call("list", self._store.list())


class ReaderStoreCalls:
    """The group's own store: its calls are made on the reader's thread, between polls and inside revoke callbacks."""

    def __init__(self, store: CheckpointStore, reading: Reading) -> None:
        self._store = store
        self._reading = reading

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]:
        return self._reading.call(lambda: self._store.claim(partition, owner, epoch))

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]:
        return self._reading.call(lambda: self._store.save(checkpoints))

    def list(self) -> Awaitable[Sequence[Checkpoint]]:
        return self._reading.call(lambda: self._store.list())

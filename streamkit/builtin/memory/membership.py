"""A member of a group of the memory broker: the coordinator says what to read, a `MemoryReader` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from streamkit.builtin.memory.coordinator import Changes, Subscriber
from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.builtin.memory.settings import MemorySettings
from streamkit.builtin.memory.store import MemoryStore
from streamkit.errors import BrokerError, StreamGoneError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import AdapterContext, Assigned, Budget, Event, Idle, Lost, Membership, Revoked

__all__ = ["MemoryMembership"]

_IDLE_SECONDS = 0.01


class MemoryMembership(Membership):
    """Every poll is its sign of life. `done` of a `Revoked` may be called from any thread."""

    def __init__(self, log: MemoryLog, settings: MemorySettings, context: AdapterContext, streams: Sequence[str], group: str) -> None:
        self.checkpoints = MemoryStore(settings, context, group=group)
        self._log = log
        self._settings = settings
        self._context = context
        self._group = log.group(group)
        self._subscriber = Subscriber(
            log.member_id(context.worker),
            tuple(streams),
            settings.session_timeout.total_seconds(),
            settings.revoke_timeout.total_seconds(),
        )
        self._reader = MemoryReader(log, context)
        self._held: set[Partition] = set()  # what we own, to our knowledge; this and the next under the log's lock
        self._revoked: set[Partition] = set()  # of these, what we were asked to give back

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        if partition not in self._held - self._revoked:
            raise BrokerError(f"{partition} is not assigned to {self._subscriber.member}", broker="memory", partition=partition.id)
        await self._reader.add(partition, start, written=written, epoch=epoch)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        await self._reader.remove(partitions)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        await self._reader.pause(partitions)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        await self._reader.resume(partitions)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        await self._log.faults.strike("poll", self._context.worker)
        with self._log.lock:
            changes = self._group.poll(self._subscriber, self._partitions(), self._held, self._context.monotonic())
            self._forget(changes.lost)
            self._held.update(changes.assigned)
            self._revoked.update(changes.revoked)
            self._reader.drop(changes.revoked)
            events = self._told(changes)
            return [*events, *self._reader.read(budget)] or [Idle(_IDLE_SECONDS)]

    async def leave(self) -> None:
        with self._log.lock:
            self._group.leave(self._subscriber.member)
            self._forget(tuple(self._held))

    def _told(self, changes: Changes) -> list[Event]:
        events: list[Event] = []
        if changes.lost:
            events.append(Lost(changes.lost))
        if changes.revoked:
            done = partial(self._done, changes.revocation, changes.revoked)
            events.append(Revoked(changes.revoked, self._subscriber.revoke_seconds, done))
        if changes.assigned:
            events.append(Assigned(changes.assigned, self._group.generation))
        return events

    def _done(self, revocation: int, partitions: Sequence[Partition]) -> None:
        with self._log.lock:
            self._group.done(revocation)
            self._forget([p for p in partitions if not self._group.owns(self._subscriber.member, p)])

    def _forget(self, partitions: Sequence[Partition]) -> None:
        self._held.difference_update(partitions)
        self._revoked.difference_update(partitions)
        self._reader.drop(partitions)

    def _partitions(self) -> frozenset[Partition]:
        """All that exist. Raises StreamGoneError for a stream that this group has never seen."""
        for stream in self._subscriber.streams:
            if not stream.startswith("^"):
                if self._settings.auto_create:
                    self._log.ensure(stream, self._settings.partitions, "kafka", now=self._context.unix_time())
                try:
                    self._log.topic(stream)
                except StreamGoneError:
                    if not self._group.knows(stream):
                        raise
        return self._log.group_partitions()

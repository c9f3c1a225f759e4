"""A broker and a store that do exactly what a test tells them: what the next poll returns, what the next save answers.

The `Script` is the world outside the app: it outlives a crash. Membership and store only carry out what it holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from streamkit.errors import CheckpointPositionError, FencedError, StoreUnavailableError
from streamkit.model import Batch, Capabilities, Checkpoint, Partition, PlainRecord, Position, Record, StartPosition
from streamkit.plugin import (
    AdapterContext,
    Budget,
    CaughtUp,
    CheckpointStore,
    Claim,
    Ended,
    Event,
    Grant,
    GroupBroker,
    Idle,
    Membership,
    NewRecord,
    Producer,
    Reader,
    Revoked,
    fencing,
)

__all__ = ["Script", "ScriptedBroker", "ScriptedMembership", "ScriptedProducer", "ScriptedStore"]

IDLE_SECONDS = 0.05
Operation = Literal["discover", "tips", "claim", "save", "list", "add", "leave", "close", "send"]


class Script:
    """Logs, checkpoints, and what is to happen next."""

    def __init__(self, ids: Sequence[str], stream: str = "stream") -> None:
        self.stream = stream
        self.logs: dict[Partition, list[Record]] = {Partition(stream, name): [] for name in ids}
        self.ended: dict[Partition, tuple[Partition, ...]] = {}
        """Closed partitions and their children."""
        self.events: deque[Event | Exception] = deque()
        """What the next poll returns, all at once, before any record; an exception is raised alone."""
        self.failures: dict[str, deque[Exception]] = {}
        self.rows: dict[Partition, fencing.Row] = {}
        self.requests: dict[Partition, str] = {}
        """What the owners of partitions are asked for."""
        self.saves: list[Checkpoint] = []
        """Everything that was ever written, in order."""
        self.letters: list[NewRecord] = []
        """What the dead-letter target has acknowledged."""
        self.journal: list[tuple[str, object]] = []
        """Every call that the engine made, with what it was about."""
        self.starts_written: list[tuple[Partition, datetime | None]] = []
        """When the record of each start was written, as the reader was told with it, in order."""
        self.tips_are_known = True
        """Whether the broker tells the newest position of each partition."""
        self.save_seconds = 0.0
        """How long a save takes."""
        self.send_seconds = 0.0
        """How long the dead-letter target takes to acknowledge."""
        self.poll_seconds = 0.0
        """How long a poll takes; what it returns is decided at its end."""
        self.answers: Callable[[list[Grant | Exception]], Sequence[Grant | Exception]] = lambda answers: answers
        """Changes what a save answers, after it was written."""

    def partition(self, name: str) -> Partition:
        """The partition of that id. Raises KeyError if there is none."""
        partition = Partition(self.stream, name)
        if partition not in self.logs:
            raise KeyError(f"there is no partition {name}; there are {', '.join(p.id for p in self.logs)}")
        return partition

    def write(self, record: NewRecord, partition: Partition, now: float) -> Record:
        """Append to the log of a partition. Raises ValueError if it is closed."""
        if partition in self.ended:
            raise ValueError(f"{partition} is closed: nothing can be written to it any more")
        log = self.logs[partition]
        position = Position(len(log))
        time = datetime.fromtimestamp(now, UTC)
        log.append(PlainRecord(partition, position, record.value, key=record.key, headers=tuple(record.headers), timestamp=time))
        return log[-1]

    def fail(self, operation: Operation, error: Exception, times: int = 1) -> None:
        """Let the next `times` calls of `operation` raise `error`."""
        self.failures.setdefault(operation, deque()).extend([error] * times)

    def strike(self, operation: Operation, subject: object) -> None:
        """Called at the start of every operation."""
        self.journal.append((operation, subject))
        self.refuse(operation)

    def refuse(self, operation: Operation) -> None:
        """Raise what `fail` has ordered for it, if anything."""
        if failures := self.failures.get(operation):
            raise failures.popleft()

    def take(self, partition: Partition) -> None:
        """Another owner claims it: our next save meets a `FencedError`."""
        self.rows[partition] = fencing.claimed(self.rows.get(partition), partition, "somebody else", 0)


class NoSettings(BaseModel):
    """Everything is in the script."""


class ScriptedBroker(GroupBroker[NoSettings]):
    """One stream, one member."""

    capabilities = Capabilities(group=True, static=True, start_time=True)

    def __init__(self, script: Script, context: AdapterContext, wait: Callable[[float], Awaitable[None]]) -> None:
        """`wait`: let virtual time pass."""
        super().__init__(NoSettings(), context)
        self._script = script
        self._wait = wait

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        self._script.refuse("discover")
        return list(self._script.logs)

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        self._script.refuse("tips")
        logs = [self._script.logs[partition] for partition in partitions]
        if not self._script.tips_are_known:
            return [Position(None) for _ in logs]
        return [log[-1].position if log else None for log in logs]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        log = self._script.logs[partition]
        if start.kind == "latest":
            return StartPosition.at(Position(len(log)))
        if start.time is not None:
            return StartPosition.at(Position(sum(1 for record in log if record.timestamp < start.time)))
        return start

    def reader(self) -> Reader:
        return ScriptedMembership(self._script, self.context, self._wait)

    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> Membership:
        return ScriptedMembership(self._script, self.context, self._wait)


class ScriptedMembership(Membership):
    """Reads the logs of the script from where it was told to, and returns the script's events."""

    def __init__(self, script: Script, context: AdapterContext, wait: Callable[[float], Awaitable[None]]) -> None:
        self._script = script
        self._context = context
        self._wait = wait
        self._next: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._at_tip: set[Partition] = set()

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        self._script.strike("add", (partition, start))
        self._script.starts_written.append((partition, written))
        self._next[partition] = _index(start)
        self._paused.discard(partition)
        self._at_tip.discard(partition)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        self._script.journal.append(("remove", tuple(partitions)))
        for partition in partitions:
            self._next.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._script.journal.append(("pause", tuple(partitions)))
        self._paused.update(partitions)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._script.journal.append(("resume", tuple(partitions)))
        self._paused.difference_update(partitions)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        if self._script.poll_seconds:
            await self._wait(self._script.poll_seconds)
        events = self._script.events
        if events and isinstance(events[0], Exception):
            raise events.popleft()  # type: ignore[misc]
        told: list[Event] = []
        while events and not isinstance(events[0], Exception):
            told.append(events.popleft())  # type: ignore[arg-type]
        return told or self._read(budget) or [Idle(IDLE_SECONDS)]

    def _read(self, budget: Budget) -> list[Event]:
        events: list[Event] = []
        for partition, begin in list(self._next.items()):
            if partition in self._paused:
                continue
            log = self._script.logs[partition]
            if records := log[begin : begin + budget.max_records]:
                self._next[partition] = begin + len(records)
                self._at_tip.discard(partition)
                events.append(Batch.of(records, received=self._context.unix_time(), lag_records=len(log) - begin - len(records)))
            elif partition in self._script.ended:
                del self._next[partition]
                events.append(Ended(partition, self._script.ended[partition]))
            elif partition not in self._at_tip:
                self._at_tip.add(partition)
                events.append(CaughtUp(partition))
        return events

    async def leave(self) -> None:
        self._script.strike("leave", None)

    async def close(self) -> None:
        self._script.strike("close", None)


def _index(start: StartPosition) -> int:
    if start.position is None:
        return 0
    return (start.position.sequence or 0) + (start.kind == "after")


class ScriptedProducer(Producer[NoSettings]):
    """The dead-letter target."""

    def __init__(self, script: Script, context: AdapterContext, wait: Callable[[float], Awaitable[None]]) -> None:
        super().__init__(NoSettings(), context)
        self._script = script
        self._wait = wait

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        self._script.strike("send", (stream, tuple(records)))
        if self._script.send_seconds:
            await self._wait(self._script.send_seconds)
        self._script.letters.extend(records)
        return [None] * len(records)


class ScriptedStore(CheckpointStore):
    """Fenced, and kept in the script."""

    capabilities = Capabilities(fencing=True, scope="process", metadata_characters=4096, pending_bytes=1 << 20, parked_bytes=1 << 16)

    def __init__(self, script: Script, wait: Callable[[float], Awaitable[None]]) -> None:
        self.is_dead = False
        """The process that calls has died: nothing that it still tries is written."""
        self._script = script
        self._wait = wait

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        self._check_alive()
        self._script.strike("claim", partition)
        row = self._script.rows[partition] = fencing.claimed(self._script.rows.get(partition), partition, owner, epoch)
        return fencing.claim_of(row)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        partitions = tuple(checkpoint.partition for checkpoint, _ in checkpoints)
        self._script.strike("save", partitions)
        if self._script.save_seconds:
            await self._wait(self._script.save_seconds)
        self._check_alive()
        answers = self._script.answers([self._save(checkpoint, grant) for checkpoint, grant in checkpoints])
        self._script.journal.append(("saved", partitions))
        return answers

    def _check_alive(self) -> None:
        if self.is_dead:
            raise StoreUnavailableError("this process has died")

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
        try:
            row = fencing.saved(self._script.rows.get(checkpoint.partition), checkpoint, grant)
        except (FencedError, CheckpointPositionError) as error:
            return error
        self._script.rows[checkpoint.partition] = row
        self._script.saves.append(checkpoint)
        return grant

    async def list(self) -> Sequence[Checkpoint]:
        self._script.strike("list", None)
        return [row.checkpoint for row in self._script.rows.values() if row.checkpoint is not None]

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        self._script.rows[checkpoint.partition] = fencing.overwritten(self._script.rows.get(checkpoint.partition), checkpoint)

    async def delete(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._script.rows[partition] = fencing.forgotten(self._script.rows[partition])

    async def ask(self, partition: Partition, request: str) -> None:
        self._script.requests[partition] = request

    async def requests(self) -> Mapping[Partition, str]:
        return dict(self._script.requests)

    async def answered(self, partition: Partition, request: str) -> None:
        self._check_alive()
        if self._script.requests.get(partition) == request:
            del self._script.requests[partition]

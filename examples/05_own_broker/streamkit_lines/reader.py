"""Reads whole lines, many files in turns. One thread makes every call, so nothing here needs a lock."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from streamkit.errors import StreamGoneError
from streamkit.model import Batch, Partition, PlainRecord, Position, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Event, Failed, Idle, Reader

__all__ = ["LinesReader"]


class LinesReader(Reader):
    blocking: ClassVar[bool] = True  # reading a file blocks, so the engine gives this reader a thread

    def __init__(self, path: Path, context: AdapterContext) -> None:
        self._path = path
        self._context = context
        self._next: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._at_end: set[Partition] = set()

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        byte = 0 if start.position is None else start.position.sequence or 0
        if start.kind == "after":
            byte += len(self._lines(partition, byte, 1, 1)[0])
        self._next[partition] = byte
        self._paused.discard(partition)
        self._at_end.discard(partition)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused.update(partitions)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused.difference_update(partitions)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        events: list[Event] = []
        records, size = budget.max_records, budget.max_bytes
        for partition in [partition for partition in self._next if partition not in self._paused]:
            if records > 0 and size > 0 and (event := self._read(partition, records, size)) is not None:
                events.append(event)
                if isinstance(event, Batch):
                    records, size = records - len(event), size - event.bytes
                    self._next[partition] = self._next.pop(partition)  # it comes last in the next poll
        return events or [Idle(0.1)]

    def _read(self, partition: Partition, max_records: int, max_bytes: int) -> Event | None:
        try:
            lines = self._lines(partition, self._next[partition], max_records, max_bytes)
        except FileNotFoundError as error:
            del self._next[partition]
            return Failed(partition, StreamGoneError(f"{partition}: {error}", broker="lines", partition=str(partition)))
        if not lines:
            return None if partition in self._at_end else self._caught_up(partition)
        self._at_end.discard(partition)
        records = []
        now = self._context.unix_time()
        for line in lines:
            position = Position(self._next[partition])
            records.append(PlainRecord(partition, position, line.rstrip(b"\n"), timestamp=datetime.fromtimestamp(now, UTC)))
            self._next[partition] += len(line)
        return Batch.of(records, received=now)

    def _caught_up(self, partition: Partition) -> CaughtUp:
        self._at_end.add(partition)
        return CaughtUp(partition)

    def _lines(self, partition: Partition, byte: int, max_lines: int, max_bytes: int) -> list[bytes]:
        """Whole lines from `byte` on; at least one, however long, if there is one."""
        lines: list[bytes] = []
        with (self._path / partition.stream / f"{partition.id}.txt").open("rb") as file:
            file.seek(byte)
            while len(lines) < max_lines and sum(map(len, lines)) < max_bytes and (line := file.readline()).endswith(b"\n"):
                lines.append(line)
        return lines

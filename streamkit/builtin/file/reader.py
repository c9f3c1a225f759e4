"""Follows files of JSON lines. Opens a file for each look at it, so a file that is replaced or cut is noticed, and none stays open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from streamkit.builtin.file.lines import decode, is_torn
from streamkit.builtin.file.log import BROKER, Mark, find_line, lines_from, opened, partition_of
from streamkit.errors import BrokerError, PositionInvalidError
from streamkit.model import Batch, Partition, PlainRecord, Position, Record, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Event, Failed, Idle, Reader

__all__ = ["FileReader", "line_after"]

_IDLE_SECONDS = 0.1
_PATIENCE_SECONDS = 1.0
"""How long a last line may stay half written before it counts as cut off. A program that writes in pieces gets as much time."""


@dataclass(slots=True, eq=False)
class _Cursor:
    partition: Partition
    mark: Mark
    """The first line that has not been returned."""
    file_id: tuple[int, int]
    """Device and inode, to notice cheaply that the file may be another one."""
    paused: bool = False
    caught_up: bool = False
    unended: bool = False
    """The line before `mark` had no end when it was returned."""
    half: tuple[int, float] | None = None
    """A last line that is not whole: the size of the file, and since when it is so."""


class FileReader(Reader):
    """One cursor for each file; the one that was served longest ago comes first."""

    blocking = True

    def __init__(self, context: AdapterContext) -> None:
        self._context = context
        self._cursors: dict[Partition, _Cursor] = {}
        self._reported: set[tuple[Partition, Mark]] = set()
        """Half lines at the end of a file that have been reported."""

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        line = line_after(partition, start)
        with opened(partition.stream) as file:
            mark, unended = find_line(file, line), False
            if mark.line == line - 1:  # the line before may have no end
                whole = list(lines_from(file, mark))
                if whole and not whole[0][1].endswith(b"\n"):
                    mark, unended = Mark(line, mark.offset + len(whole[0][1])), True
            if mark.line < line:
                text = f"{partition.stream!r} has no line {line - 1} any more: it ends before"
                raise PositionInvalidError(text, broker=BROKER, partition=partition.id, fix="say where to go on: streamkit checkpoints set")
            self._cursors[partition] = _Cursor(partition, mark, _id_of(file), unended=unended)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._cursors.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._set_paused(partitions, False)

    def _set_paused(self, partitions: Sequence[Partition], paused: bool) -> None:
        for partition in partitions:
            if (cursor := self._cursors.get(partition)) is not None:
                cursor.paused = paused

    async def poll(self, budget: Budget) -> Sequence[Event]:
        events: list[Event] = []
        records, size = budget.max_records, budget.max_bytes
        waiting = [cursor for cursor in self._cursors.values() if not cursor.paused]
        for index, cursor in enumerate(waiting):
            left = len(waiting) - index
            if records < 1 or (size < 1 and events):
                break
            found = self._look(cursor, max(1, records // left), max(1, size // left))
            for event in found:
                if isinstance(event, Batch):
                    records -= len(event)
                    size -= event.bytes
                    if self._cursors.pop(cursor.partition, None) is not None:
                        self._cursors[cursor.partition] = cursor  # served: to the end of the row
            events += found
        return events or [Idle(_IDLE_SECONDS)]

    def _look(self, cursor: _Cursor, max_records: int, max_bytes: int) -> list[Event]:
        try:
            with opened(cursor.partition.stream) as file:
                self._check(cursor, file)
                return self._read(cursor, file, max_records, max_bytes)
        except BrokerError as error:
            del self._cursors[cursor.partition]
            return [Failed(cursor.partition, error)]

    def _check(self, cursor: _Cursor, file: BinaryIO) -> None:
        """Raise PositionInvalidError if it is not the file that we were reading, or no longer holds what we have read."""
        partition = cursor.partition
        if _id_of(file) != cursor.file_id:  # an editor that saves makes a new file of the same content
            now = partition_of(partition.stream).incarnation
            if now and partition.incarnation and now != partition.incarnation:
                raise PositionInvalidError(f"{partition.stream!r} has been made anew", broker=BROKER, partition=partition.id)
            cursor.file_id = _id_of(file)
        if os.fstat(file.fileno()).st_size < cursor.mark.offset:
            text = f"{partition.stream!r} has become shorter than what was read of it"
            raise PositionInvalidError(text, broker=BROKER, partition=partition.id, fix="files may only grow while they are read")
        if cursor.unended:
            file.seek(cursor.mark.offset)
            following = file.read(1)
            if following == b"\n":
                cursor.mark, cursor.unended = Mark(cursor.mark.line, cursor.mark.offset + 1), False
            elif following:
                text = f"{partition.stream!r}: line {cursor.mark.line - 1} was continued after it had been read"
                raise PositionInvalidError(text, broker=BROKER, partition=partition.id, fix="end each line when it is written")

    def _read(self, cursor: _Cursor, file: BinaryIO, max_records: int, max_bytes: int) -> list[Event]:
        """A batch, and what stopped it."""
        partition = cursor.partition
        records: list[Record] = []
        stopped: list[Event] = []
        for mark, line in lines_from(file, cursor.mark, max_bytes):
            if len(records) == max_records:
                break
            try:
                record = _record(partition, mark, line)
            except ValueError as error:
                stopped = [self._stumble(cursor, mark, line, error)]
                break
            cursor.mark = Mark(mark.line + 1, mark.offset + len(line))
            cursor.unended = not line.endswith(b"\n")
            cursor.half = None
            if record is not None:
                records.append(record)
        if records:
            cursor.caught_up = False
        batch: list[Event] = [Batch.of(records, received=self._context.unix_time())] if records else []
        return batch + (stopped or self._at_end(cursor, file))

    def _stumble(self, cursor: _Cursor, mark: Mark, line: bytes, error: ValueError) -> Event:
        """A line that is no record. What a crash left of one is passed over, loudly; anything else is for people to mend."""
        partition = cursor.partition
        del self._cursors[partition]
        if is_torn(line):
            text = f"line {mark.line} of {partition.stream!r} was cut off when its writer died, and never acknowledged"
            return Failed(partition, BrokerError(text, broker=BROKER, partition=partition.id), StartPosition.at(Position(mark.line + 1)))
        text = f"line {mark.line} of {partition.stream!r} is not a record: {error}"
        return Failed(partition, BrokerError(text, broker=BROKER, partition=partition.id, fix="mend the line, or empty it"))

    def _at_end(self, cursor: _Cursor, file: BinaryIO) -> list[Event]:
        """What is to be said at the end of the file, once; nothing while it may only look like the end."""
        size = os.fstat(file.fileno()).st_size
        partition = cursor.partition
        if size > cursor.mark.offset and not cursor.unended:
            file.seek(cursor.mark.offset)
            if file.readline().endswith(b"\n"):
                return []  # more lines, which the next poll brings
            if not self._is_cut_off(cursor, size):
                return []
            if (partition, cursor.mark) not in self._reported:
                self._reported.add((partition, cursor.mark))
                del self._cursors[partition]
                text = f"{partition.stream!r} ends in the middle of line {cursor.mark.line}: its writer died, or has not finished"
                here = StartPosition.at(Position(cursor.mark.line))
                return [Failed(partition, BrokerError(text, broker=BROKER, partition=partition.id), here)]
        if cursor.caught_up:
            return []
        cursor.caught_up = True
        return [CaughtUp(partition)]

    def _is_cut_off(self, cursor: _Cursor, size: int) -> bool:
        now = self._context.monotonic()
        if cursor.half is None or cursor.half[0] != size:
            cursor.half = (size, now)
        return now - cursor.half[1] >= _PATIENCE_SECONDS or (cursor.partition, cursor.mark) in self._reported


def line_after(partition: Partition, start: StartPosition) -> int:
    """The line that a reader which begins at `start` is given first. `start` is resolved. Raises PositionInvalidError."""
    if start.kind == "earliest":
        return 1
    if start.position is None or start.position.sequence is None:
        raise PositionInvalidError(f"{partition}: there is no line at {start}", broker=BROKER, partition=partition.id)
    return max(1, start.position.sequence + (start.kind == "after" or start.position.sub_sequence > 0))


def _record(partition: Partition, mark: Mark, line: bytes) -> Record | None:
    """Raises ValueError if the line is none; None for a blank one."""
    content = decode(line)
    if content is None:
        return None
    position = Position(mark.line)
    return PlainRecord(partition, position, content.value, key=content.key, headers=content.headers, timestamp=content.time, native=line)


def _id_of(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino

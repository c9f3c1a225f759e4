"""Files of JSON lines as streams: a stream is a path, relative to the current folder, and has the one partition `0`.

For dead letters, for first steps and for tests. No groups: each process reads what it is told (static ownership).
"""

from __future__ import annotations

from collections.abc import Sequence

from streamkit.builtin.file.lines import decode
from streamkit.builtin.file.log import BROKER, Mark, count_lines, lines_from, opened, partition_of
from streamkit.builtin.file.reader import FileReader, line_after
from streamkit.builtin.file.settings import FileSettings
from streamkit.errors import PositionInvalidError, UnsupportedError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import Broker, Reader

__all__ = ["FileBroker"]


class FileBroker(Broker[FileSettings]):
    """Every question is answered by looking through the file; that is fast enough for files that people look into."""

    capabilities = Capabilities(static=True, start_time=True)

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        for stream in streams:
            if stream.startswith("^"):
                raise UnsupportedError(
                    f"{stream!r} is a pattern, and files are read by their names", setting="STREAMKIT_STREAM", fix="name each file"
                )
        return [await self.blocking(partition_of, stream) for stream in dict.fromkeys(streams)]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        return [await self.blocking(_tip, partition) for partition in partitions]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        return await self.blocking(_resolve, partition, start)

    def reader(self) -> Reader:
        return FileReader(self.context)


def _tip(partition: Partition) -> Position | None:
    """A line that is only begun counts: a run to the end has to look whether it will be a record."""
    with opened(partition.stream) as file:
        _, begun = count_lines(file)
    return Position(begun) if begun else None


def _resolve(partition: Partition, start: StartPosition) -> StartPosition:
    if start.kind == "time":
        return StartPosition.at(Position(_line_at_time(partition, start)))
    with opened(partition.stream) as file:
        count, _ = count_lines(file)
    if start.kind == "latest":
        return StartPosition.at(Position(count + 1))
    if (line := line_after(partition, start)) > count + 1:
        text = f"{partition.stream!r} has {count} lines, and {start} lies beyond them (line {line})"
        raise PositionInvalidError(text, broker=BROKER, partition=partition.id)
    return StartPosition.at(Position(1)) if start.kind == "earliest" else start


def _line_at_time(partition: Partition, start: StartPosition) -> int:
    """The first line that is not older. A line that does not say when it was written, or is no record, counts as new."""
    assert start.time is not None
    number = 1
    with opened(partition.stream) as file:
        for mark, text in lines_from(file, Mark(1, 0)):
            try:
                line = decode(text)
            except ValueError:
                return mark.line
            if line is not None and (line.time is None or line.time >= start.time):
                return mark.line
            number = mark.line + 1
    return number

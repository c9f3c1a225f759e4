"""Which files there are, and where they end. A position is the byte at which a line begins, so positions have gaps."""

from collections.abc import Sequence
from pathlib import Path

from streamkit.errors import PositionInvalidError, StreamGoneError, UnsupportedError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import Broker
from streamkit_lines import LinesSettings
from streamkit_lines.reader import LinesReader

__all__ = ["LinesBroker"]


class LinesBroker(Broker[LinesSettings]):
    capabilities = Capabilities(static=True)

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        for stream in streams:
            if stream.startswith("^"):
                raise UnsupportedError(f"{stream!r} is a pattern, and folders are read by their names", setting="STREAMKIT_STREAM")
        return [partition for stream in dict.fromkeys(streams) for partition in await self.blocking(self._files, stream)]

    def _files(self, stream: str) -> list[Partition]:
        folder = self.settings.path / stream
        if not folder.is_dir():
            raise StreamGoneError(f"there is no folder {str(folder)!r}", broker="lines", fix="correct STREAMKIT_STREAM")
        return [Partition(stream, file.stem, incarnation=str(folder.resolve())) for file in sorted(folder.glob("*.txt"))]

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        return await self.blocking(lambda: [self._last_line(partition) for partition in partitions])

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        end = await self.blocking(self._end, partition)
        if start.kind == "latest":
            return StartPosition.at(Position(end))
        if start.position is not None and (start.position.sequence or 0) > end:
            raise PositionInvalidError(f"{partition}: {start} lies beyond its end, {end}", broker="lines", partition=str(partition))
        return start

    def reader(self) -> LinesReader:
        return LinesReader(self.settings.path, self.context)

    def _end(self, partition: Partition) -> int:
        """After the last whole line."""
        return file_of(self.settings.path, partition).read_bytes().rfind(b"\n") + 1

    def _last_line(self, partition: Partition) -> Position | None:
        whole = file_of(self.settings.path, partition).read_bytes()[: self._end(partition)]
        return Position(whole.rstrip(b"\n").rfind(b"\n") + 1) if whole else None


def file_of(path: Path, partition: Partition) -> Path:
    return path / partition.stream / f"{partition.id}.txt"

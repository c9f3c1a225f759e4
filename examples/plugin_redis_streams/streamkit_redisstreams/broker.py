"""Which keys a stream is, where they end, and what a start position means tomorrow."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from streamkit.errors import PositionInvalidError, StreamGoneError, UnsupportedError
from streamkit.model import Capabilities, Partition, Position, StartPosition
from streamkit.plugin import AdapterContext, Broker
from streamkit_redisstreams import RedisStreamsSettings
from streamkit_redisstreams.client import BROKER, connect, key_of, position_of, translated
from streamkit_redisstreams.reader import RedisReader


class RedisBroker(Broker[RedisStreamsSettings]):
    capabilities = Capabilities(static=True, start_time=True)

    def __init__(self, settings: RedisStreamsSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._client = connect(settings)

    async def open(self) -> None:
        with translated("connecting"):
            await self.blocking(self._client.ping)

    async def close(self) -> None:
        await self.blocking(self._client.close)

    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        with translated("looking for the streams"):
            counts = {stream: await self.blocking(self._count, stream) for stream in streams}
        return [Partition(stream, str(number)) for stream, partitions in counts.items() for number in range(partitions)]

    def _count(self, stream: str) -> int:
        if stream.startswith("^"):
            raise UnsupportedError("this plugin takes names, not patterns", setting="STREAMKIT_STREAM", fix="name each stream")
        found = next(number for number in count() if not self._client.exists(f"{stream}:{number}"))
        if not found:
            raise StreamGoneError(f"there is no key {stream + ':0'!r} in Redis", broker=BROKER, fix="correct STREAMKIT_STREAM")
        return found

    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        with translated("looking at the ends"):
            newest: Any = [await self.blocking(lambda p=p: self._client.xrevrange(key_of(p), count=1)) for p in partitions]
        return [position_of(entries[0][0]) if entries else None for entries in newest]

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        with translated(f"looking at {partition}"):
            end = position_of((await self.blocking(self._client.xinfo_stream, key_of(partition)))["last-generated-id"])
        if start.kind == "latest":
            return StartPosition.after(end)
        if start.position is not None and end < start.position:
            raise PositionInvalidError(f"{partition}: {start} lies beyond its end, {end}", broker=BROKER, partition=str(partition))
        return start

    def reader(self) -> RedisReader:
        return RedisReader(self.settings, self.context)

"""Reads many keys by one XREAD. It blocks, so the engine gives it a thread, which makes every call: nothing here needs a lock."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from streamkit.errors import PositionInvalidError, StreamGoneError
from streamkit.model import Batch, Partition, PlainRecord, Position, StartPosition
from streamkit.plugin import AdapterContext, Budget, CaughtUp, Event, Failed, Idle, Reader
from streamkit_redisstreams import RedisStreamsSettings
from streamkit_redisstreams.client import BROKER, connect, id_of, key_of, position_of, translated

OWN_ENTRY_GONE = "the checkpoint's own entry is not there any more: entries behind it may have been trimmed unread"
LARGEST_COUNT = (1 << 64) - 1
Entries = list[tuple[bytes, Mapping[bytes, bytes]]]


class RedisReader(Reader):
    blocking: ClassVar[bool] = True

    def __init__(self, settings: RedisStreamsSettings, context: AdapterContext) -> None:
        self._client = connect(settings)
        self._context = context
        self._read_up_to: dict[Partition, Position] = {}
        self._paused: set[Partition] = set()
        self._at_tip: set[Partition] = set()
        self._entry_bytes = 1024.0

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        if start.kind == "after" and start.position is not None:
            self._look_for_own(partition, start.position)
        self._read_up_to[partition] = _before(start)
        self._paused.discard(partition)
        self._at_tip.discard(partition)

    def _look_for_own(self, partition: Partition, own: Position) -> None:
        """Raises PositionInvalidError for what this key cannot have given: it was deleted and made anew."""
        with translated(f"opening {partition}"):
            end = position_of(self._client.xinfo_stream(key_of(partition))["last-generated-id"])
            is_there = self._client.xrange(key_of(partition), id_of(own), id_of(own))
        if end < own:
            raise PositionInvalidError(f"{partition}: {own} lies beyond its end, {end}", broker=BROKER, partition=str(partition))
        if not is_there and own < end:
            self._context.noticed(partition, OWN_ENTRY_GONE)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._read_up_to.pop(partition, None)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._paused.update(partitions)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._paused.difference_update(partitions)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        running = {key_of(partition).encode(): partition for partition in self._read_up_to if partition not in self._paused}
        if not running:
            return [Idle(0.05)]
        count = max(1, min(budget.max_records, int(budget.max_bytes / self._entry_bytes)) // len(running))
        asked: dict[Any, Any] = {key: id_of(self._read_up_to[partition]) for key, partition in running.items()}
        block = None if budget.max_wait_seconds <= 0 else max(1, int(budget.max_wait_seconds * 1000))
        with translated("reading"):
            answer: Any = self._client.xread(asked, count=count, block=block) or []
        events: list[Event] = []
        left = budget.max_bytes
        for key, entries in answer:
            if (batch := self._batch(running.pop(key), entries, left, must=not events)) is not None:
                left -= batch.bytes
                events.append(batch)
        events += [CaughtUp(partition) for partition in running.values() if partition not in self._at_tip]
        self._at_tip.update(running.values())
        return events or self._missing(list(running.values()))

    def _batch(self, partition: Partition, entries: Entries, max_bytes: int, *, must: bool) -> Batch | None:
        """As many as fit, and one at least if `must`; the others are read again."""
        records: list[PlainRecord] = []
        size = 0
        for entry_id, fields in entries:
            weight = sum(map(len, fields.values()))
            if size + weight > max_bytes and (records or not must):
                break
            size += weight
            written = datetime.fromtimestamp(int(entry_id.partition(b"-")[0]) / 1000, UTC)
            headers = [(name.decode("utf-8", "replace"), text) for name, text in fields.items() if name not in (b"value", b"key")]
            value, key, native = fields.get(b"value"), fields.get(b"key"), (entry_id, fields)
            records.append(PlainRecord(partition, position_of(entry_id), value, key=key, headers=headers, timestamp=written, native=native))
        if not records:
            return None
        del self._read_up_to[partition]  # it comes last in the next poll
        self._read_up_to[partition] = records[-1].position
        self._entry_bytes = 0.9 * self._entry_bytes + 0.1 * size / len(records)
        self._at_tip.discard(partition)
        return Batch.of(records, received=self._context.unix_time())

    def _missing(self, partitions: Sequence[Partition]) -> list[Event]:
        """XREAD says nothing of a key that was deleted. That is an error, never an end."""
        with translated("looking whether the keys are there"):
            gone = [partition for partition in partitions if not self._client.exists(key_of(partition))]
        for partition in gone:
            del self._read_up_to[partition]
        return [Failed(p, StreamGoneError(f"the key {key_of(p)!r} is gone", broker=BROKER, partition=str(p))) for p in gone]

    async def close(self) -> None:
        self._client.close()


def _before(start: StartPosition) -> Position:
    """XREAD answers what comes after an id."""
    if start.time is not None:
        return Position(int(start.time.timestamp() * 1000) - 1, LARGEST_COUNT)
    if start.position is None or start.position == Position(0):
        return Position(0)
    if start.kind == "after":
        return start.position
    milliseconds, number = start.position.sequence or 0, start.position.sub_sequence
    return Position(milliseconds, number - 1) if number else Position(milliseconds - 1, LARGEST_COUNT)

"""A Kafka record and a run of them: the client's messages, everything else computed on first use.

Positions are offsets; the leader epoch travels along as their token, so that a truncated log is noticed on the way back.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import cast

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from streamkit.model import Batch, Headers, Partition, Position, Record

__all__ = ["KafkaBatch", "KafkaRecord", "position_of"]

_EPOCH = datetime.fromtimestamp(0, UTC)
_value = Message.value
_SAMPLED_FROM = 128
_STRIDE = 16


def position_of(message: Message) -> Position:
    epoch = message.leader_epoch()
    return Position(message.offset(), token="" if epoch is None or epoch < 0 else str(epoch))


def _milliseconds(message: Message) -> int | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds


class KafkaRecord(Record):
    """One message. `native` is the client's `confluent_kafka.Message`."""

    __slots__ = ("_message", "_partition")

    def __init__(self, message: Message, partition: Partition) -> None:
        self._message = message
        self._partition = partition

    @property
    def partition(self) -> Partition:
        return self._partition

    @property
    def position(self) -> Position:
        return position_of(self._message)

    @property
    def key(self) -> bytes | None:
        return self._message.key()

    @property
    def value(self) -> bytes | None:
        return self._message.value()

    @property
    def headers(self) -> Headers:
        # The client always hands out pairs, and bytes: its type says otherwise because `produce` takes more.
        return Headers(cast("Sequence[tuple[str, bytes | None]]", self._message.headers() or ()))

    @property
    def timestamp(self) -> datetime:
        """The topic's message.timestamp.type says whose clock; 1970 where a broker sends none."""
        milliseconds = _milliseconds(self._message)
        return _EPOCH if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)

    @property
    def native(self) -> Message:
        return self._message


class KafkaBatch(Batch):
    """A run of messages of one partition, in the order of their offsets, as the client returned them."""

    __slots__ = ("_bytes", "_high", "_messages", "_partition")

    def __init__(self, partition: Partition, messages: list[Message], received: float, high: int | None) -> None:
        """`high`: the partition's high watermark, at most about a second old; None if not yet known."""
        self._partition = partition
        self._messages = messages
        self._high = high
        self._bytes = -1
        self.received = self.delivered = received

    @property
    def partition(self) -> Partition:
        return self._partition

    def __iter__(self) -> Iterator[Record]:
        return map(KafkaRecord, self._messages, repeat(self._partition))

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def bytes(self) -> int:
        """The size of the values, keys not counted: of a long run estimated from every sixteenth message, right on average.

        Looking at each would cost more than a tenth of what reading it does; the client bounds what one poll can bring.
        """
        if self._bytes < 0:
            messages = self._messages
            if len(messages) > _SAMPLED_FROM:
                sample = messages[(messages[0].offset() or 0) % _STRIDE :: _STRIDE]
                self._bytes = sum(map(len, sample)) * len(messages) // len(sample)
            else:
                self._bytes = sum(map(len, messages))
        return self._bytes

    def values(self) -> Sequence[builtins.bytes | None]:
        return list(map(_value, self._messages))

    @property
    def first(self) -> Position:
        return position_of(self._messages[0])

    @property
    def last(self) -> Position:
        return position_of(self._messages[-1])

    @property
    def lag_records(self) -> int | None:
        """Offsets between the last record here and the high watermark: transaction markers and aborted records count."""
        offset = self._messages[-1].offset()
        return None if self._high is None or offset is None else max(0, self._high - offset - 1)

    @property
    def lag_seconds(self) -> float | None:
        """0 at the tip, else how old the last record was when it was received."""
        if self.lag_records == 0:
            return 0.0
        milliseconds = _milliseconds(self._messages[-1])
        return None if milliseconds is None else max(0.0, self.received - milliseconds / 1000)

    @property
    def last_timestamp(self) -> datetime | None:
        milliseconds = _milliseconds(self._messages[-1])
        return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)

    def slice(self, start: int, stop: int) -> KafkaBatch:
        messages = self._messages[start:stop]
        if not messages:
            raise ValueError(f"[{start}, {stop}) holds no record of {self!r}")
        part = KafkaBatch(self._partition, messages, self.received, self._high)
        if self._bytes >= 0:  # a share of the estimate: what its slices free must add up to what the batch has taken, or it would drift
            count = len(self._messages)
            part._bytes = self._bytes * (start + len(messages)) // count - self._bytes * start // count
        return part

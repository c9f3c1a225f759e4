"""Event Hubs records and runs of them: messages as they were received, everything else computed on first use.

A position is the sequence number, with the offset as its token: the service wants that back, and nobody looks into it.
`reader.py` makes a batch of each answer of a link.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any

from streamkit.errors import BrokerError
from streamkit.model import Batch, Headers, Partition, Position, Record
from streamkit_eventhubs.amqp import BadMessage, Value, data_of
from streamkit_eventhubs.decoded import DECODED
from streamkit_eventhubs.encoded import ENCODED
from streamkit_eventhubs.errors import BROKER
from streamkit_eventhubs.form import Form, as_bytes, headers_of, key_of

if TYPE_CHECKING:
    from streamkit_eventhubs.link import Received

__all__ = ["EventHubsBatch", "EventHubsRecord", "batch_of", "form_of", "position_of"]

_EPOCH = datetime.fromtimestamp(0, UTC)
_MADE_KEY_CHARACTERS = 64


def batch_of(partition: Partition, received: Received, received_at: float) -> Batch:
    """What a link has received, in its order; `received_at` in unix seconds."""
    messages = received.messages if isinstance(received.messages, list) else list(received.messages)
    return EventHubsBatch(partition, messages, received_at, received.tip, received.tip_time)


def form_of(message: object) -> Form:
    return ENCODED if isinstance(message, bytes) else DECODED


def position_of(message: object) -> Position:
    """Raises BadMessage if the service has not said where it stands."""
    annotations: Any = form_of(message).annotations(message)
    sequence, offset = annotations.get(b"x-opt-sequence-number"), annotations.get(b"x-opt-offset")
    if not isinstance(sequence, int):
        raise BadMessage("a message without a sequence number")
    return Position(sequence, token="" if offset is None else (as_bytes(offset) or b"").decode())


class EventHubsRecord(Record):
    """One event. `native` is an `azure.eventhub.EventData`, which may have to be made first.

    A message that cannot be decoded raises BrokerError where it is looked into.
    """

    __slots__ = ("_message", "_partition")

    def __init__(self, message: Any, partition: Partition) -> None:
        self._message = message
        self._partition = partition

    @property
    def partition(self) -> Partition:
        return self._partition

    @property
    def position(self) -> Position:
        try:
            return position_of(self._message)
        except BadMessage as error:
            raise _unreadable(self._partition, error) from error

    @property
    def key(self) -> bytes | None:
        """The partition key; of what streamkit has written the key that it was, even if it could be none."""
        annotations = self._annotations()
        found = key_of(annotations, None)
        if found is None or len(found) == _MADE_KEY_CHARACTERS:
            return key_of(annotations, self._asked("application"))
        return found

    @property
    def value(self) -> bytes | None:
        """The body: data sections joined; of other bodies, text and bytes as they are and everything else in JSON; None: a null."""
        found: bytes | None = self._asked("value")
        return found

    @property
    def headers(self) -> Headers:
        """Application properties, then system properties under their AMQP names; numbers and the like as text."""
        return headers_of(self._asked("application"), self._asked("system"), self._annotations())

    @property
    def timestamp(self) -> datetime:
        """When the service took it in; 1970 if it does not say."""
        return _time(self._annotations()) or _EPOCH

    @property
    def native(self) -> object:
        return form_of(self._message).native(self._message)

    def _annotations(self) -> dict[Value, Value]:
        found: dict[Value, Value] = self._asked("annotations")
        return found

    def _asked(self, what: str) -> Any:
        try:
            return getattr(form_of(self._message), what)(self._message)
        except BadMessage as error:
            raise _unreadable(self._partition, error) from error


class EventHubsBatch(Batch):
    """A run of messages of one partition, in the order of their sequence numbers; all of one form."""

    __slots__ = ("_bytes", "_messages", "_partition", "_tip", "_tip_time")

    def __init__(self, partition: Partition, messages: list[Any], received: float, tip: int | None, tip_time: float | None) -> None:
        """`tip`: the partition's last sequence number, and when it was enqueued, in unix seconds; None where the service has not said."""
        if not messages:
            raise ValueError("a batch has at least one record")
        self._partition = partition
        self._messages = messages
        self._bytes = -1
        self._tip = tip
        self._tip_time = tip_time
        self.received = self.delivered = received

    @property
    def partition(self) -> Partition:
        return self._partition

    def __iter__(self) -> Iterator[Record]:
        return map(EventHubsRecord, self._messages, repeat(self._partition))

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def bytes(self) -> int:
        """The size of the messages as they were received, annotations and properties included; of the SDK's events the values alone."""
        if self._bytes < 0:
            self._bytes = sum(map(self._form.size, self._messages))
        return self._bytes

    @property
    def _form(self) -> Form:
        return form_of(self._messages[0])

    def values(self) -> Sequence[builtins.bytes | None]:
        messages = self._messages
        if self._form.is_plain:
            found = list(map(data_of, messages))
            if all(found):  # none that has to be looked at more closely, and none that may stand for None
                return found
        try:
            return list(map(self._form.value, messages))
        except BadMessage as error:
            raise _unreadable(self._partition, error) from error

    @property
    def first(self) -> Position:
        return self._position(0)

    @property
    def last(self) -> Position:
        return self._position(-1)

    def _position(self, index: int) -> Position:
        try:
            return position_of(self._messages[index])
        except BadMessage as error:
            raise _unreadable(self._partition, error) from error

    @property
    def lag_records(self) -> int | None:
        """Sequence numbers between the last record here and the last one enqueued, as the service said with these."""
        return None if self._tip is None else max(0, self._tip - (self.last.sequence or 0))

    @property
    def lag_seconds(self) -> float | None:
        """0 at the tip, else how much earlier the last record here was enqueued than the last one of the partition."""
        if self._tip is None or self._tip_time is None:
            return None
        last = self.last_timestamp
        if self.lag_records == 0:
            return 0.0
        return None if last is None else max(0.0, self._tip_time - last.timestamp())

    @property
    def last_timestamp(self) -> datetime | None:
        try:
            return _time(self._form.annotations(self._messages[-1]))
        except BadMessage as error:
            raise _unreadable(self._partition, error) from error

    def slice(self, start: int, stop: int) -> EventHubsBatch:
        messages = self._messages[start:stop]
        if not messages:
            raise ValueError(f"[{start}, {stop}) holds no record of {self!r}")
        return EventHubsBatch(self._partition, messages, self.received, self._tip, self._tip_time)


def _time(annotations: Any) -> datetime | None:
    milliseconds = annotations.get(b"x-opt-enqueued-time")
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if isinstance(milliseconds, int) else None


def _unreadable(partition: Partition, error: BadMessage) -> BrokerError:
    text = f"{partition}: a message cannot be decoded: {error}"
    fix = "`record.native` and STREAMKIT_EVENTHUBS__RECEIVE=sdk decode it in the SDK's way; else see who has written it"
    return BrokerError(text, broker=BROKER, partition=str(partition), fix=fix)

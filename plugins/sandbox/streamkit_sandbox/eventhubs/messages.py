"""Messages as bytes: what a client sends becomes events to store, and a stored event becomes what a receiver gets.

The inside of properties and bodies is never decoded: a message is cut at its sections. Nothing here knows links or logs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from streamkit_sandbox.eventhubs.amqp_codec import decode, decode_exactly, encode, skip
from streamkit_sandbox.eventhubs.amqp_types import DecodeError, Described, Symbol, Ulong, Value
from streamkit_sandbox.eventhubs.log import Event
from streamkit_sandbox.eventhubs.performatives import Properties

__all__ = ["BATCH_FORMAT", "Incoming", "Request", "data_message", "delivered", "incoming", "read_request", "reply"]

BATCH_FORMAT = 0x80013700
"""The message format of a batch: each data section is a message of its own."""

_HEADER, _DELIVERY_ANNOTATIONS, _MESSAGE_ANNOTATIONS = 0x70, 0x71, 0x72
_PROPERTIES, _APPLICATION_PROPERTIES, _DATA, _SEQUENCE, _VALUE, _FOOTER = 0x73, 0x74, 0x75, 0x76, 0x77, 0x78
_LONG, _U32 = struct.Struct(">q"), struct.Struct(">I")

_PARTITION_KEY = Symbol("x-opt-partition-key")
_BROKERS_OWN = frozenset(("x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key"))


@dataclass(frozen=True, slots=True)
class Incoming:
    """What one delivery holds: messages to store together, and the key that they share."""

    messages: Sequence[bytes]
    partition_key: str | None


def _sections(message: bytes) -> list[tuple[int, int, int, int]]:
    """Code, start, start of the value and end of each section, in their order. Raises DecodeError."""
    found = []
    position, last = 0, _HEADER - 1
    while position < len(message):
        if message[position : position + 2] == b"\x00\x53" and position + 2 < len(message):
            code, value_at = message[position + 2], position + 3
        else:
            code, value_at = _unusual_descriptor(message, position)
        if not _HEADER <= code <= _FOOTER or code < last or (code == last and code not in (_DATA, _SEQUENCE)):
            raise DecodeError(f"section {code:#04x} at byte {position} of a message does not belong there")
        end = skip(message, value_at)
        found.append((code, position, value_at, end))
        position, last = end, code
    if not found:
        raise DecodeError("a message came without a section")
    return found


_SYMBOLS = {
    "amqp:header:list": _HEADER,
    "amqp:delivery-annotations:map": _DELIVERY_ANNOTATIONS,
    "amqp:message-annotations:map": _MESSAGE_ANNOTATIONS,
    "amqp:properties:list": _PROPERTIES,
    "amqp:application-properties:map": _APPLICATION_PROPERTIES,
    "amqp:data:binary": _DATA,
    "amqp:amqp-sequence:list": _SEQUENCE,
    "amqp:amqp-value:*": _VALUE,
    "amqp:footer:map": _FOOTER,
}


def _unusual_descriptor(message: bytes, position: int) -> tuple[int, int]:
    """A section whose descriptor is a long ulong or a symbol: its code, and where its value begins."""
    if message[position] != 0x00:
        raise DecodeError(f"no section begins at byte {position} of a message")
    descriptor, value_at = decode(message, position + 1)
    code = _SYMBOLS.get(descriptor, 0) if isinstance(descriptor, str) else descriptor
    return code if isinstance(code, int) else 0, value_at


def incoming(message: bytes, message_format: int) -> Incoming:
    """Takes apart what was sent. Raises DecodeError; a batch without events is one."""
    sections = _sections(message)
    if message_format != BATCH_FORMAT:
        stored, key = _stored(message, sections)
        return Incoming((stored,), key)
    key = None
    events: list[bytes] = []
    for code, _start, value_at, end in sections:
        if code == _MESSAGE_ANNOTATIONS:
            key = _key(_annotations(message, value_at))
        elif code == _DATA:
            # The envelope may repeat an event's properties: only what is inside counts.
            inner = _binary(message, value_at, end)
            events.append(_stored(inner, _sections(inner))[0])
    if not events:
        raise DecodeError("a batch came without events")
    return Incoming(events, key)


def data_message(body: bytes) -> bytes:
    """An event that is nothing but a body, as a client would send it."""
    return b"\x00\x53\x75" + encode(body)


def _binary(message: bytes, value_at: int, end: int) -> bytes:
    code = message[value_at]
    if code == 0xA0:
        return message[value_at + 2 : end]
    if code == 0xB0:
        return message[value_at + 5 : end]
    raise DecodeError(f"a data section holds the type {code:#04x}, and not binary")


def _stored(message: bytes, sections: list[tuple[int, int, int, int]]) -> tuple[bytes, str | None]:
    """The message without delivery annotations and without the broker's own annotations, and its partition key."""
    is_plain = all(
        value_at - start == 3 and code not in (_DELIVERY_ANNOTATIONS, _MESSAGE_ANNOTATIONS) for code, start, value_at, _ in sections
    )
    if is_plain:
        return message, None
    parts, key = [], None
    for code, _start, value_at, end in sections:
        if code == _MESSAGE_ANNOTATIONS:
            annotations = _annotations(message, value_at)
            key = _key(annotations)
            own = {name: value for name, value in annotations.items() if name not in _BROKERS_OWN}
            if own:
                parts.append(b"\x00\x53\x72" + encode(own))
        elif code != _DELIVERY_ANNOTATIONS:
            # A descriptor of any other form becomes the one that every client reads.
            parts.append(b"\x00\x53" + bytes((code,)) + message[value_at:end])
    return b"".join(parts), key


def _annotations(message: bytes, value_at: int) -> dict[Value, Value]:
    value, _ = decode(message, value_at)
    if not isinstance(value, dict):
        raise DecodeError("message annotations are no map")
    return value


def _key(annotations: dict[Value, Value]) -> str | None:
    key = annotations.get(_PARTITION_KEY)
    if key is not None and not isinstance(key, str):
        raise DecodeError(f"a partition key is text, not {key!r}"[:100])
    return None if key is None else str(key)


# The start of the annotations: descriptor, map32, room for size and count, and the first name.
_SEQUENCE_NAME = encode(Symbol("x-opt-sequence-number")) + b"\x81"
_OFFSET_NAME = encode(Symbol("x-opt-offset"))
_TIME_NAME = encode(Symbol("x-opt-enqueued-time")) + b"\x83"
_KEY_NAME = encode(Symbol("x-opt-partition-key"))


def delivered(event: Event, delivery_annotations: bytes = b"") -> bytes:
    """The message that a receiver gets: the stored one, with the broker's annotations in their place."""
    offset = event.offset.encode()
    annotations = (
        _SEQUENCE_NAME
        + _LONG.pack(event.sequence)
        + _OFFSET_NAME
        + (b"\xa1" + bytes((len(offset),)) if len(offset) < 256 else b"\xb1" + _U32.pack(len(offset)))
        + offset
        + _TIME_NAME
        + _LONG.pack(event.enqueued_ms)
    )
    count = 6
    if event.partition_key is not None:
        annotations += _KEY_NAME + encode(event.partition_key)
        count = 8
    message = event.message
    header = b""
    if message[2] <= _MESSAGE_ANNOTATIONS or message[:2] != b"\x00\x53":
        header, own, own_count, message = _before_properties(message)
        annotations += own
        count += own_count
    size = len(annotations)
    head = b"\xc1" + bytes((size + 1, count)) if size < 255 else b"\xd1" + _U32.pack(size + 4) + _U32.pack(count)
    return b"".join((header, delivery_annotations, b"\x00\x53\x72", head, annotations, message))


def _before_properties(message: bytes) -> tuple[bytes, bytes, int, bytes]:
    """The header, the inside and count of the sender's own annotations, and the rest."""
    header = own = b""
    count = rest = 0
    for code, start, value_at, end in _sections(message):
        if code == _HEADER:
            header, rest = message[start:end], end
        elif code == _MESSAGE_ANNOTATIONS:
            annotations = _annotations(message, value_at)
            own = b"".join(encode(name) + encode(value) for name, value in annotations.items())
            count, rest = 2 * len(annotations), end
    return header, own, count, message[rest:]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to `$cbs` or `$management`."""

    properties: Properties
    application: dict[Value, Value]
    body: Value


def read_request(message: bytes) -> Request:
    """Raises DecodeError."""
    properties, application, body = Properties(), {}, None
    for code, _start, value_at, end in _sections(message):
        value = decode_exactly(message[value_at:end]) if code in (_PROPERTIES, _APPLICATION_PROPERTIES, _VALUE, _DATA) else None
        if code == _PROPERTIES:
            properties = Properties.from_fields(value)
        elif code == _APPLICATION_PROPERTIES:
            if not isinstance(value, dict):
                raise DecodeError("application properties are no map")
            application = value
        elif code in (_VALUE, _DATA):
            body = value
    return Request(properties, application, body)


def reply(request: Request, application: dict[Value, Value], body: Value = None) -> bytes:
    """The answer; its correlation id is the request's message id, of the same type."""
    properties = Properties(correlation_id=request.properties.message_id)
    return properties.encode() + b"\x00\x53\x74" + encode(application) + encode(Described(Ulong(_VALUE), body))

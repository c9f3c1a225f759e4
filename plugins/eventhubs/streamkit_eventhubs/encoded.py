"""Messages as the bytes that they came in: nothing is decoded before it is asked for, and then only that section. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from azure.eventhub import EventData

from streamkit_eventhubs.amqp import (
    ANNOTATIONS,
    APPLICATION_PROPERTIES,
    DATA,
    DELIVERY_ANNOTATIONS,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    BadMessage,
    Value,
    data_of,
    section,
    sections,
    value_at,
)
from streamkit_eventhubs.form import Form, as_bytes

__all__ = ["ENCODED", "EncodedForm"]


class EncodedForm(Form):
    """Of `bytes`: one encoded AMQP message each."""

    is_plain = True

    def size(self, message: bytes) -> int:
        """All of it: properties and annotations take memory, too."""
        return len(message)

    def body(self, message: bytes) -> bytes | None:
        found = data_of(message)
        return found if found is not None else _body(message)

    def annotations(self, message: bytes) -> Mapping[Value, Value]:
        return _map(message, ANNOTATIONS)

    def delivery(self, message: bytes) -> Mapping[Value, Value]:
        return _map(message, DELIVERY_ANNOTATIONS)

    def application(self, message: bytes) -> Mapping[Value, Value]:
        return _map(message, APPLICATION_PROPERTIES)

    def system(self, message: bytes) -> Iterable[Value]:
        found = section(message, PROPERTIES)
        if found is None:
            return ()
        if not isinstance(found, list):
            raise BadMessage("the properties of a message are no list")
        return found

    def native(self, message: bytes) -> EventData:
        return EventData.from_bytes(message)


def _map(message: bytes, kind: int) -> Mapping[Value, Value]:
    found = section(message, kind)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadMessage(f"section {kind:#x} of a message is no map")
    return found


def _body(message: bytes) -> bytes | None:
    """Data sections joined; of sequence sections all elements as a list in JSON; a value as `as_bytes` has it."""
    data: list[bytes] = []
    elements: list[Value] = []
    is_data = is_sequence = False
    value: Value = None
    for kind, index in sections(message):
        found = value_at(message, index) if kind in (DATA, SEQUENCE, VALUE) else None
        if kind == DATA and isinstance(found, bytes):
            is_data = True
            data.append(found)
        elif kind == SEQUENCE and isinstance(found, list):
            is_sequence = True
            elements += found
        elif kind == VALUE:
            value = found
        elif kind in (DATA, SEQUENCE):
            raise BadMessage(f"section {kind:#x} of a message is a {type(found).__name__}")
    if is_data:
        return b"".join(data)
    return as_bytes(elements) if is_sequence else as_bytes(value)


ENCODED = EncodedForm()

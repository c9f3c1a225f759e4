"""Messages as the SDK's events: what the public way of receiving gives. Pure.

The SDK keeps what the service says of the partition (delivery annotations) in the message as it was received, which it shows as
`raw_amqp_message`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageBodyType

from streamkit_eventhubs.amqp import Value
from streamkit_eventhubs.form import SYSTEM_NAMES, Form, as_bytes

__all__ = ["DECODED", "DecodedForm"]


class DecodedForm(Form):
    """Of `EventData`."""

    def size(self, message: EventData) -> int:
        value = self.body(message)
        return 0 if value is None else len(value)

    def body(self, message: EventData) -> bytes | None:
        body: Any = message.body
        if message.body_type is AmqpMessageBodyType.DATA:
            return b"".join(body)
        if message.body_type is AmqpMessageBodyType.SEQUENCE:
            return as_bytes([one for part in body for one in part])
        return as_bytes(body)

    def annotations(self, message: EventData) -> Mapping[Value, Value]:
        return _map(message.raw_amqp_message.annotations)

    def delivery(self, message: EventData) -> Mapping[Value, Value]:
        return _map(message.raw_amqp_message.delivery_annotations)

    def application(self, message: EventData) -> Mapping[Value, Value]:
        return _map(message.properties)

    def system(self, message: EventData) -> Iterable[Value]:
        fields = message.raw_amqp_message.properties
        return () if fields is None else [getattr(fields, name.replace("-", "_")) for name in SYSTEM_NAMES]

    def native(self, message: EventData) -> EventData:
        return message


def _map(found: object) -> Mapping[Value, Value]:
    return cast("Mapping[Value, Value]", found or {})


DECODED = DecodedForm()

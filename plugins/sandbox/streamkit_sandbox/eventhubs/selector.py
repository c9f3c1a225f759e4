"""Where a receiver begins: the text of its selector filter, taken apart.

Clients send one comparison, such as `amqp.annotation.x-opt-offset > '4294967296'`. `PartitionLog.where` finds the event.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from streamkit_sandbox.eventhubs.refused import ARGUMENT_ERROR, Refused

__all__ = ["BadSelector", "Field", "Selector", "parse"]

EARLIEST = "-1"
LATEST = "@latest"


class Field(Enum):
    """What a selector compares; the value is the annotation's name."""

    OFFSET = "x-opt-offset"
    SEQUENCE = "x-opt-sequence-number"
    ENQUEUED = "x-opt-enqueued-time"


@dataclass(frozen=True, slots=True)
class Selector:
    """One comparison. `value` is an offset as text, a sequence number, or milliseconds since 1970.

    `inclusive` is `>=`: the event at the value itself comes too.
    """

    field: Field
    value: str
    inclusive: bool

    @property
    def number(self) -> int:
        """The value of a sequence number or a time."""
        return int(self.value)


class BadSelector(Refused):
    """A filter that the service does not know; it closes the link with this."""

    def __init__(self, text: str) -> None:
        super().__init__(ARGUMENT_ERROR, f"The filter '{text}' is not a valid amqp filter for EventHub entities")


_COMPARISON = re.compile(
    r"\s*amqp\.annotation\.(?P<field>x-opt-offset|x-opt-sequence-number|x-opt-enqueued-time)\s*(?P<sign>>=?)\s*'(?P<value>[^']+)'\s*"
)
_NUMBER = re.compile(r"-?\d{1,19}")


def parse(text: str) -> Selector:
    """The selector in `text`. Raises BadSelector for anything else than one comparison of a known field with a quoted value."""
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise BadSelector(text)
    field = Field(found["field"])
    if field is not Field.OFFSET and not _NUMBER.fullmatch(found["value"]):
        raise BadSelector(text)
    return Selector(field, found["value"], found["sign"] == ">=")

"""How what a link has received is read. There are two forms of it: encoded messages (`encoded.py`), and the SDK's events (`decoded.py`).

Both give the same records of the same message. Here is what they share: what an AMQP value is as the value of a header, what
becomes of a body, and which properties belong to streamkit. Pure. `record.py` asks; it never looks into a message itself.
"""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from streamkit.model import Headers
from streamkit_eventhubs.amqp import Value

__all__ = [
    "KEY_PROPERTY",
    "LETTER_PROPERTY",
    "NULL_PROPERTY",
    "REPEATED",
    "SYSTEM_NAMES",
    "Form",
    "as_bytes",
    "headers_of",
    "key_of",
    "listed",
]

KEY_PROPERTY = "streamkit-key"
"""Has the key of a record where it cannot be a partition key, which is then made from it; see `outgoing.py`."""
NULL_PROPERTY = "streamkit-null"
"""An event without a body stands for a record whose value is None."""
LETTER_PROPERTY = "streamkit-version"
"""Every dead letter has it. Its headers are those of its record, so its own system properties are not among them."""
REPEATED = "\0"
"""Parts a name of a property from a number, where a header of that name comes again: property names do not repeat."""

SYSTEM_NAMES = (
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
)
"""Fields of the section «properties», in their order on the wire: AMQP 1.0, part 3, section 3.2.4."""


_OURS = (KEY_PROPERTY.encode(), NULL_PROPERTY.encode())


class Form(ABC):
    """Of messages. `Any` is `bytes` in one form and `azure.eventhub.EventData` in the other."""

    is_plain: ClassVar[bool] = False
    """Messages are bytes."""

    @abstractmethod
    def size(self, message: Any) -> int:
        """In bytes; at least that of the body."""

    def value(self, message: Any) -> bytes | None:
        """The body, unless it is empty and stands for None. Raises `BadMessage`."""
        found = self.body(message)
        return None if found == b"" and NULL_PROPERTY.encode() in self.application(message) else found

    @abstractmethod
    def body(self, message: Any) -> bytes | None:
        """Data sections joined; other bodies as `as_bytes` has them. Raises `BadMessage`."""

    @abstractmethod
    def annotations(self, message: Any) -> Mapping[Value, Value]:
        """What the service says of it: `x-opt-sequence-number` and the like. Raises `BadMessage`."""

    @abstractmethod
    def delivery(self, message: Any) -> Mapping[Value, Value]:
        """What the service says of the partition with it (runtime metrics); empty unless they were asked for. Raises `BadMessage`."""

    @abstractmethod
    def application(self, message: Any) -> Mapping[Value, Value]:
        """What its writer says of it. Raises `BadMessage`."""

    @abstractmethod
    def system(self, message: Any) -> Iterable[Value]:
        """The fields of `SYSTEM_NAMES`, as far as there are any. Raises `BadMessage`."""

    @abstractmethod
    def native(self, message: Any) -> object:
        """As `azure.eventhub.EventData`."""


def key_of(annotations: Mapping[Value, Value], application: Mapping[Value, Value] | None) -> bytes | None:
    """`application` is only needed where the partition key may be made from another one; None: it is not known to be."""
    key = annotations.get(b"x-opt-partition-key")
    if application is not None and (whole := application.get(KEY_PROPERTY.encode())) is not None:
        key = whole
    return None if key is None else as_bytes(key)


def headers_of(application: Mapping[Value, Value], system: Iterable[Value], annotations: Mapping[Value, Value]) -> Headers:
    """Application properties, then system properties under their AMQP names. A dead letter has the former alone."""
    found = [(_name(name), as_bytes(value)) for name, value in application.items() if name not in _OURS]
    if LETTER_PROPERTY.encode() not in application:
        found += [(name, as_bytes(value)) for name, value in zip(SYSTEM_NAMES, system, strict=False) if value is not None]
        found += [(_text(name), as_bytes(value)) for name, value in annotations.items()]
    return Headers(found)


def as_bytes(value: Value) -> bytes | None:
    """As the value of a header, or as a body: bytes and text as they came (UTF-8), everything else as the text of it in JSON.

    So a number is its digits, and a time milliseconds since 1970. None stays None.
    """
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, uuid.UUID):
        return str(value).encode()
    return json.dumps(listed(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def listed(value: Value) -> object:
    """As JSON has it. Bytes that are no UTF-8 keep what can be read of them."""
    if isinstance(value, dict):
        return {_text(name): listed(one) for name, one in value.items()}
    if isinstance(value, list):
        return [listed(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else _text(value)


def _name(name: Value) -> str:
    """A number behind `REPEATED` says that the name was there more than once."""
    text = _text(name)
    plain, mark, number = text.rpartition(REPEATED)
    return plain if mark and number.isdecimal() else text


def _text(value: Value) -> str:
    whole = as_bytes(value)
    return "" if whole is None else whole.decode("utf-8", "backslashreplace")

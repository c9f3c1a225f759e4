"""A record as an event: what becomes of its key, its headers and a value of None, so that `record.py` gives back the same. Pure.

Event Hubs has a partition key of text, and properties whose names do not repeat. What does not fit goes along in properties of ours.
Limits: https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas. Called by `producer.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from azure.eventhub import EventData

from streamkit.errors import BrokerError
from streamkit.model import Headers
from streamkit.plugin import NewRecord
from streamkit_eventhubs.errors import BROKER
from streamkit_eventhubs.form import KEY_PROPERTY, NULL_PROPERTY, REPEATED

__all__ = ["MAX_KEY_CHARACTERS", "Outgoing", "outgoing_of"]

MAX_KEY_CHARACTERS = 128

Properties = dict[str | bytes, str | bytes | None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One event on its way."""

    event: EventData
    key: str | None
    """The partition key, or what stands for it."""
    partition: str | None
    """The id of the partition that was asked for; the key has no say then."""


def outgoing_of(record: NewRecord, stream: str) -> Outgoing:
    """Raises BrokerError if Event Hubs cannot hold the record. Its size is not looked at."""
    event = EventData(record.value or b"")
    properties = _properties(record.headers, stream)
    if record.value is None:
        properties[NULL_PROPERTY] = "true"
    key = None
    if record.key is not None:
        key = _text(record.key)
        if key is None or record.partition is not None:  # with a partition, Event Hubs takes no key
            properties[KEY_PROPERTY] = record.key
            key = hashlib.sha256(record.key).hexdigest() if key is None else key
    if properties:
        event.properties = properties
    return Outgoing(event, key, record.partition)


def _properties(headers: Headers, stream: str) -> Properties:
    """The last header of a name has it as it is, as `Headers.get` would find it; those before get a number behind it."""
    properties: Properties = {}
    last = {name: index for index, (name, _) in enumerate(headers)}
    for index, (name, value) in enumerate(headers):
        if name in (KEY_PROPERTY, NULL_PROPERTY) or REPEATED in name:
            fix = "give the header another name"
            raise BrokerError(f"{stream}: a header of the name {name!r} cannot be told from streamkit's own", broker=BROKER, fix=fix)
        whole = name.encode("utf-8", "backslashreplace").decode()
        properties[whole if last[name] == index else f"{whole}{REPEATED}{index}"] = None if value is None else _as_text(value)
    return properties


def _as_text(value: bytes) -> str | bytes:
    """Other SDKs and the portal show text as text; as bytes it is the same for us."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _text(key: bytes) -> str | None:
    """None: it is none that a partition key can be."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return None
    return text if 1 <= len(text) <= MAX_KEY_CHARACTERS else None

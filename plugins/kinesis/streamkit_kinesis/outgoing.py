"""A record as Kinesis takes it: limits, the partition key, and the hash key of a shard that was asked for. Pure.

Limits: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html. Called by `producer.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from streamkit.errors import BrokerError, StreamGoneError
from streamkit.model import Partition
from streamkit.plugin import NewRecord
from streamkit_kinesis.errors import BROKER

__all__ = ["MAX_CALL_BYTES", "MAX_CALL_RECORDS", "MAX_KEY_CHARACTERS", "Entry", "entry_of"]

MAX_CALL_RECORDS = 500
MAX_CALL_BYTES = 5 << 20
"""Data and partition keys of one call, before base64."""
MAX_KEY_CHARACTERS = 256

_MAX_RECORD = "STREAMKIT_KINESIS__MAX_RECORD"


@dataclass(slots=True, eq=False)
class Entry:
    """One record on its way. `lane` is what it keeps its order with; None: with nobody."""

    data: bytes
    key: str
    lane: bytes | None = None
    hash_key: str | None = None
    bytes: int = 0
    number: int = 0
    """In the order of adding; given by the outbox."""
    attempts: int = 0
    first_sent: float | None = None

    def request(self) -> dict[str, object]:
        """As PutRecords wants it."""
        body: dict[str, object] = {"Data": self.data, "PartitionKey": self.key}
        if self.hash_key is not None:
            body["ExplicitHashKey"] = self.hash_key
        return body


def entry_of(record: NewRecord, stream: str, shards: Mapping[str, Partition], *, max_record_bytes: int, keep_order: bool) -> Entry:
    """What is sent for `record`; `shards` need only be known where it names one. Raises BrokerError if Kinesis cannot hold it.

    Without a key it gets a random one, so that such records spread over the shards.
    """
    if record.value is None or record.headers:
        what = "a record without a value" if record.value is None else "headers"
        fix = "put what it has to say into its value" if record.headers else "write an empty value"
        raise BrokerError(f"{stream}: Kinesis cannot hold {what}", broker=BROKER, fix=fix)
    key = uuid.uuid4().hex if record.key is None else _text(record.key, stream)
    size = len(record.value) + len(key.encode())
    if size > max_record_bytes:
        raise BrokerError(
            f"{stream}: a record of {size} bytes, its key included, is more than {max_record_bytes}",
            broker=BROKER,
            fix=f"make it smaller; if the stream's own limit was raised (UpdateMaxRecordSize), set {_MAX_RECORD} to it",
        )
    hash_key = None if record.partition is None else _hash_key(record.partition, stream, shards)
    lane = record.key if keep_order else None
    return Entry(record.value, key, lane, hash_key, size)


def _text(key: bytes, stream: str) -> str:
    fix = f"give it a key of 1 to {MAX_KEY_CHARACTERS} characters of UTF-8, or none"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise BrokerError(f"{stream}: a partition key is text, and this key of {len(key)} bytes is not", broker=BROKER, fix=fix) from None
    if not 1 <= len(text) <= MAX_KEY_CHARACTERS:
        raise BrokerError(f"{stream}: a partition key of {len(text)} characters is not possible", broker=BROKER, fix=fix)
    return text


def _hash_key(shard: str, stream: str, shards: Mapping[str, Partition]) -> str:
    found = shards.get(shard)
    if found is None:
        raise StreamGoneError(f"{stream} has no shard {shard!r}", broker=BROKER, partition=shard, fix="`streamkit partitions` lists them")
    if found.ended or found.key_range is None:
        fix = "write to one of its children, or leave the shard to the key"
        raise BrokerError(f"{stream}: shard {shard} is closed", broker=BROKER, partition=shard, fix=fix)
    return str(found.key_range[0])

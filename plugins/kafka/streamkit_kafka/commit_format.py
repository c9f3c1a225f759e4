"""Checkpoints as Kafka's committed offsets: the next offset to read, the leader epoch, and a little JSON as metadata.

`{"v":1,"n":<partitions at the group's start>,"s":<when that was>,"m":"<user text>"}`, only what is there. Metadata that is not of this form
(another tool committed it) is handed on untouched as the user's text. Pure; the limits are measured on Kafka 4.1.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from confluent_kafka import OFFSET_INVALID, TopicPartition

from streamkit.errors import CheckpointError
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit_kafka.consumer import offset_of

__all__ = ["METADATA_CHARACTERS", "checkpoint_of", "commit_of", "generation_of"]

_VERSION = 1
_LIMIT = 4095
"""UTF-16 units; one more is refused (offset.metadata.max.bytes = 4096), 32,767 and more break the connection."""
METADATA_CHARACTERS = 4000
"""What is promised to users: room is left for our own fields. Quotes, backslashes and emoji count twice."""
_GENERATION_MARK = b"CGMDv2:"


def commit_of(checkpoint: Checkpoint) -> TopicPartition:
    """What is committed for a checkpoint. Raises CheckpointError for what Kafka cannot hold."""
    start = checkpoint.at
    if start.position is None or start.is_end or start.position.sequence is None:
        raise CheckpointError(f"{checkpoint.partition}: «{start}» is no offset and cannot be committed to Kafka")
    if start.position.sub_sequence:
        raise CheckpointError(f"{checkpoint.partition}: Kafka has no positions inside a record ({start})")
    if checkpoint.pending is not None:
        raise CheckpointError(
            f"{checkpoint.partition}: Kafka's offsets cannot keep a prepared checkpoint", fix="use another STREAMKIT_STORE"
        )
    metadata = _metadata_of(checkpoint)
    units = len(metadata.encode("utf-16-le", "surrogatepass")) // 2
    if units > _LIMIT:
        text = f"{checkpoint.partition}: metadata of {units} characters; Kafka takes {_LIMIT} (streamkit's own included)"
        raise CheckpointError(text, fix=f"keep it under {METADATA_CHARACTERS} characters, or use another STREAMKIT_STORE")
    return offset_of(checkpoint.partition, start, metadata)


def _metadata_of(checkpoint: Checkpoint) -> str:
    body: dict[str, object] = {}
    if checkpoint.partitions_at_start is not None:
        body["n"] = checkpoint.partitions_at_start
    if checkpoint.group_started is not None:
        body["s"] = int(checkpoint.group_started.timestamp())
    if checkpoint.metadata:
        body["m"] = checkpoint.metadata
    return json.dumps({"v": _VERSION, **body}, ensure_ascii=False, separators=(",", ":")) if body else ""


def checkpoint_of(partition: Partition, committed: TopicPartition, owner: str = "", epoch: int = 0) -> Checkpoint | None:
    """The checkpoint behind a committed offset; None if the broker says that there is none (asserts that it is no error)."""
    assert committed.error is None
    if committed.offset == OFFSET_INVALID or committed.offset < 0:
        return None
    token = "" if committed.leader_epoch is None or committed.leader_epoch < 0 else str(committed.leader_epoch)
    offset = committed.offset
    at = StartPosition.after(Position(offset - 1, token=token)) if offset else StartPosition.at(Position(0))
    return replace(_parsed(committed.metadata or "", partition, at), owner=owner, epoch=epoch)


def _parsed(metadata: str, partition: Partition, at: StartPosition) -> Checkpoint:
    foreign = Checkpoint(partition, at, metadata=metadata)
    try:
        body = json.loads(metadata)
    except ValueError:
        return foreign
    if not isinstance(body, dict) or body.get("v") not in (_VERSION, _VERSION + 1):
        return foreign
    text, partitions, started = body.get("m", ""), body.get("n"), body.get("s")
    if not isinstance(text, str) or not isinstance(partitions, int | None) or not isinstance(started, int | None):
        return foreign
    group_started = None if started is None else datetime.fromtimestamp(started, UTC)
    return Checkpoint(partition, at, metadata=text, partitions_at_start=partitions, group_started=group_started)


def generation_of(metadata: object) -> int:
    """The group's generation (KIP-848: the member's epoch) from `consumer_group_metadata()`; 0 if it cannot be told.

    The layout is librdkafka's own and private: `CGMDv2:` and a little-endian int32. Only shown to people and used as
    `context.epoch`; fencing does not hang on it.
    """
    raw = bytes(metadata) if isinstance(metadata, bytes | bytearray | memoryview) else b""
    start = len(_GENERATION_MARK)
    if not raw.startswith(_GENERATION_MARK) or len(raw) < start + 4:
        return 0
    return max(0, int.from_bytes(raw[start : start + 4], "little", signed=True))

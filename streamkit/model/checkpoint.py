"""What a store keeps for a partition of a group. Round-trips through text that carries a version."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from streamkit.model.partition import Partition
from streamkit.model.position import Position, StartPosition

__all__ = ["Checkpoint", "ParkedKey"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class ParkedKey:
    """Why and how far a key is parked: its records go to the dead letters, until those have been replayed."""

    first: str
    """The id of the record that failed."""
    letters: tuple[str, ...]
    """The last letter that was written, or is about to be: each one has a name that no other has. Several where a partition
    goes on for more than one parent, or after an owner that has died: all of them have to be replayed. None: it is not parked any
    more, whatever the checkpoints of the partition's parents say."""

    @property
    def is_released(self) -> bool:
        """Not parked any more."""
        return not self.letters


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a group stands in a partition. `at` says where to go on: `after(position)` is the normal case, inclusive:
    that record and all before it are done; `at(...)` and `EARLIEST` stand there before the first record was."""

    partition: Partition
    at: StartPosition
    metadata: str = ""
    """The user's own text (`context.checkpoint(metadata=...)`)."""
    record_time: datetime | None = None
    """When the last record that is done was written; tells the age of an expired position. Aware UTC."""
    owner: str = ""
    epoch: int = 0
    partitions_at_start: int | None = None
    """How many partitions the stream had when the group first started: those with a higher number are new and begin at EARLIEST."""
    group_started: datetime | None = None
    """When the group first started, aware UTC: under LATEST, partitions of then that are claimed only now begin there."""
    pending: Position | None = None
    """A prepared checkpoint that is not yet committed, and its state."""
    pending_state: bytes = b""
    suspect: Position | None = None
    """The record that was being delivered alone when this was written, because earlier owners had died: if this owner dies too,
    it is the culprit. None as soon as it has been passed."""
    suspected: int = 0
    """How often that record was delivered alone."""
    parked: Mapping[bytes, ParkedKey] = field(default_factory=dict, hash=False)
    """Keys whose records are put aside until those before them have been replayed (ON_FAILURE=park)."""

    def to_text(self) -> str:
        """One line of JSON with sorted names and a version."""
        body: dict[str, object] = {
            "version": _VERSION,
            "stream": self.partition.stream,
            "partition": self.partition.id,
            "incarnation": self.partition.incarnation,
            "at": self.at.to_text(),
            "metadata": self.metadata,
            "record_time": self.record_time and self.record_time.isoformat(),
            "owner": self.owner,
            "epoch": self.epoch,
            "partitions_at_start": self.partitions_at_start,
            "group_started": self.group_started and self.group_started.isoformat(),
            "pending": self.pending and self.pending.to_text(),
            "pending_state": base64.b64encode(self.pending_state).decode(),
            "suspect": self.suspect and self.suspect.to_text(),
            "suspected": self.suspected or None,
            "parked": {base64.b64encode(key).decode(): [one.first, *one.letters] for key, one in self.parked.items()},
            "extra": dict(self.partition.extra),
        }
        return json.dumps({k: v for k, v in body.items() if v not in (None, "", {})}, sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Checkpoint:
        """Read what `to_text` wrote, by this version or a neighbouring one (unknown names are passed over). Raises ValueError."""
        try:
            body = json.loads(text)
            if not 1 <= body["version"] <= _VERSION + 1:
                raise ValueError(f"checkpoint of version {body['version']}; this is version {_VERSION}")
            partition = Partition(body["stream"], body["partition"], incarnation=body.get("incarnation", ""), extra=body.get("extra", {}))
            return cls(
                partition,
                StartPosition.from_text(body["at"]),
                metadata=body.get("metadata", ""),
                record_time=datetime.fromisoformat(body["record_time"]) if "record_time" in body else None,
                owner=body.get("owner", ""),
                epoch=body.get("epoch", 0),
                partitions_at_start=body.get("partitions_at_start"),
                group_started=datetime.fromisoformat(body["group_started"]) if "group_started" in body else None,
                pending=Position.from_text(body["pending"]) if "pending" in body else None,
                pending_state=base64.b64decode(body.get("pending_state", "")),
                suspect=Position.from_text(body["suspect"]) if "suspect" in body else None,
                suspected=body.get("suspected", 0),
                parked={
                    base64.b64decode(key): ParkedKey(first, tuple(letters)) for key, (first, *letters) in body.get("parked", {}).items()
                },
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a checkpoint: {text[:200]!r}") from error

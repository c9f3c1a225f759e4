"""The limits that AWS sets for each shard, which no local server enforces: whose request exceeds them. No I/O, no clock.

From "Quotas and limits" of the Kinesis Data Streams Developer Guide: 5 GetRecords a second and 2 MB a second are read, all
readers together, and after an answer of 10 MB nothing for 5 s; 1,000 records or 1 MB a second are written.
For reads a shard is known by its iterators: the one that GetShardIterator gave, and each next one. For writes by the hash
ranges that ListShards told.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ShardLimits", "ShardMeter"]

MIB = 1024 * 1024
KNOWN_ITERATORS = 200_000
_ROUNDING = 1e-6
_DATA = re.compile(rb'"Data"\s*:\s*"([^"]*)"')
_SHARD = re.compile(rb'"ShardId"\s*:\s*"([^"]*)"')
_NEXT = re.compile(rb'"NextShardIterator"\s*:\s*"([^"]*)"')

Shard = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """What a shard allows in a second; None: no limit. AWS's limits of writes are 1,000 records and 1 MiB."""

    reads: int | None = 5
    read_bytes: int | None = 2 * MIB
    written_records: int | None = None
    written_bytes: int | None = None

    @property
    def of_writes(self) -> bool:
        """Whether writes have any."""
        return self.written_records is not None or self.written_bytes is not None


@dataclass(slots=True)
class _Budget:
    """Fills with time up to one second's worth. Whoever finds something in it may take more than there is."""

    left: float
    at: float

    def has(self, rate: float, now: float, least: float) -> bool:
        if now > self.at:
            self.left, self.at = min(rate, self.left + (now - self.at) * rate), now
        return self.left >= least - _ROUNDING


class ShardMeter:
    """Knows the shards by their iterators and what each of them has left. `now` is in seconds of any clock that only rises."""

    def __init__(self, limits: ShardLimits) -> None:
        self.limits = limits
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._reads: dict[Shard, _Budget] = {}
        self._bytes: dict[Shard, _Budget] = {}
        self._ranges: dict[str, list[tuple[int, int, str]]] = {}
        self._written: dict[Shard, tuple[_Budget, _Budget]] = {}

    def refusal(self, request: bytes, now: float) -> str | None:
        """Says why a GetRecords must not pass, else counts it. An iterator that was not learned here passes."""
        shard = self._shards.get(str(_fields(request).get("ShardIterator")))
        if shard is None:
            return None
        reads, read_bytes = self.limits.reads, self.limits.read_bytes
        budget = self._reads.setdefault(shard, _Budget(float(reads or 0), now))
        of_bytes = self._bytes.setdefault(shard, _Budget(float(read_bytes or 0), now))
        if (reads is not None and not budget.has(reads, now, 1.0)) or (read_bytes is not None and not of_bytes.has(read_bytes, now, 1.0)):
            stream, shard_id = shard
            return f"Rate exceeded for shard {shard_id} in stream {stream} under account 000000000000."
        budget.left -= 1
        return None

    def learn(self, operation: str, request: bytes, answer: bytes) -> None:
        """Takes iterators and bytes from the good answers to GetShardIterator and GetRecords."""
        if operation == "GetShardIterator":
            asked = _fields(request)
            self._remember(str(_fields(answer).get("ShardIterator")), (_stream(asked), str(asked.get("ShardId"))))
        elif operation == "GetRecords":
            shard = self._shards.get(str(_fields(request).get("ShardIterator")))
            if shard is None:
                return
            # Found by pattern: parsing an answer of 10 MiB costs more than all the rest of the proxy.
            if found := _NEXT.search(answer, max(0, answer.rfind(b'"NextShardIterator"'))):
                self._remember(found.group(1).decode(), shard)
            if (budget := self._bytes.get(shard)) is not None:
                budget.left -= sum(match.end(1) - match.start(1) for match in _DATA.finditer(answer)) * 3 // 4

    def knows_ranges(self, request: bytes) -> bool:
        """Whether the ranges of the stream of a put are known."""
        return _stream(_fields(request)) in self._ranges

    def learn_ranges(self, request: bytes, shards: bytes) -> None:
        """Takes the ranges of the stream of a put from an answer to ListShards."""
        self._ranges[_stream(_fields(request))] = [
            (int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"]), shard["ShardId"])
            for shard in _fields(shards).get("Shards", ())
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        ]

    def learn_of_reshards(self, request: bytes, answer: bytes) -> None:
        """Forgets the ranges of a stream when a put went to a shard that is not among them."""
        stream = _stream(_fields(request))
        known = {shard for _, _, shard in self._ranges.get(stream, ())}
        if not {found.decode() for found in _SHARD.findall(answer)} <= known:
            self._ranges.pop(stream, None)

    def refused_writes(self, request: bytes, now: float) -> list[int]:
        """The indices of the records of a PutRecords (0 for a PutRecord) that their shards refuse; the others are counted."""
        asked = _fields(request)
        stream = _stream(asked)
        return [number for number, entry in enumerate(asked.get("Records", [asked])) if not self._takes(stream, entry, now)]

    def _takes(self, stream: str, entry: Mapping[str, Any], now: float) -> bool:
        key = str(entry.get("PartitionKey", ""))
        at = int(entry.get("ExplicitHashKey") or int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big"))
        shard = next((shard for first, last, shard in self._ranges.get(stream, ()) if first <= at <= last), "")
        per_second = self.limits.written_records or math.inf, self.limits.written_bytes or math.inf
        size = len(str(entry.get("Data", ""))) * 3 // 4 + len(key.encode())
        budgets = self._written.setdefault((stream, shard), (_Budget(per_second[0], now), _Budget(per_second[1], now)))
        if not (budgets[0].has(per_second[0], now, 1) and budgets[1].has(per_second[1], now, size)):
            return False
        budgets[0].left -= 1
        budgets[1].left -= size
        return True

    def _remember(self, iterator: str, shard: Shard) -> None:
        self._shards[iterator] = shard
        self._shards.move_to_end(iterator)
        while len(self._shards) > KNOWN_ITERATORS:
            self._shards.popitem(last=False)


def _stream(asked: Mapping[str, Any]) -> str:
    return str(asked.get("StreamName") or str(asked.get("StreamARN")).rpartition("/")[2])


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

"""The limits that AWS sets for each shard, which no local server enforces: whose request exceeds them. No I/O, no clock.

From "Quotas and limits" of the Kinesis Data Streams Developer Guide: 5 GetRecords a second and 2 MB a second are read, all
readers together, and after an answer of 10 MB nothing for 5 s; 1,000 records or 1 MB a second are written.
A shard is known by its iterators: the one that GetShardIterator gave, and each next one.
"""

from __future__ import annotations

import json
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
_NEXT = re.compile(rb'"NextShardIterator"\s*:\s*"([^"]*)"')

Shard = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """What a shard allows in a second; None: no limit."""

    reads: int | None = 5
    read_bytes: int | None = 2 * MIB


@dataclass(slots=True)
class _Budget:
    """Fills with time up to one second's worth. Whoever finds something in it may take more than there is."""

    left: float
    at: float

    def has(self, rate: float, now: float, least: float) -> bool:
        self.left, self.at = min(rate, self.left + (now - self.at) * rate), now
        return self.left >= least - _ROUNDING


class ShardMeter:
    """Knows the shards by their iterators and what each of them has left. `now` is in seconds of any clock that only rises."""

    def __init__(self, limits: ShardLimits) -> None:
        self.limits = limits
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._reads: dict[Shard, _Budget] = {}
        self._bytes: dict[Shard, _Budget] = {}

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
            stream = str(asked.get("StreamName") or str(asked.get("StreamARN")).rpartition("/")[2])
            self._remember(str(_fields(answer).get("ShardIterator")), (stream, str(asked.get("ShardId"))))
        elif operation == "GetRecords":
            shard = self._shards.get(str(_fields(request).get("ShardIterator")))
            if shard is None:
                return
            # Found by pattern: parsing an answer of 10 MiB costs more than all the rest of the proxy.
            if found := _NEXT.search(answer, max(0, answer.rfind(b'"NextShardIterator"'))):
                self._remember(found.group(1).decode(), shard)
            if (budget := self._bytes.get(shard)) is not None:
                budget.left -= sum(match.end(1) - match.start(1) for match in _DATA.finditer(answer)) * 3 // 4

    def _remember(self, iterator: str, shard: Shard) -> None:
        self._shards[iterator] = shard
        self._shards.move_to_end(iterator)
        while len(self._shards) > KNOWN_ITERATORS:
            self._shards.popitem(last=False)


def _fields(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

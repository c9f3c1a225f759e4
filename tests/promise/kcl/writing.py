"""A stream of few shards, and one who writes to it: plain records and aggregates of many keys, counted for each key.

The aggregates are made by aws-kinesis-agg, so that neither side reads what it has written itself. An aggregate holds keys of one shard
alone, as a producer of the KPL makes them.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

__all__ = ["Shard", "Stream"]

KEYS_OF_A_SLICE = 2
SLICES = 16
"""As finely as the stream is ever split, and each slice has keys: so every shard has some at any time."""


@dataclass(frozen=True, slots=True)
class Shard:
    id: str
    first: int
    last: int
    parents: tuple[str, ...]
    is_open: bool


class Stream:
    """`kinesis` is a client of boto3, which has no types."""

    def __init__(self, kinesis: Any, name: str) -> None:
        self._kinesis, self.name = kinesis, name
        self._keys = _keys()
        self.written: dict[str, int] = defaultdict(int)

    def shards(self) -> dict[str, Shard]:
        """All that are listed, closed ones too."""
        found = {}
        for shard in self._kinesis.list_shards(StreamName=self.name)["Shards"]:
            hashes = shard["HashKeyRange"]
            parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
            found[shard["ShardId"]] = Shard(
                shard["ShardId"],
                int(hashes["StartingHashKey"]),
                int(hashes["EndingHashKey"]),
                tuple(parent for parent in parents if parent),
                "EndingSequenceNumber" not in shard["SequenceNumberRange"],
            )
        return found

    def open_shards(self) -> list[Shard]:
        return sorted((shard for shard in self.shards().values() if shard.is_open), key=lambda shard: shard.first)

    def write(self, units: Sequence[int], *, hold: int | None = None) -> int:
        """To each open shard: for each unit 1 a plain record, for a larger one an aggregate of so many. How many records.

        `hold`: the record with this index in each aggregate asks the worker to hold there.
        """
        count = 0
        for shard in self.open_shards():
            keys = [key for key, place in self._keys.items() if shard.first <= place <= shard.last]
            for unit in units:
                # A different key first each time, and keys several times in an aggregate.
                chosen = [keys[(count + index) % len(keys)] for index in range(unit)]
                values = [self._value(key, holds=unit > 1 and index == hold) for index, key in enumerate(chosen)]
                self._put(chosen, values)
                count += unit
        return count

    def split(self, shard: Shard) -> None:
        """In two halves."""
        self._change("split_shard", ShardToSplit=shard.id, NewStartingHashKey=str((shard.first + shard.last) // 2 + 1))

    def merge(self, shard: Shard, adjacent: Shard) -> None:
        self._change("merge_shards", ShardToMerge=shard.id, AdjacentShardToMerge=adjacent.id)

    def _change(self, operation: str, **more: str) -> None:
        getattr(self._kinesis, operation)(StreamName=self.name, **more)
        deadline = time.monotonic() + 60
        while self._kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < deadline, f"{operation} takes too long"
            time.sleep(0.05)

    def _value(self, key: str, *, holds: bool) -> bytes:
        number = self.written[key]
        self.written[key] += 1
        return f"{key} {number} {'hold' if holds else 'go'}".encode()

    def _put(self, keys: Sequence[str], values: Sequence[bytes]) -> None:
        if len(keys) == 1:
            self._kinesis.put_record(StreamName=self.name, PartitionKey=keys[0], Data=values[0])
            return
        from aws_kinesis_agg.aggregator import RecordAggregator

        aggregator = RecordAggregator()
        for key, value in zip(keys, values, strict=True):
            assert aggregator.add_user_record(key, value) is None
        outer, _, data = aggregator.clear_and_get().get_contents()
        self._kinesis.put_record(StreamName=self.name, PartitionKey=outer, ExplicitHashKey=str(_hash(keys[0])), Data=data)


def _keys() -> dict[str, int]:
    """Names and hashes of keys, so many for each slice of the hashes."""
    slices: dict[int, list[str]] = {index: [] for index in range(SLICES)}
    for name in islice(_names(), 2000):
        here = slices[_hash(name) * SLICES >> 128]
        if len(here) < KEYS_OF_A_SLICE:
            here.append(name)
    assert all(len(here) == KEYS_OF_A_SLICE for here in slices.values())
    return {name: _hash(name) for here in slices.values() for name in here}


def _names() -> Iterator[str]:
    number = 0
    while True:
        yield f"k{number}"
        number += 1


def _hash(key: str) -> int:
    """Where Kinesis puts a key."""
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest(), "big")

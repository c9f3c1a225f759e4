"""A stream that splits and merges all the time, and producers that write to it meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.promise.aws import client

__all__ = ["Producers", "Reshaping", "is_open", "shards"]

MIN_SHARDS, MAX_SHARDS = 2, 6
_REFUSED = {"LimitExceededException", "ResourceInUseException", "InvalidArgumentException"}
"""Another change is under way, or two shards do not fit together: another change is tried."""


def shards(kinesis: Any, stream: str) -> list[dict[str, Any]]:
    """All that the stream lists, closed ones too."""
    found: list[dict[str, Any]] = []
    answer = kinesis.list_shards(StreamName=stream)
    found += answer["Shards"]
    while answer.get("NextToken"):
        answer = kinesis.list_shards(NextToken=answer["NextToken"])
        found += answer["Shards"]
    return found


def is_open(shard: dict[str, Any]) -> bool:
    return "EndingSequenceNumber" not in shard["SequenceNumberRange"]


class _Thread:
    """A loop on a thread of its own until `end`; what it raises is raised there."""

    def __init__(self, name: str, step: Callable[[], None]) -> None:
        self.over = threading.Event()
        self._step = step
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self.over.is_set():
                self._step()
        except BaseException as error:
            self._problem = error

    def end(self) -> None:
        self.over.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self._thread.name} does not end"
        if self._problem is not None:
            raise self._problem


class Reshaping:
    """Splits, merges and changes of the number of shards, one after the other, until `end`."""

    def __init__(self, endpoint_url: str, stream: str, chance: random.Random, pause_seconds: float = 1.5) -> None:
        self.done: dict[str, int] = {"split": 0, "merge": 0, "count": 0}
        self._kinesis = client("kinesis", endpoint_url)
        self._stream = stream
        self._chance = chance
        self._pause_seconds = pause_seconds
        self._thread = _Thread("reshaping", self._change)
        self._thread.begin()

    def end(self) -> None:
        self._thread.end()

    def _change(self) -> None:
        from botocore.exceptions import ClientError

        if self._thread.over.wait(self._chance.uniform(0.2, 2 * self._pause_seconds)):
            return
        if self._kinesis.describe_stream_summary(StreamName=self._stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            return
        opened = sorted(filter(is_open, shards(self._kinesis, self._stream)), key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
        kinds = ["split"] * (len(opened) < MAX_SHARDS) + ["merge"] * (len(opened) > MIN_SHARDS) + ["count"]
        kind = self._chance.choice(kinds)
        try:
            getattr(self, f"_{kind}")(opened)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
        else:
            self.done[kind] += 1

    def _split(self, opened: list[dict[str, Any]]) -> None:
        shard = self._chance.choice(opened)
        low, high = (int(shard["HashKeyRange"][end]) for end in ("StartingHashKey", "EndingHashKey"))
        at = str(self._chance.randint(low + (high - low) // 4, high - (high - low) // 4))
        self._kinesis.split_shard(StreamName=self._stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=at)

    def _merge(self, opened: list[dict[str, Any]]) -> None:
        index = self._chance.randrange(len(opened) - 1)
        left, right = opened[index]["ShardId"], opened[index + 1]["ShardId"]
        self._kinesis.merge_shards(StreamName=self._stream, ShardToMerge=left, AdjacentShardToMerge=right)

    def _count(self, opened: list[dict[str, Any]]) -> None:
        lowest, highest = max(MIN_SHARDS, -(-len(opened) // 2)), min(MAX_SHARDS, 2 * len(opened))
        wanted = self._chance.choice([n for n in range(lowest, highest + 1) if n != len(opened)] or [len(opened)])
        self._kinesis.update_shard_count(StreamName=self._stream, TargetShardCount=wanted, ScalingType="UNIFORM_SCALING")


class Producers:
    """Some producers with keys of their own; each numbers the records of each key, and writes one only when the one before is there."""

    def __init__(self, endpoint_url: str, stream: str, producers: int = 3, keys: int = 7, records_per_second: float = 20.0) -> None:
        self.written: dict[str, int] = {}
        """How many records of each key the stream has acknowledged: 0, 1, 2, …"""
        self._stream = stream
        self._pause_seconds = 1 / records_per_second
        self._threads = [
            _Thread(f"producer-{name}", self._writer(client("kinesis", endpoint_url), [f"{name}{n}" for n in range(keys)]))
            for name in "abcdefgh"[:producers]
        ]
        for thread in self._threads:
            thread.begin()

    def end(self) -> None:
        for thread in self._threads:
            thread.end()

    def _writer(self, kinesis: Any, keys: list[str]) -> Callable[[], None]:
        chance = random.Random(keys[0])
        self.written.update(dict.fromkeys(keys, 0))

        def write() -> None:
            from botocore.exceptions import ClientError

            key = chance.choice(keys)
            try:
                kinesis.put_record(StreamName=self._stream, PartitionKey=key, Data=b"%d %s" % (self.written[key], key.encode()))
            except ClientError as error:
                if error.response["Error"]["Code"] not in _REFUSED | {"ResourceNotFoundException"}:
                    raise
                return  # while shards change hands; the same number is tried again
            self.written[key] += 1
            time.sleep(self._pause_seconds)

        return write

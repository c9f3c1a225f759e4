"""Whatever the service says for a while, and the engine does meanwhile: all records come, rising, and each shard ends behind its last."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from datetime import datetime

import pytest
from streamkit_kinesis.aggregate import hash_of

from plugins.kinesis.tests.aggregates import User, aggregate_of
from plugins.kinesis.tests.service import Answer, Shard, World, refusal
from streamkit.errors import BrokerError
from streamkit.model import Batch, Partition, Position, StartPosition
from streamkit.plugin import Budget, Ended, Event, Failed


def without(*keys: str) -> Callable[[Answer], Answer]:
    return lambda answer: {key: value for key, value in answer.items() if key not in keys}


READ_FAULTS = [
    refusal("ExpiredIteratorException"),
    refusal("InternalFailure", status=500),
    refusal("KMSThrottlingException"),
    refusal("ProvisionedThroughputExceededException"),
    refusal("ResourceNotFoundException"),
    without("NextShardIterator", "ChildShards"),
    without("ChildShards"),
    without("MillisBehindLatest"),
    lambda answer: {**answer, "ChildShards": []} if "ChildShards" in answer else answer,
    lambda answer: {},
]
FAULTS: dict[str, list[Exception | Callable[[Answer], Answer]]] = {
    "get_records": [*READ_FAULTS],
    "get_shard_iterator": [refusal(code, operation="GetShardIterator") for code in ("ResourceNotFoundException", "LimitExceededException")],
    "list_shards": [without("Shards"), refusal("LimitExceededException"), refusal("ExpiredNextTokenException")],
    "describe_stream_summary": [without("StreamDescriptionSummary"), refusal("LimitExceededException")],
}


class Storm:
    """An engine that follows the shards of one stream, holds them back, gives them up and takes them again."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World(
            shards=self.chance.choice([1, 2, 4]),
            chance=self.chance.random(),
            read_records=self.chance.choice([1, 2, 3, 50]),
            read_bytes=1 << 20,
            idle_wait="200ms",
            reads_per_second=self.chance.choice([4, 100]),
        )
        self.world.service.page = self.chance.choice([1, 2, 1000])
        self.shards = self.world.service.streams["orders"]
        self.incarnation = self.world.book.look_up("orders").incarnation
        self.written: dict[str, list[tuple[Position, bytes]]] = {}
        self.got: dict[str, list[tuple[Position, bytes]]] = {}
        self.times: dict[str, datetime] = {}
        self.active: dict[str, Partition] = {}
        self.paused: set[str] = set()
        self.ended: set[str] = set()
        for name in list(self.shards):
            self.begin(name)

    # -- producers --------------------------------------------------------------------------------------------------

    def put(self) -> None:
        shard = self.chance.choice([one for one in self.shards.values() if one.ended_at is None])
        number, count = int(shard.id.rpartition("-")[2]), self.chance.randint(1, 5)
        users = [self._user() for _ in range(count)]
        if self.chance.random() < 0.5:
            sequence = self.world.service.put("orders", number, users[0].value)
            taken = [(Position(sequence), users[0].value)]
        else:
            sequence = self.world.service.put("orders", number, aggregate_of(users))
            low, high = shard.range
            taken = [(Position(sequence, sub), user.value) for sub, user in enumerate(users) if low <= hash_of(user.key) <= high]
        self.written.setdefault(shard.id, []).extend(taken)

    def _user(self) -> User:
        size = self.chance.choice([1, 1, 1, 150_000])
        return User(self.chance.randbytes(4), self.chance.randbytes(8) + bytes(size), None)

    def reshard(self) -> None:
        by_range = sorted((shard.range, int(shard.id.rpartition("-")[2])) for shard in self.shards.values() if shard.ended_at is None)
        at = self.chance.randrange(len(by_range))
        if len(self.shards) >= 14:
            return
        if at and self.chance.random() < 0.5:
            self.world.service.merge("orders", by_range[at - 1][1], by_range[at][1])
        else:
            self.world.service.split("orders", by_range[at][1])

    def break_something(self) -> None:
        operation = self.chance.choice(["get_records"] * 5 + list(FAULTS))
        self.world.service.faults.setdefault(operation, deque()).append(self.chance.choice(FAULTS[operation]))

    # -- the engine -------------------------------------------------------------------------------------------------

    def partition(self, shard: Shard) -> Partition:
        return Partition("orders", shard.id, incarnation=self.incarnation, parents=shard.parents, key_range=shard.range)

    def begin(self, name: str) -> None:
        """From behind what it has."""
        self.paused.discard(name)
        partition = self.active[name] = self.partition(self.shards[name])
        got = self.got.get(name)
        self.world.add(partition, StartPosition.after(got[-1][0]) if got else StartPosition.EARLIEST, self.times.get(name))

    def hold_back(self) -> None:
        name = self.chance.choice(sorted(self.active))
        self.paused.add(name)
        self.world.fetching.pause([self.active[name]], True)

    def go_on(self) -> None:
        for name in sorted(self.paused):
            self.paused.discard(name)
            self.world.fetching.pause([self.active[name]], False)

    def begin_again(self) -> None:
        """From somewhere in what it has, as after a crash."""
        name = self.chance.choice(sorted(self.active))
        self.world.fetching.remove([self.active[name]])
        got = self.got.get(name, [])
        del got[self.chance.randint(0, len(got)) :]
        self.begin(name)

    def poll(self) -> None:
        budget = Budget(self.chance.choice([1, 2, 5, 1000]), self.chance.choice([1, 1000, 1 << 20, 1 << 30]), 0.0)
        try:
            events = self.world.poll(budget)
        except BrokerError as error:
            if not error.retryable:
                raise
            return
        for event in events:
            self.take(event)

    def take(self, event: Event) -> None:
        assert isinstance(event, Batch) or hasattr(event, "partition")
        name = event.partition.id
        assert name in self.active
        if isinstance(event, Batch):
            assert name not in self.paused
            got = self.got.setdefault(name, [])
            for record in event:
                assert not got or record.position > got[-1][0]
                got.append((record.position, record.value or b""))
                self.times[name] = record.timestamp
        elif isinstance(event, Ended):
            self.end(event)
        elif isinstance(event, Failed):
            assert event.error.retryable, event.error
            self.begin(name)

    def end(self, event: Ended) -> None:
        name = event.partition.id
        assert self.shards[name].ended_at is not None
        assert self.got.get(name, []) == self.written.get(name, [])
        children = [shard for shard in self.shards.values() if name in shard.parents]
        assert [child.id for child in event.children] == [child.id for child in children]
        del self.active[name]
        self.paused.discard(name)
        self.ended.add(name)
        for child in children:
            if self.ended.issuperset(child.parents):
                self.begin(child.id)

    def go(self) -> None:
        """Some reads, a poll, and the time that passes."""
        for _ in range(3):
            self.world.step()
        self.poll()
        self.world.context.now += self.chance.choice([0.01, 0.05, 0.3])
        held = sum(item.held for cursor in self.world.fetching._cursors.values() for item in cursor.items)
        assert self.world.fetching._room.held == held

    @property
    def is_done(self) -> bool:
        open_ones = {shard.id for shard in self.shards.values() if shard.ended_at is None}
        counts = {name: len(got) for name, got in self.got.items()}
        return self.active.keys() == open_ones and all(counts.get(name, 0) == len(written) for name, written in self.written.items())


@pytest.mark.parametrize("seed", range(12))
def test_all_records_come_rising_and_ends_come_last_through_any_storm(seed: int) -> None:
    storm = Storm(seed)
    deeds = [storm.put] * 8 + [storm.break_something] * 3 + [storm.reshard, storm.hold_back, storm.go_on, storm.begin_again]
    for _ in range(300):
        storm.chance.choice(deeds)()
        if storm.chance.random() < 0.05:
            storm.world.fetching._make_room()
        storm.go()
    storm.world.service.faults.clear()
    storm.go_on()
    for _ in range(4000):
        if storm.is_done:
            break
        storm.go()
    assert storm.is_done
    assert {name: got for name, got in storm.got.items() if got} == {name: written for name, written in storm.written.items() if written}

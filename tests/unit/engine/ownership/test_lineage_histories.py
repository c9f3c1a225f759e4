"""Random histories of streams that split and merge, and of workers that list, create, take, end, remove and die between any two
writes. Nothing of the group's share is forgotten, read twice, or read before what came before it.

The streams are those of the memory broker, so the listings are what a broker really shows. Leases are kept in a dict: every
write is one step, and a seed decides who makes the next one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

import pytest

from streamkit.builtin.memory.topic import Topic
from streamkit.engine.ownership.lineage import children_of, holes, is_gated, to_create, to_remove
from streamkit.errors import BrokerUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, PlainRecord, Position, StartPosition
from tests.unit.engine.ownership.families import EARLIEST, LATEST, STARTED

Kind = Literal["earliest", "latest", "time"]

SEEDS = 25
WORKERS = 3


@dataclass
class World:
    """Two streams with equal ids, a table of leases, and what has been processed."""

    chance: random.Random
    kind: Kind
    resolves_early: bool
    """When a lease without a checkpoint gets one: at its creation, or at its first claim."""
    start: StartPosition = EARLIEST
    now: datetime = STARTED
    topics: dict[str, Topic] = field(default_factory=dict)
    rows: dict[Partition, Lease] = field(default_factory=dict)
    ever: set[Partition] = field(default_factory=set)
    removals: int = 0
    began: datetime | None = None
    first_listed: datetime | None = None
    late: set[str] = field(default_factory=set)
    """Streams that were there only after the group had begun."""
    written: list[PlainRecord] = field(default_factory=list)
    processed: Counter[str] = field(default_factory=Counter)
    """How often, in the order of the first time."""
    refused: int = 0
    """Listings that contradicted themselves."""
    postponed: int = 0
    """Ends whose child waited for its other parent to have a lease."""

    # -- the broker

    def add_stream(self, name: str) -> None:
        self.topics[name] = Topic(name, self.chance.randint(1, 4), "kinesis", f"{name}-1")
        if self.began is not None:
            self.late.add(name)

    def happen(self) -> None:
        """Something in a stream, most often a record."""
        topic = self.chance.choice(list(self.topics.values()))
        still_open = [partition for partition in topic.partitions if not partition.ended]
        what = self.chance.random()
        if what < 0.6:
            self.write(topic, None)
        elif what < 0.8 and len(still_open) < 8:
            topic.split(self.chance.choice(still_open).id)
        elif len(still_open) > 1:
            still_open.sort(key=lambda partition: partition.key_range or (0, 0))
            first = self.chance.randrange(len(still_open) - 1)
            topic.merge(still_open[first].id, still_open[first + 1].id)

    def write(self, topic: Topic, partition: str | None) -> None:
        self.now += timedelta(seconds=1)
        self.written.append(topic.append(b"", b"%d" % self.chance.getrandbits(32), (), partition, self.now))

    def discover(self, start: StartPosition) -> list[Partition]:
        self.first_listed = self.first_listed or self.now
        return [partition for topic in self.topics.values() for partition in topic.reachable(start)]

    # -- the store

    def leases(self) -> list[Lease]:
        return list(self.rows.values())

    def create(self, lease: Lease) -> None:
        if lease.partition in self.rows:
            return
        assert lease.partition not in self.ever, f"{lease.partition} was removed and is made anew"
        self.ever.add(lease.partition)
        self.rows[lease.partition] = self.resolved(lease) if self.resolves_early else lease

    def write_row(self, row: Lease) -> None:
        self.rows[row.partition] = replace(row, version=row.version + 1)

    def take(self, listed: Lease, owner: str) -> bool:
        if self.rows.get(listed.partition) != listed:
            return False
        self.began = self.began or self.now
        self.write_row(replace(self.resolved(listed), owner=owner, epoch=listed.epoch + 1))
        return True

    def resolved(self, lease: Lease) -> Lease:
        """With a place to begin, as an engine finds it: LATEST means the first start of the group for everybody."""
        if lease.checkpoint is not None:
            return lease
        at = self.start
        if at == LATEST:
            topic = self.topics[lease.partition.stream]
            tip = StartPosition.at(Position(topic.next_sequence(topic.log(lease.partition.id))))
            at = StartPosition.at_time(self.began) if self.began is not None else tip
        return replace(lease, checkpoint=Checkpoint(lease.partition, at, group_started=self.now))

    def remove(self, listed: Lease) -> None:
        if self.rows.get(listed.partition) == listed:
            del self.rows[listed.partition]
            self.removals += 1

    @property
    def is_quiet(self) -> bool:
        """Only open partitions have leases, and everything is read; so nothing will change any more."""
        still_open = {partition for topic in self.topics.values() for partition in topic.partitions if not partition.ended}
        return self.rows.keys() == still_open and all(self.processed[r.id] or not self.is_due(r) for r in self.written)

    # -- what a worker does with a partition

    def process(self, partition: Partition, max_records: int) -> bool:
        """Read on and save; whether everything is read."""
        topic, checkpoint = self.topics[partition.stream], self.rows[partition].checkpoint
        assert checkpoint is not None
        log = topic.log(partition.id)
        sequence = topic.sequence(log, checkpoint.at)
        for record in log.read(sequence, max_records, 1 << 30):
            assert isinstance(record, PlainRecord)
            self.processed[record.id] += 1
            checkpoint = replace(checkpoint, at=StartPosition.after(record.position))
        self.write_row(replace(self.rows[partition], checkpoint=checkpoint))
        return not log.after(topic.sequence(log, checkpoint.at))

    def read_before_their_ancestors(self) -> list[str]:
        """Partitions of which a record was processed before the last one of something that they descend from."""
        when = {record: place for place, record in enumerate(self.processed)}
        times: dict[Partition, list[int]] = {}
        for record in self.written:
            if record.id in when:
                times.setdefault(record.partition, []).append(when[record.id])
        found = []
        for partition, own in times.items():
            topic = self.topics[partition.stream]
            waiting = [*partition.parents]
            while waiting:
                ancestor = topic.log(waiting.pop()).partition
                waiting.extend(ancestor.parents)
                if max(times.get(ancestor, [-1])) > min(own):
                    found.append(f"{partition} before {ancestor}")
        return found

    def is_due(self, record: object) -> bool:
        """Whether the group must process it."""
        assert isinstance(record, PlainRecord)
        if self.kind == "earliest":
            return True
        if self.kind == "time":
            assert self.start.time is not None
            return record.timestamp >= self.start.time
        return record.partition.stream in self.late or (self.began is not None and record.timestamp > self.began)


def work(world: World, name: str) -> Iterator[None]:
    """A worker; between two steps anything may happen to it. Its first leases it takes from the rows that were found complete."""
    has_taken = False
    while True:
        rows, removals, began = world.leases(), world.removals, world.began
        yield
        starts = [world.start, EARLIEST]
        first, second = starts if world.chance.random() < 0.8 else reversed(starts)
        listed = {first: world.discover(first)}
        yield
        listed[second] = world.discover(second)
        try:
            new = to_create(world.start, listed[world.start], listed[EARLIEST], rows)
        except BrokerUnavailableError:
            world.refused += 1
            yield
            continue
        for lease in new:
            yield
            if (removals, began) != (world.removals, world.began):
                break  # the plan has grown old
            world.create(lease)
        if new:
            continue
        yield from take_some(world, name, world.leases() if has_taken else rows)
        has_taken = True
        for row in to_remove(world.leases()):
            yield
            world.remove(row)
        yield


def take_some(world: World, name: str, rows: list[Lease]) -> Iterator[None]:
    by_partition = {row.partition: row for row in rows}
    free = [row for row in rows if not row.owner and not row.is_ended and not is_gated(row, by_partition)]
    yield
    for row in world.chance.sample(free, min(2, len(free))):
        if world.take(row, name):
            yield
            yield from read(world, row.partition)
            world.write_row(replace(world.rows[row.partition], owner=""))


def read(world: World, partition: Partition) -> Iterator[None]:
    rows = world.leases()
    for _ in range(world.chance.randint(1, 6)):
        is_done = world.process(partition, world.chance.randint(0, 4))
        yield
        topic = world.topics[partition.stream]
        log = topic.log(partition.id)
        if is_done and log.partition.ended and not log.after(topic.sequence(log, at_of(world, partition))):
            children = [topic.log(child).partition for child in log.partition.children]
            new = children_of(world.rows[partition], children, rows)
            world.postponed += any(child not in world.rows and child not in {lease.partition for lease in new} for child in children)
            for lease in new:
                world.create(lease)
                yield
            row = world.rows[partition]
            world.write_row(replace(row, partition=replace(row.partition, children=log.partition.children)))
            yield
            row = world.rows[partition]
            assert row.checkpoint is not None
            world.write_row(replace(row, checkpoint=replace(row.checkpoint, at=StartPosition.END)))
            return


def at_of(world: World, partition: Partition) -> StartPosition:
    checkpoint = world.rows[partition].checkpoint
    assert checkpoint is not None
    return checkpoint.at


def run(kind: Kind, seed: int) -> World:
    """One history: before the group, with it, and after the last split."""
    world = World(random.Random(f"{kind}-{seed}"), kind, resolves_early=seed % 2 == 0)
    chance = world.chance
    world.add_stream("a")
    if chance.random() < 0.5:
        world.add_stream("b")
    before = chance.randint(0, 60)
    moment = chance.randint(0, before)
    for step in range(before):
        world.happen()
        if step == moment and kind == "time":
            world.start = StartPosition.at_time(world.now)
    if kind == "time" and world.start == EARLIEST:
        world.start = StartPosition.at_time(world.now)
    if kind == "latest":
        world.start = LATEST
    workers = {f"w{n}": work(world, f"w{n}") for n in range(WORKERS)}
    for step in range(chance.randint(300, 900)):
        name = chance.choice(list(workers))
        what = chance.random()
        if what < 0.12:
            world.happen()
        elif what < 0.14:  # dead; its leases have expired when somebody looks next
            for row in world.leases():
                if row.owner == name:
                    world.write_row(replace(world.rows[row.partition], owner=""))
            workers[name] = work(world, name)
        else:
            next(workers[name])
        if step == 150 and "b" not in world.topics:
            world.add_stream("b")
    for topic in world.topics.values():
        for partition in topic.partitions:
            if not partition.ended:
                world.write(topic, partition.id)
    for _ in range(200):
        for _ in range(30):
            next(workers[chance.choice(list(workers))])
        if world.is_quiet:
            break
    return world


@pytest.mark.parametrize("kind", ["earliest", "latest", "time"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_record_is_forgotten_or_read_twice_or_before_its_time(kind: Kind, seed: int) -> None:
    world = run(kind, seed)
    forgotten = [record.id for record in world.written if world.is_due(record) and not world.processed[record.id]]
    assert forgotten == []
    assert [record for record, times in world.processed.items() if times > 1] == []
    assert world.read_before_their_ancestors() == []
    for record in world.written:  # nothing from before the start, either
        if kind == "time" and not world.is_due(record):
            assert not world.processed[record.id]
        if kind == "latest" and world.first_listed is not None and record.partition.stream not in world.late:
            assert not world.processed[record.id] or record.timestamp >= world.first_listed
    left = [partition for topic in world.topics.values() for partition in topic.partitions if not partition.ended]
    assert set(world.rows) == set(left), "all that has ended is removed in the end, and all that is open is leased"
    assert holes(row.partition for row in world.rows.values()) == []


def test_the_histories_reach_the_cases_that_they_are_for() -> None:
    worlds = [run("latest", seed) for seed in range(10)]
    assert sum(world.removals for world in worlds) > 100
    assert sum(len(partition.parents) > 1 for world in worlds for partition in world.ever) > 20
    assert any(world.late for world in worlds)
    assert any(world.refused for world in worlds)
    assert any(world.postponed for world in worlds)

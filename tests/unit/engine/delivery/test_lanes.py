"""Lanes under random schedules: one call of a key at a time, in order, oldest first, and nobody waits for somebody else's retry."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count, pairwise

import pytest

from streamkit.engine.delivery.lanes import Job, Lane, Lanes
from streamkit.engine.delivery.tracker import Item, Tracker
from streamkit.model import Batch, Partition, PlainRecord, Position

P0 = Partition("stream", "0")


class _Drive:
    """Plays a delivery: offers, takes, ends calls, and checks the rules at each step."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.tracker = Tracker()
        self.jobs: list[Job] = []
        self.offered: dict[bytes, list[int]] = {}
        self.finished: dict[bytes, list[int]] = {}
        self.keyless: set[int] = set()
        self.left = 0
        self._numbers = count()

    def offer(self, *keys: bytes | None) -> list[Item]:
        records = [PlainRecord(P0, Position(next(self._numbers)), b"", key=key) for key in keys]
        items = self.tracker.offer(Batch.of(records))
        self.lanes.offer(items)
        self.left += len(items)
        for item in items:
            if item.record.key is not None:
                self.offered.setdefault(item.record.key, []).append(item.index)
        return items

    def take(self, limit: int) -> Job | None:
        job = self.lanes.take(limit)
        if job is None:
            return None
        assert 0 < len(job) <= limit
        assert all(before.index < after.index for before, after in pairwise(job.items)), "in the order of offering"
        running = Counter(item.record.key for other in self.jobs for item in other.items if item.record.key is not None)
        keys = [item.record.key for item in job.items if item.record.key is not None]
        assert not set(keys) & set(running), "two running jobs with one key"
        for key in set(keys):
            mine = [item.index for item in job.items if item.record.key == key]
            done = len(self.finished.get(key, []))
            assert mine == self.offered[key][done : done + len(mine)], "a record was overtaken by a later one of its key"
        self.jobs.append(job)
        return job

    def mark(self, items: list[Item]) -> None:
        for item in items:
            assert self.tracker.mark(item) is not None
            self.left -= 1
            if item.record.key is not None:
                self.finished.setdefault(item.record.key, []).append(item.index)
            else:
                assert item.index not in self.keyless
                self.keyless.add(item.index)

    def end(self, job: Job, done: int) -> list[Lane]:
        self.jobs.remove(job)
        self.mark(job.items[:done])
        unfinished = self.lanes.over(job)
        assert {id(lane) for lane in unfinished} == {id(lane) for lane in job.lanes if lane.items and lane.items[0] in job.items[done:]}
        return unfinished


@pytest.mark.parametrize("seed", range(150))
def test_order_by_key_holds_in_every_schedule(seed: int) -> None:
    dice = random.Random(seed)
    drive = _Drive()
    keys = [None, *(b"%d" % n for n in range(dice.choice((1, 3, 20))))]
    clock, to_come = 0.0, 150
    while to_come or drive.left:
        clock += 1
        what = dice.random()
        if to_come and what < 0.15:
            many = min(to_come, dice.randint(1, 12))
            to_come -= many
            drive.offer(*(dice.choice(keys) for _ in range(many)))
        elif what < 0.55 and len(drive.jobs) < 5:
            drive.take(dice.choice((1, 2, 7)))
        elif drive.jobs:
            job = dice.choice(drive.jobs)
            for lane in drive.end(job, dice.choice((0, len(job) // 2, len(job), len(job)))):
                lane.alone = dice.random() < 0.5
                lane.limit = dice.choice((None, 1))
                fate = dice.random()
                if fate < 0.2:  # put aside
                    head = lane.items[0]
                    drive.mark([head])
                    if drive.lanes.shed(lane):
                        drive.lanes.wake(lane)
                elif fate < 0.5:
                    drive.lanes.wake(lane)
                else:
                    drive.lanes.rest(lane, clock + dice.randint(1, 20))
        drive.lanes.wake_due(clock)
        assert drive.lanes.waiting_records + drive.lanes.resting_records <= drive.left
    assert not drive.jobs
    assert drive.finished == drive.offered
    assert (len(drive.lanes), drive.lanes.waiting_records, drive.lanes.resting_records, drive.lanes.next_due) == (0, 0, 0, None)


def test_a_key_that_waits_for_its_retry_keeps_its_place_and_all_others_go_on() -> None:
    drive = _Drive()
    drive.offer(b"a", b"b", b"a", b"c", b"b", None)
    job = drive.take(1)
    assert job is not None
    (lane,) = drive.end(job, 0)
    drive.lanes.rest(lane, 10.0)
    others: list[int] = []
    while (job := drive.take(10)) is not None:
        others.extend(item.index for item in job.items)
        assert drive.end(job, len(job)) == []
    assert sorted(others) == [1, 3, 4, 5]
    drive.offer(b"a", b"d")
    drive.lanes.wake_due(9.9)
    job = drive.take(10)
    assert job is not None
    assert [item.record.key for item in job.items] == [b"d"], "what came behind the retry waits with it"
    assert drive.lanes.resting_records == 3
    drive.lanes.wake_due(10.0)
    job = drive.take(10)
    assert job is not None
    assert [item.index for item in job.items] == [0, 2, 6]


def test_the_oldest_record_goes_first_whatever_its_lane_has_waited_for() -> None:
    drive = _Drive()
    drive.offer(b"hot", b"a", b"hot", b"b", b"hot", b"c")
    taken = []
    while (job := drive.take(1)) is not None:
        taken.append(job.items[0].index)
        drive.end(job, 1)
    assert taken == [0, 1, 2, 3, 4, 5], "a key with many records does not fall behind, and does not push ahead"


def test_records_without_a_key_spread_freely() -> None:
    drive = _Drive()
    drive.offer(*[None] * 5)
    jobs = [drive.take(1) for _ in range(5)]
    assert [job.items[0].index for job in jobs if job is not None] == [0, 1, 2, 3, 4]


def test_an_empty_key_is_a_key() -> None:
    drive = _Drive()
    drive.offer(b"", b"")
    assert drive.take(1) is not None
    assert drive.take(1) is None


def test_all_waiting_records_of_a_key_may_go_into_one_job() -> None:
    drive = _Drive()
    drive.offer(b"a", b"b", b"a", b"a", b"b")
    job = drive.take(4)
    assert job is not None
    assert [item.index for item in job.items] == [0, 1, 2, 3]
    assert drive.take(4) is None, "the rest of b waits for its own"
    drive.end(job, 4)
    job = drive.take(4)
    assert job is not None
    assert [item.index for item in job.items] == [4]


def test_a_lane_that_is_to_be_alone_is_called_alone() -> None:
    drive = _Drive()
    drive.offer(b"a", b"b", b"a", b"c")
    job = drive.take(10)
    assert job is not None
    for lane in drive.end(job, 0):
        lane.alone = True
        drive.lanes.wake(lane)
    drive.offer(b"d", b"e")
    jobs = []
    while (job := drive.take(10)) is not None:
        jobs.append([item.index for item in job.items])
        for lane in job.lanes:
            assert len(job.lanes) == 1 or not lane.alone
    assert jobs == [[0, 2], [1], [3], [4, 5]]
    job = drive.jobs[0]
    drive.offer(b"a", b"f")
    drive.end(job, 2)
    job = drive.take(10)
    assert job is not None
    assert [item.record.key for item in job.items] == [b"a", b"f"], "once it has succeeded it is one of many again"

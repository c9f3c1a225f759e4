"""What lease stores of scope `host` promise beyond one process: one winner each, nothing torn by kill -9, and room for many."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path

from streamkit.errors import FencedError
from streamkit.model import Lease
from streamkit.plugin import Grant, LeaseStore
from tests.conformance.first_sqlite import FIRST_LAYOUT, FIRST_WRITE
from tests.conformance.stores import after, opened, partition
from tests.conformance.takers import Report, Won, open_and_take, renew_together, take_together

ROOT = Path(__file__).parents[2]


def together(work: Callable[..., None], where: Path, workers: int, rounds: int) -> list[Won]:
    """What each of several processes won."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(workers)
    results: Queue[Report] = spawn.Queue()
    processes = [spawn.Process(target=work, args=(where, f"w{n}", start, results, rounds)) for n in range(workers)]
    for process in processes:
        process.start()
    reports = [results.get(timeout=90) for _ in processes]
    for process in processes:
        process.join(60)
        process.close()
    results.close()
    results.join_thread()
    assert [report for report in reports if isinstance(report, str)] == []
    return [report for report in reports if not isinstance(report, str)]


def create(where: Path, names: Sequence[str]) -> None:
    async def run() -> None:
        async with opened("sqlite", where) as store:
            assert isinstance(store, LeaseStore)
            await store.create([Lease(partition(name)) for name in names])

    asyncio.run(run())


def leases(where: Path) -> Sequence[Lease]:
    async def run() -> Sequence[Lease]:
        async with opened("sqlite", where) as store:
            assert isinstance(store, LeaseStore)
            return await store.leases()

    return asyncio.run(run())


def test_of_several_processes_that_take_at_once_exactly_one_wins_each_lease(tmp_path: Path) -> None:
    names = [f"{n:02}" for n in range(30)]
    create(tmp_path, names)
    rounds = 12
    reports = together(take_together, tmp_path, 3, rounds)
    for number in range(rounds):
        won = sorted(lease for report in reports for lease in report[number])
        assert won == [(name, number + 1) for name in names], "each lease once, and each epoch once"
    assert any(report[number] for report in reports[1:] for number in range(rounds)), "one process alone is no race"
    assert {lease.epoch for lease in leases(tmp_path)} == {rounds}


def test_processes_that_meet_a_file_of_the_first_version_at_once_all_complete_it(tmp_path: Path) -> None:
    rounds = 15
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        with closing(sqlite3.connect(folder / "checkpoints.db", isolation_level=None)) as connection:
            for statement in FIRST_LAYOUT:
                connection.execute(statement)
            connection.execute(FIRST_WRITE, ("memory", "g", "orders", "0", 5, "before", None))
    reports = together(open_and_take, tmp_path, 3, rounds)
    for number in range(rounds):
        assert [lease for report in reports for lease in report[number]] == [("0", 6)]


def test_ten_processes_renew_a_hundred_leases_each_and_nobody_finds_the_file_locked(tmp_path: Path) -> None:
    create(tmp_path, [f"w{worker}-{n:03}" for worker in range(10) for n in range(100)])
    reports = together(renew_together, tmp_path, 10, 4)
    assert sorted(len(report[0]) for report in reports) == [100] * 10


def test_an_owner_killed_at_a_random_moment_leaves_whole_transactions_and_a_grant_that_is_refused(tmp_path: Path) -> None:
    create(tmp_path, [str(n) for n in range(8)])
    chance = random.Random(4)
    acknowledged = -1
    for life in range(6):
        owner = [sys.executable, "-m", "tests.conformance.takers", str(tmp_path)]
        with subprocess.Popen(owner, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "took\n"
            lines = [process.stdout.readline() for _ in range(chance.randrange(40))]
            process.kill()
            lines += process.stdout.readlines()
        acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith("\n"))])
        found = leases(tmp_path)
        assert {(lease.owner, lease.epoch) for lease in found} == {(f"owner {2 * life}", 2 * life + 1)}
        assert len({lease.version for lease in found}) == 1, "renewals and saves of many are one step"
        (position,) = {lease.checkpoint and lease.checkpoint.at.position for lease in found}
        saved = -1 if position is None or position.sequence is None else position.sequence
        assert saved in (acknowledged, acknowledged + 1), "written, or written but not yet acknowledged"
        acknowledged = saved
        asyncio.run(take_over(tmp_path, found))


async def take_over(where: Path, found: Sequence[Lease]) -> None:
    """Another owner takes what it finds, and whatever the dead one would still send is refused."""
    async with opened("sqlite", where) as store:
        assert isinstance(store, LeaseStore)
        claims = await store.take(found, "heir")
        assert not [claim for claim in claims if isinstance(claim, Exception)]
        dead = [(lease.partition, Grant(lease.epoch)) for lease in found]
        late = [(after(10**9, one), grant) for one, grant in dead]
        answers = [*await store.save(late), *await store.renew(dead), *await store.release(dead)]
        assert all(isinstance(answer, FencedError) for answer in answers)
        assert len(answers) == 3 * len(found)

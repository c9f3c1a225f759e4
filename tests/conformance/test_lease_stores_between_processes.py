"""What SQLite files promise to several processes beyond the rules: an old file is completed once, and there is room for many."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path

from streamkit.model import Lease
from streamkit.plugin import LeaseStore
from tests.conformance.first_sqlite import FIRST_LAYOUT, FIRST_WRITE
from tests.conformance.stores import opened, partition
from tests.conformance.takers import Report, Won, open_and_take, renew_together


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

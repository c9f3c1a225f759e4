"""What workers in processes of their own do to leases. Spawned, so it can be imported without side effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from streamkit.model import Lease
from streamkit.plugin import Claim, LeaseStore
from tests.conformance.stores import opened

__all__ = ["Report", "Won", "open_and_take", "renew_together"]

Won = list[list[tuple[str, int]]]
"""For each round the leases that were won, with their epochs."""
Report = Won | str
"""What was won, or what went wrong."""


def open_and_take(where: Path, worker: str, start: Barrier, results: Queue[Report], rounds: int) -> None:
    """Opens a file, which may be an old one, at the same moment as the others, and takes what is there."""
    _report(start, results, lambda: _open_and_take(where, worker, start, rounds))


async def _open_and_take(where: Path, worker: str, start: Barrier, rounds: int) -> Won:
    won = []
    for number in range(rounds):
        start.wait(60)
        async with opened("sqlite", where / str(number), worker=worker) as store:
            assert isinstance(store, LeaseStore)
            leases = await store.leases()
            start.wait(60)
            won.append(await _take(store, leases, worker))
    return won


def renew_together(where: Path, worker: str, start: Barrier, results: Queue[Report], rounds: int) -> None:
    """Takes the leases that are named after it, then renews them and lists everybody's as fast as it can."""
    _report(start, results, lambda: _renew_together(where, worker, start, rounds))


async def _renew_together(where: Path, worker: str, start: Barrier, rounds: int) -> Won:
    async with opened("sqlite", where, worker=worker) as store:
        assert isinstance(store, LeaseStore)
        mine = [lease for lease in await store.leases() if lease.partition.id.startswith(f"{worker}-")]
        start.wait(60)
        claims = [claim for claim in await store.take(mine, worker) if isinstance(claim, Claim)]
        held = [(lease.partition, claim.grant) for lease, claim in zip(mine, claims, strict=True)]
        for number in range(rounds):
            assert list(await store.renew(held)) == [grant for _, grant in held]
            versions: dict[str, set[int]] = {}
            for lease in await store.leases():
                versions.setdefault(lease.partition.id.partition("-")[0], set()).add(lease.version)
            assert all(len(seen) == 1 for seen in versions.values()), f"a listing of several moments: {versions}"
            assert versions[worker] == {number + 2}
        return [[(lease.partition.id, lease.epoch) for lease in await store.leases() if lease.owner == worker]]


async def _take(store: LeaseStore, leases: list[Lease], worker: str) -> list[tuple[str, int]]:
    answers = await store.take(leases, worker)
    return [(lease.partition.id, a.epoch) for lease, a in zip(leases, answers, strict=True) if isinstance(a, Claim)]


def _report(start: Barrier, results: Queue[Report], work: Callable[[], Awaitable[Won]]) -> None:
    async def run() -> Won:
        return await work()

    try:
        results.put(asyncio.run(run()))
    except BaseException as error:
        start.abort()  # or the others wait for nothing
        results.put(repr(error))

"""What one of several processes does in a race for a partition. Spawned, so it can be imported without side effects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from streamkit.errors import CheckpointError
from tests.conformance.stores import after, opened, partition

__all__ = ["Result", "open_at_once", "race"]

Result = tuple[int, bool, int]


def race(kind: str, where: Path, worker: str, start: Barrier, results: Queue[Result | str], rounds: int) -> None:
    """Puts (epoch, whether its save was granted, how many of its further steps were granted), or what went wrong."""
    try:
        results.put(asyncio.run(_race(kind, where, worker, start, rounds)))
    except Exception as error:
        start.abort()  # or the others wait for nothing
        results.put(repr(error))


async def _race(kind: str, where: Path, worker: str, start: Barrier, rounds: int) -> Result:
    start.wait(20)
    async with opened(kind, where, worker=worker) as store:
        claim = await store.claim(partition(), worker, 0)
        start.wait(20)
        (answer,) = await store.save([(after(0), claim.grant)])
        start.wait(20)
        steps = 0
        for _ in range(rounds):
            again = await store.claim(partition(), worker, 0)
            assert again.checkpoint is not None
            assert again.checkpoint.at.position is not None
            (step,) = await store.save([(after((again.checkpoint.at.position.sequence or 0) + 1), again.grant)])
            assert step == again.grant or isinstance(step, CheckpointError)
            steps += step == again.grant
        return claim.epoch, answer == claim.grant, steps


def open_at_once(kind: str, wheres: Sequence[Path], start: Barrier, results: Queue[str]) -> None:
    """Opens a store that nobody has made yet, in each of the folders, at the same moment as the others; puts what went wrong."""
    try:
        for where in wheres:
            asyncio.run(_open(kind, where, start))
        results.put("")
    except Exception as error:
        start.abort()
        results.put(repr(error))


async def _open(kind: str, where: Path, start: Barrier) -> None:
    start.wait(20)
    async with opened(kind, where):
        pass

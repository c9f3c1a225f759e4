"""What one of several processes does that open a store together. Spawned, so it can be imported without side effects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from tests.conformance.stores import Kind, opened

__all__ = ["open_at_once"]


def open_at_once(kind: Kind, wheres: Sequence[Path], start: Barrier, results: Queue[str]) -> None:
    """Opens a store that nobody has made yet, in each of the folders, at the same moment as the others; puts what went wrong."""
    try:
        for where in wheres:
            asyncio.run(_open(kind, where, start))
        results.put("")
    except Exception as error:
        start.abort()
        results.put(repr(error))


async def _open(kind: Kind, where: Path, start: Barrier) -> None:
    start.wait(20)
    async with opened(kind, where):
        pass

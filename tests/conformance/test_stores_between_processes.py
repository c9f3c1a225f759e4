"""What files promise to several processes beyond the rules: they are made once, and survive kill -9 after every line."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from streamkit.builtin.file import store as file
from streamkit.plugin import Grant
from tests.conformance.racer import open_at_once
from tests.conformance.stores import Kind, after, opened, partition

KINDS = ["file", "sqlite"]


def stored(kind: Kind, where: Path) -> int:
    async def read() -> int:
        async with opened(kind, where) as store:
            (checkpoint,) = await store.list()
            assert checkpoint.at.position is not None
            assert checkpoint.at.position.sequence is not None
            return checkpoint.at.position.sequence

    return asyncio.run(read())


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_start_together_all_open_a_store_that_nobody_has_made_yet(kind: Kind, tmp_path: Path) -> None:
    folders = [tmp_path / str(n) for n in range(60)]
    for folder in folders:
        folder.mkdir()
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(4)
    results: Queue[str] = spawn.Queue()
    workers = [spawn.Process(target=open_at_once, args=(kind, folders, start, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    problems = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        worker.close()
    results.close()
    results.join_thread()
    assert problems == [""] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("operation", ["claim", "save"])
def test_a_file_survives_kill_9_after_every_line_of_the_store(operation: str, tmp_path: Path) -> None:
    async def prepare() -> None:
        async with opened("file", tmp_path) as store:
            grant = (await store.claim(partition(), "w", 0)).grant
            await store.save([(after(1, metadata="x" * 4096), grant)])

    async def act() -> None:
        async with opened("file", tmp_path) as store:
            if operation == "claim":
                await store.claim(partition(), "w", 0)
            else:
                await store.save([(after(2), store_grant)])

    asyncio.run(prepare())
    store_grant = Grant(1)
    deaths = 0
    while died_at_line(deaths, act):
        deaths += 1
        assert stored("file", tmp_path) in (1, 2)
    assert deaths > 20
    assert stored("file", tmp_path) == (1 if operation == "claim" else 2)
    assert list(tmp_path.rglob("*.tmp")) == [], "what a crash left behind is cleaned at the next start"


def died_at_line(number: int, act: Callable[[], Any]) -> bool:
    """Run `act` in a child that kills itself before its line `number` of the store; False if it ended before."""
    child = os.fork()
    if child == 0:
        lines = iter(range(number, -1, -1))

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if frame.f_code.co_filename != file.__file__:
                return None
            if event == "line" and next(lines, 0) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            asyncio.run(act())
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)

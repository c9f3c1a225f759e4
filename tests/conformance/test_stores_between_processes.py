"""What the stores of scope `host` and `cluster` promise beyond one process: fencing between processes, and surviving kill -9."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from streamkit.builtin.file import store as file
from streamkit.plugin import Grant
from tests.conformance.racer import Result, open_at_once, race
from tests.conformance.stores import DYNAMODB, after, opened, partition, where_it_is

KINDS = ["file", "sqlite"]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return where_it_is(request)


def stored(kind: str, where: Path) -> int:
    async def read() -> int:
        async with opened(kind, where) as store:
            (checkpoint,) = await store.list()
            assert checkpoint.at.position is not None
            assert checkpoint.at.position.sequence is not None
            return checkpoint.at.position.sequence

    return asyncio.run(read())


@pytest.mark.parametrize("kind", [*KINDS, DYNAMODB], indirect=True)
def test_of_several_processes_that_claim_at_once_exactly_one_can_save(kind: str, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    results: Queue[Result | str] = spawn.Queue()
    workers = [spawn.Process(target=race, args=(kind, tmp_path, f"w{n}", start, results, 30)) for n in range(3)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        worker.close()
    results.close()
    results.join_thread()
    outcomes = [answer for answer in answers if not isinstance(answer, str)]
    assert len(outcomes) == 3, answers
    assert sorted(epoch for epoch, _, _ in outcomes) == [1, 2, 3], "no two have the same epoch"
    assert [epoch for epoch, granted, _ in outcomes if granted] == [3], "the last claim alone counts"
    assert stored(kind, tmp_path) == sum(steps for _, _, steps in outcomes), "each granted step is in, and no step twice"


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_workers_that_start_together_all_open_a_store_that_nobody_has_made_yet(kind: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_what_was_acknowledged_survives_kill_9_at_a_random_moment(kind: str, tmp_path: Path) -> None:
    chance = random.Random(20)
    acknowledged = -1
    for _ in range(6):
        saver = [sys.executable, "-m", "tests.conformance.saver", kind, str(tmp_path)]
        with subprocess.Popen(saver, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            assert first == acknowledged + 1 or first == acknowledged + 2, "it goes on where the last one was killed"
            lines = [process.stdout.readline() for _ in range(chance.randrange(60))]
            process.kill()
            lines += process.stdout.readlines()
        acknowledged = max([first, *(int(line) for line in lines if line.endswith("\n"))])
        assert stored(kind, tmp_path) in (acknowledged, acknowledged + 1), "written, or written but not yet acknowledged"


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

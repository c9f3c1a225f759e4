"""Promise 7, and 1: a record that fails for good costs no other one anything, and nothing is passed without a trace."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamkit.errors import BrokerUnavailableError, DeadLetterError, RetriesExhaustedError
from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject
from streamkit.processing import Context, processor, record_processor
from tests.promise.targets import text, values
from tests.promise.world import Journal, MemoryWorld

TEN = [str(n) for n in range(10)]
LETTERS = {"on_failure": "dead_letter", "dead_letter": "memory:dlq"}


def poisoned(journal: Journal, *poison: str, reject: bool = False) -> object:
    """Fails at these, wherever they are."""

    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        if text(record) in poison:
            journal.note("tried", text(record))
            if reject:
                return Reject("no")
            raise ValueError("poison")
        journal.note("done", record.partition.id, text(record))
        return None

    return handle


def letters(world: MemoryWorld) -> list[str]:
    return [(record.value or b"").decode() for record in world.log.topic("dlq").log("0").read(0, 1000, 1 << 20)]


@pytest.fixture(params=["threads", "virtual"])
def memory(request: pytest.FixtureRequest) -> Iterator[MemoryWorld]:
    made = MemoryWorld(request.param)
    yield made
    made.close()


def test_dead_letter_writes_the_record_and_goes_on(memory: MemoryWorld) -> None:
    memory.create(2)
    memory.log.create("dlq", 1)
    memory.write(TEN)
    member = memory.start(poisoned(memory.journal, "4", "7"), retry_attempts=3, **LETTERS)
    memory.until(lambda: str(memory.saved()) == "after 9")
    assert values(memory.journal) == [n for n in TEN if n not in "47"]
    assert letters(memory) == ["4", "7"]
    assert memory.journal.of("put aside") == [("put aside", "0", 4, "dead_letter"), ("put aside", "0", 7, "dead_letter")]
    assert len(memory.journal.of("tried", "4")) == 3
    member.stop()
    assert member.supervisor.exit_code == 0


def test_skip_tells_of_each_record(memory: MemoryWorld) -> None:
    memory.create(1)
    memory.write(TEN)
    memory.start(poisoned(memory.journal, "4"), retry_attempts=3, on_failure="skip")
    memory.until(lambda: str(memory.saved()) == "after 9")
    assert memory.journal.of("put aside") == [("put aside", "0", 4, "skip")]
    assert values(memory.journal) == [n for n in TEN if n != "4"]


@pytest.mark.parametrize("policy", ["dead_letter", "skip"])
def test_a_rejected_record_is_put_aside_without_another_attempt(virtual: MemoryWorld, policy: str) -> None:
    virtual.create(1)
    virtual.log.create("dlq", 1)
    virtual.write(TEN)
    virtual.start(poisoned(virtual.journal, "4", reject=True), **(LETTERS | {"on_failure": policy}))
    virtual.until(lambda: str(virtual.saved()) == "after 9")
    assert len(virtual.journal.of("tried")) == 1
    assert len(virtual.journal.of("put aside")) == 1


def test_a_dead_letter_that_cannot_be_written_loses_nothing(virtual: MemoryWorld) -> None:
    virtual.create(2)
    virtual.log.create("dlq", 1)
    virtual.write(TEN)
    virtual.write(TEN, "1")
    virtual.log.faults.fail("send", BrokerUnavailableError("away"), times=2)
    member = virtual.start(poisoned(virtual.journal, "4"), retry_attempts=1, max_batch=1, **LETTERS)
    virtual.until(lambda: virtual.journal.has("halted"))
    assert isinstance(virtual.journal.of("halted")[0][2], DeadLetterError)
    virtual.pass_time(10)
    assert "after 3" in (str(virtual.saved("0")), str(virtual.saved("1")))
    assert not virtual.journal.has("put aside")
    virtual.until(lambda: str(virtual.saved("0")) == str(virtual.saved("1")) == "after 9", seconds=200)
    assert sorted(letters(virtual)) == ["4", "4"]
    assert member.states == {"0": "caught up", "1": "caught up"}


@pytest.mark.parametrize("policy", ["dead_letter", "skip"])
def test_a_bad_deploy_does_not_drain_the_stream(virtual: MemoryWorld, policy: str) -> None:
    virtual.create(1)
    virtual.log.create("dlq", 1)
    virtual.write([str(n) for n in range(1000)])
    member = virtual.start(
        poisoned(virtual.journal, *map(str, range(1000))),
        retry_attempts=1,
        dead_letter_max_consecutive=7,
        **(LETTERS | {"on_failure": policy}),
    )
    virtual.until(lambda: virtual.journal.has("halted"))
    error = virtual.journal.of("halted")[0][2]
    assert isinstance(error, RetriesExhaustedError)
    assert "STREAMKIT_DEAD_LETTER_MAX_CONSECUTIVE=7" in str(error)
    assert len(virtual.journal.of("put aside")) == 7
    member.stop()
    assert str(virtual.saved()) == "after 6"
    assert member.supervisor.exit_code == 1


def test_bisect_loses_one_record_of_a_batch(virtual: MemoryWorld) -> None:
    calls: list[int] = []

    @processor
    def handle(batch: Batch, context: Context) -> None:
        calls.append(len(batch))
        if b"613" in batch.values():
            raise ValueError("one of them")
        for value in batch.values():
            virtual.journal.note("done", "0", (value or b"").decode())

    virtual.create(1)
    virtual.write([str(n) for n in range(1000)])
    virtual.start(handle, bisect=True, on_failure="skip", retry_attempts=2, retry_backoff="0s")
    virtual.until(lambda: str(virtual.saved()) == "after 999")
    assert values(virtual.journal) == [str(n) for n in range(1000) if n != 613]
    assert virtual.journal.of("put aside") == [("put aside", "0", 613, "skip")]
    assert len(calls) < 40


def test_a_slow_async_attempt_is_cut_and_the_others_go_on(virtual: MemoryWorld) -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if text(record) == "4":
            await asyncio.sleep(10_000)
        virtual.journal.note("done", record.partition.id, text(record))

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(handle, process_timeout="2s", retry_attempts=2, on_failure="skip")
    virtual.until(lambda: str(virtual.saved()) == "after 9")
    assert isinstance(virtual.journal.of("failed")[0][3], TimeoutError)
    assert values(virtual.journal) == [n for n in TEN if n != "4"]


EXITING = """\
import sys
from streamkit import App, Processor, record_processor, run
from streamkit.builtin.memory import MemoryLog
from streamkit.errors import ConfigurationError

log = MemoryLog.named()
log.create("orders")
log.append("orders", b"x")

@record_processor
def leaves(record, context):
    sys.exit(0)

class Refuses(Processor):
    def initialize(self, context):
        raise ConfigurationError("DATABASE_URL is not set", fix="set it")

run(App({"leaves": leaves, "refuses": Refuses}[sys.argv[1]], stream="orders", group="g"))
"""


@pytest.mark.parametrize(("code", "exit_code", "said"), [("leaves", 1, "raised SystemExit"), ("refuses", 2, "DATABASE_URL is not set")])
def test_code_may_end_its_process(tmp_path: Path, code: str, exit_code: int, said: str) -> None:
    """In order: by sys.exit() with the record not done, or because its set-up is wrong, at once and without retries."""
    (tmp_path / "exiting.py").write_text(EXITING)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    command = [sys.executable, "exiting.py", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=kept | {"STREAMKIT_BROKER": "memory"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit_code, done.stderr
    assert said in done.stderr


KILLER = """\
import os, signal, sys
from streamkit import App, record_processor, run
from streamkit.builtin.memory import MemoryLog

log = MemoryLog.named()
log.create("orders")
for number in range(20):
    log.append("orders", b"%d" % number)

@record_processor
def handle(record, context):
    if record.value == b"13":
        os.kill(os.getpid(), signal.SIGKILL)
    os.write(1, record.value + b" ")

run(App(handle, stream="orders", group="g", store="sqlite", stop="at_end", on_failure="dead_letter",
        dead_letter="file:dlq.jsonl", ownership="static"))
"""


def test_a_record_that_kills_its_process_is_found_and_put_aside(tmp_path: Path) -> None:
    """Real processes that die by SIGKILL in the handler, and a supervisor of processes that starts them again."""
    (tmp_path / "killer.py").write_text(KILLER)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMKIT_")}
    settings = {"STREAMKIT_BROKER": "memory", "STREAMKIT_SQLITE__PATH": str(tmp_path / "checkpoints.db"), "STREAMKIT_WORKER": "one"}
    outputs = []
    for _ in range(8):
        done = subprocess.run(
            [sys.executable, "killer.py"], cwd=tmp_path, env=kept | settings, capture_output=True, text=True, timeout=60, check=False
        )
        outputs.append(done.stdout.split())
        if done.returncode != -signal.SIGKILL:
            break
    assert done.returncode == 0, done.stderr
    assert len(outputs) == 3 + 2 + 1, "three to be careful, two alone, and one that does not call it"
    assert outputs[-1] == [str(n) for n in range(14, 20)]
    assert "killed its process 2 times" in (tmp_path / "dlq.jsonl").read_text()
    with closing(sqlite3.connect(tmp_path / "checkpoints.db")) as database:
        assert database.execute("SELECT count(*) FROM checkpoints").fetchone() == (1,)

"""Promise 5 while the store is down: nothing is lost, nothing goes back, it is told once, and reading stops before memory does."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.errors import DrainTimeoutError, StoreUnavailableError
from streamkit.model import Checkpoint, Position, Record, StartPosition
from streamkit.processing import CheckpointFuture, Context, record_processor
from tests.promise.targets import noting, text, values
from tests.promise.world import GROUP, STREAM, MemoryWorld

MINUTE = 60.0


def after(sequence: int) -> StartPosition:
    return StartPosition.after(Position(sequence))


def ups_and_downs(world: MemoryWorld) -> list[str]:
    return [str(note[0]) for note in world.journal.notes if note[0] in ("store down", "store up")]


def test_a_store_that_is_down_for_a_minute_loses_nothing_and_is_told_once(virtual: MemoryWorld) -> None:
    virtual.create(4)
    virtual.start(noting(virtual.journal))
    virtual.until(lambda: virtual.journal.has("assigned", times=4))
    virtual.log.faults.fail("save", StoreUnavailableError("gone"), times=10_000)
    for _ in range(60):
        for partition in "0123":
            virtual.write(["x"] * 3, partition)
        virtual.pass_time(1.0)
    assert all(virtual.saved(partition) == StartPosition.EARLIEST for partition in "0123")
    virtual.log.faults.clear()
    virtual.until(lambda: all(virtual.saved(partition) == after(179) for partition in "0123"))
    assert ups_and_downs(virtual) == ["store down", "store up"]
    assert len(virtual.journal.of("not checkpointed")) == 4, "each partition once"
    seconds, partitions = virtual.journal.of("store up")[0][1:]
    assert isinstance(seconds, float)
    assert MINUTE - 1 <= seconds <= MINUTE + 6
    assert partitions == 4
    assert [len(values(virtual.journal, partition=partition)) for partition in "0123"] == [180] * 4, "and nothing twice"


def test_reading_stops_before_memory_does(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.start(noting(virtual.journal), max_in_flight=50, max_batch=10)
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail("save", StoreUnavailableError("gone"), times=10_000)
    virtual.write(["x"] * 1000)
    virtual.pass_time(MINUTE)
    assert 40 <= len(values(virtual.journal)) <= 60
    virtual.log.faults.clear()
    virtual.until(lambda: virtual.saved() == after(999), seconds=120)
    assert len(values(virtual.journal)) == 1000


def test_a_crash_during_the_outage_begins_again_at_the_last_checkpoint(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(["a", "b"])
    member = virtual.start(noting(virtual.journal))
    virtual.until(lambda: virtual.saved() == after(1))
    virtual.log.faults.fail("save", StoreUnavailableError("gone"), times=10_000)
    virtual.write(["c", "d"])
    virtual.until(lambda: len(values(virtual.journal)) == 4)
    virtual.pass_time(MINUTE)
    member.kill()
    virtual.log.faults.clear()
    virtual.start(noting(virtual.journal), "w2")
    virtual.until(lambda: virtual.saved() == after(3))
    assert values(virtual.journal) == ["a", "b", "c", "d", "c", "d"]


def test_what_was_written_without_an_answer_is_not_written_backwards(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.start(noting(virtual.journal))
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail("save_after_write", StoreUnavailableError("the answer was lost"), times=20)
    seen = []
    for n in range(100):
        virtual.write([str(n)])
        virtual.pass_time(0.3)
        seen.append(virtual.saved())
    virtual.until(lambda: virtual.journal.has("store up"), seconds=120)
    assert virtual.saved() == after(99)
    positions = [at.position for at in seen if at is not None and at.position is not None]
    assert positions == sorted(positions)
    assert ups_and_downs(virtual) == ["store down", "store up"]


def test_a_drain_during_the_outage_ends_at_its_deadline_with_a_name_for_it(virtual: MemoryWorld) -> None:
    virtual.create(2)
    member = virtual.start(noting(virtual.journal), drain_timeout=timedelta(seconds=7), checkpoint_interval=timedelta(hours=1))
    virtual.until(lambda: virtual.journal.has("assigned", times=2))
    virtual.write(["a"])
    virtual.until(lambda: len(values(virtual.journal)) == 1)
    virtual.log.faults.fail("save", StoreUnavailableError("gone for lunch"), times=10_000)
    before = virtual.runtime.monotonic()
    with pytest.raises(DrainTimeoutError, match=r"after 7s the store had still not taken the checkpoints of orders/0: gone for lunch"):
        member.stop()
    assert virtual.runtime.monotonic() - before < 9
    assert virtual.journal.has("lost", "w1", "0")
    assert virtual.journal.has("revoked", "w1", "1")


def test_futures_wait_for_the_store(virtual: MemoryWorld) -> None:
    futures: list[CheckpointFuture] = []

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        futures.append(context.checkpoint())
        await futures[-1]
        virtual.journal.note("done", "0", text(record))

    virtual.create(1)
    virtual.start(handle)
    virtual.until(lambda: virtual.journal.has("assigned"))
    virtual.log.faults.fail("save", StoreUnavailableError("gone"), times=10_000)
    virtual.write(["a"])
    virtual.pass_time(MINUTE)
    assert [future.done() for future in futures] == [False]
    virtual.log.faults.clear()
    virtual.until(lambda: virtual.journal.has("done"))
    assert virtual.saved() == after(0)


# -- a real file that another process has locked -------------------------------------------------------------------------


@dataclass(eq=False)
class SqliteWorld(MemoryWorld):
    """The memory broker on threads, its checkpoints in a file."""

    path: Path = Path()

    def store_of(self, worker: str) -> SqliteStore:  # type: ignore[override]
        settings = SqliteSettings(path=self.path, busy_timeout=timedelta(milliseconds=50))
        return SqliteStore(settings, self.context(worker))

    def saved(self, partition: str = "0") -> StartPosition | None:
        """As another process reads it."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT checkpoint FROM checkpoints WHERE partition = ?", (partition,)).fetchone()
        return None if found is None or found[0] is None else Checkpoint.from_text(found[0]).at


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@contextmanager
def another_process_that_locks(path: Path) -> Iterator[None]:
    """Writing, and not done with it, until the block is left."""
    with subprocess.Popen([sys.executable, "-c", LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield
        other.stdin.close()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[SqliteWorld]:
    made = SqliteWorld("threads", own_store=True, path=tmp_path / "checkpoints.db")
    yield made
    made.close()


def test_a_sqlite_file_that_another_process_locks_for_a_while_loses_nothing(on_sqlite: SqliteWorld) -> None:
    world = on_sqlite
    world.create(1)
    world.write(["a", "b"])
    member = world.start(noting(world.journal))
    world.until(lambda: world.journal.has("checkpointed", "0", after(1)))
    with another_process_that_locks(world.path):
        world.write(["c", "d"])
        world.until(lambda: world.journal.has("store down"))
        assert len(values(world.journal)) == 4
        assert world.saved() == after(1)
    world.until(lambda: world.journal.has("checkpointed", "0", after(3)))
    assert world.saved() == after(3)
    world.until(lambda: world.journal.has("store up"))
    member.stop()
    assert values(world.journal) == ["a", "b", "c", "d"]
    assert ups_and_downs(world) == ["store down", "store up"]


# -- a store beside the group --------------------------------------------------------------------------------------------


def test_a_first_checkpoint_whose_answer_was_lost_is_copied_to_the_group_before_anything_is_read(beside: MemoryWorld) -> None:
    """«Absent here, committed there» hangs on the copy: without it a store that was lost would begin at the start again."""
    beside.create(1)
    beside.write(["a"])
    beside.log.faults.fail("save_after_write", StoreUnavailableError("the answer was lost"))
    copies = beside.log.rows("memory", GROUP)
    seen: list[object] = []

    @record_processor
    def handle(record: Record, context: Context) -> None:
        row = copies.get((STREAM, "0"))
        seen.append(row.checkpoint.at if row is not None and row.checkpoint is not None else None)

    beside.start(handle, start=StartPosition.at_time(datetime(2020, 1, 1, tzinfo=UTC)))
    beside.until(lambda: beside.saved() == after(0))
    assert seen == [StartPosition.at(Position(0))]

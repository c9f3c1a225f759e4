"""The rules of the simulation that planted bugs do not reach: each is broken here on purpose, from outside."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from streamkit import Batch, Context, Processor
from streamkit.app import code_of
from streamkit.builtin.memory import MemoryLog
from streamkit.model import Checkpoint, Partition, Position, StartPosition
from streamkit.plugin.fencing import Row
from streamkit.testing.simulation.ledger import Broken, Ledger, WatchedRows
from streamkit.testing.simulation.plan import Step
from streamkit.testing.simulation.trouble import Mishap, Trouble
from streamkit.testing.simulation.watched import Watched, mortal

PARTITION = Partition("s", "0")


@pytest.fixture
def ledger() -> Ledger:
    log = MemoryLog("rules")
    log.create("s", 1)
    for _ in range(5):
        log.append("s", b"x")
    return Ledger(log, "s", lambda: 1.0, 10)


def row(epoch: int = 1, sequence: int | None = None, owner: str = "w1") -> Row:
    at = StartPosition.EARLIEST if sequence is None else StartPosition.after(Position(sequence))
    return Row(epoch=epoch, owner=owner, checkpoint=Checkpoint(PARTITION, at), version=epoch)


def test_an_epoch_does_not_go_back(ledger: Ledger) -> None:
    rows = WatchedRows(ledger)
    rows["s", "0"] = row(epoch=2)
    with pytest.raises(Broken, match="checkpoint forward: 0: epoch 1 after 2"):
        rows["s", "0"] = row(epoch=1)


def test_a_checkpoint_does_not_vanish(ledger: Ledger) -> None:
    rows = WatchedRows(ledger)
    rows["s", "0"] = row()
    with pytest.raises(Broken, match="the checkpoint is gone"):
        rows["s", "0"] = replace(row(), checkpoint=None)


def test_a_checkpoint_does_not_go_back(ledger: Ledger) -> None:
    rows = WatchedRows(ledger)
    ledger._settle("0", range(5))
    rows["s", "0"] = row(sequence=3)
    with pytest.raises(Broken, match="went back from after 3 to after 1"):
        rows["s", "0"] = row(sequence=1)


def test_a_checkpoint_does_not_pass_what_nobody_has_done(ledger: Ledger) -> None:
    rows = WatchedRows(ledger)
    ledger._settle("0", (0, 2))
    rows["s", "0"] = row(sequence=0)
    with pytest.raises(Broken, match="no loss: 0: checkpoint after 2 passes record number 1"):
        rows["s", "0"] = row(sequence=2)


def test_an_owner_does_not_change_without_an_epoch(ledger: Ledger) -> None:
    rows = WatchedRows(ledger)
    rows["s", "0"] = row()
    with pytest.raises(Broken, match="one owner: 0: w1 has gone, w2 has come, with the same epoch"):
        rows["s", "0"] = row(owner="w2")


def test_an_assignment_begins_where_the_store_says(ledger: Ledger) -> None:
    WatchedRows(ledger)["s", "0"] = row()
    ledger.owned("w1", PARTITION, 1, StartPosition.EARLIEST)
    with pytest.raises(Broken, match="but earliest is stored"):
        ledger.owned("w2", PARTITION, 1, StartPosition.after(Position(1)))
    assert ledger.changes_of_owner == 1


class Hooked(Processor):
    def process(self, batch: Batch, context: Context) -> None:
        """Nothing."""

    async def flush(self, context: Context) -> None:
        await asyncio.sleep(1)


def watched(ledger: Ledger) -> Processor:
    code = Watched("w1", ledger, Trouble(lambda kind: None), lambda: 0.0, by_key=False).of(code_of(Hooked))
    assert code.factory is not None
    return code.factory()


def test_no_hook_is_called_after_close(ledger: Ledger) -> None:
    processor = watched(ledger)
    processor.close()
    with pytest.raises(Broken, match="hooks: w1: initialize of a partition was called beside or after close"):
        processor.initialize(None)  # type: ignore[arg-type]


def test_no_hook_is_called_beside_another(ledger: Ledger) -> None:
    processor = watched(ledger)
    flushing = processor.flush(None)  # type: ignore[arg-type]
    assert flushing is not None
    flushing.send(None)  # type: ignore[attr-defined]  # as far as its first wait
    with pytest.raises(Broken, match="hooks: w1: partition_revoked"):
        processor.partition_revoked(None)  # type: ignore[arg-type]
    flushing.close()  # type: ignore[attr-defined]


def test_an_ordered_failure_is_met_as_often_as_it_says_by_whom_it_says() -> None:
    met: list[str] = []
    trouble = Trouble(met.append)
    trouble.order(Step(0, ("hook", "flush", "0", "2", "w1")))
    assert [trouble.hook_fails("flush", worker) for worker in ("w2", "w1", "w1", "w1")] == [False, True, True, False]
    assert met == ["handler fails", "handler fails"]


def test_an_order_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="sulking is none of unavailable, throttled, not-ready"):
        Trouble(print).order(Step(0, ("fail", "save", "sulking", "1", "*")))


def test_code_of_a_dead_worker_stays_where_it_is() -> None:
    reached: list[str] = []
    dead = False

    async def work() -> None:
        reached.append("before")
        await asyncio.sleep(0)
        reached.append("after")

    async def body() -> None:
        nonlocal dead
        task = asyncio.ensure_future(mortal(work(), lambda: dead))
        await asyncio.sleep(0)
        dead = True
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()

    asyncio.run(body())
    assert reached == ["before"]


def test_a_mishap_is_no_error_of_ours() -> None:
    assert not isinstance(Mishap("x"), Broken)

"""docs/concepts/hooks.md, cell by cell: `test_<hook>__<column>` proves what the cell says. A cell without a test fails here."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

import pytest

from streamkit.errors import CheckpointPositionError, DrainTimeoutError, StoreUnavailableError
from streamkit.model import Batch, Position
from streamkit.processing import Context, LostContext, Processor, record_processor
from streamkit.testing import Harness
from streamkit.testing.recording import HOOKS
from tests.unit.engine.hooks_rig import Scripted, all_hooks_on, checkpointing, raising, slow_in
from tests.unit.engine.rig import P0

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "hooks.md"
COLUMNS = {
    "When": "when",
    "Thread": "thread",
    "Deadline": "deadline",
    "May checkpoint": "checkpoint",
    "If it raises": "raises",
}


# -- the table itself ----------------------------------------------------------------------------------------------------


def cells() -> dict[tuple[str, str], str]:
    """(hook, column) -> text, from the page."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    header = next(row for row in rows if row[0] == "Hook")
    assert header[1:] == list(COLUMNS), "a column has no tests: add it to COLUMNS and write them"
    table = [row for row in rows if row[0].strip("`") in HOOKS]
    return {(row[0].strip("`"), COLUMNS[name]): cell for row in table for name, cell in zip(header[1:], row[1:], strict=True)}


def test_every_hook_has_a_row_and_no_cell_is_empty() -> None:
    found = cells()
    assert sorted({hook for hook, _ in found}) == sorted(HOOKS)
    assert [key for key, text in found.items() if not text] == []


def test_every_hook_of_a_processor_is_in_the_table() -> None:
    methods = {name for name, value in vars(Processor).items() if callable(value) and not name.startswith("_")}
    assert methods == set(HOOKS)


@pytest.mark.parametrize(("hook", "column"), sorted((hook, column) for hook in HOOKS for column in COLUMNS.values()))
def test_every_cell_has_a_test(hook: str, column: str) -> None:
    assert (hook, column) in cells()
    assert callable(globals().get(f"test_{hook}__{column}"))


# -- initialize ----------------------------------------------------------------------------------------------------------


def test_initialize__when() -> None:
    with Harness(Scripted, assigned=False) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=1)
        h.write(b"a")
        h._hold({P0})
        h.advance(0.05)
        assert h.hooks == []  # not before it is claimed
        h.settle()
        operations = [operation for operation, _ in h.script.journal]
        assert operations.index("saved") < operations.index("add")
        h.deliver(b"b")
        assert h.hooks == ["initialize", "process", "process"]


def test_initialize__thread() -> None:
    all_hooks_on("initialize")


def test_initialize__deadline() -> None:
    remaining, code = slow_in("initialize", 20)
    with Harness(code, assigned=False, drain_timeout="8s") as h:
        h._hold({P0})
        h.advance(15)
        h.revoke(deadline=8)  # ends in time
        assert h.hooks == ["initialize", "partition_revoked", "close"]
        assert remaining[0] is None
        assert remaining[-1] is not None
        h._hold({P0})
        h.advance(1)
        with pytest.raises(DrainTimeoutError):
            h.stop()


def test_initialize__checkpoint() -> None:
    tried: list[object] = []

    def act(context: Context) -> None:
        context.checkpoint().result()
        with pytest.raises(CheckpointPositionError) as caught:
            context.checkpoint(Position(5))
        tried.append(caught.value)

    with Harness(checkpointing("initialize", act)) as h:
        h.settle()
        assert len(tried) == 1
        assert h.checkpoint is None


def test_initialize__raises() -> None:
    with Harness(raising("initialize", times=2), retry_attempts=3, assigned=False) as h:
        h.deliver(b"a")
        assert h.hooks == ["initialize", "initialize", "initialize", "process"]
        assert [call.attempt for call in h.calls[:3]] == [1, 2, 3]
        assert [operation for operation, _ in h.script.journal].count("add") == 1
        assert len(h.errors) == 2
    with Harness(raising("initialize", times=9), retry_attempts=3) as h:
        assert h.halted is not None
        assert h.hooks == ["initialize"] * 3
    assert h.hooks[-1] == "close"


# -- process -------------------------------------------------------------------------------------------------------------


def test_process__when() -> None:
    remaining, code = slow_in("process", 2)
    with Harness(code, max_batch=1) as h:
        h.write(b"a", b"b", b"c")
        h.advance(3)
        assert [record.value for record in h.seen] == [b"a", b"b"]
        h.revoke()
        assert [record.value for record in h.seen] == [b"a", b"b"]
        assert h.checkpoint == 1
        assert remaining[0] is None


def test_process__thread() -> None:
    all_hooks_on("process")


def test_process__deadline() -> None:
    remaining, code = slow_in("process", 20)
    with Harness(code) as h:
        h.write(b"a")
        h.advance(1)
        h.revoke(deadline=5)
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]
        assert h.checkpoint is None
        assert remaining[0] is None
        assert any(left is not None and 0 < left <= 5 for left in remaining)


def test_process__checkpoint() -> None:
    seen: list[object] = []

    def act(context: Context) -> None:
        context.checkpoint().result()
        seen.append(h.checkpoint)
        with pytest.raises(CheckpointPositionError):
            context.checkpoint(Position(4))

    with Harness(checkpointing("process", act), max_batch=2, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b", b"c")
        assert seen == [1, 2]
        assert h.errors == []
    seen.clear()

    @record_processor
    def by_record(record: object, context: Context) -> None:
        context.checkpoint().result()
        seen.append(h.checkpoint)

    with Harness(by_record, checkpoint_interval="1h") as h:
        h.deliver(b"a", b"b")
        assert seen == [0, 1]


def test_process__raises() -> None:
    with Harness(raising("process", times=2), retry_attempts=3, max_batch=1) as h:
        h.deliver(b"a", b"b")
        assert [record.value for record in h.seen] == [b"a", b"a", b"a", b"b"]
        assert len(h.errors) == 2
    with Harness(raising("process", times=9), retry_attempts=3, max_batch=1) as h:
        h.deliver(b"a", b"b")
        assert h.halted is not None
        assert [record.value for record in h.seen] == [b"a", b"a", b"a"]


# -- flush ---------------------------------------------------------------------------------------------------------------


class Flushing(Scripted):
    def flush(self, context: Context) -> None:
        return None


def test_flush__when() -> None:
    with Harness(Flushing, checkpoint_interval="4s") as h:
        h.write(b"a")
        h.advance(3)
        assert "flush" not in h.hooks
        h.advance(2)
        assert h.hooks.count("flush") == 1
        h.advance(20)
        assert h.hooks.count("flush") == 1  # no news
        h.write(b"b")
        h.advance(1)
        h.revoke()
        assert h.hooks[-3:] == ["flush", "partition_revoked", "close"]
        h.write(b"c")
        h.end()
        assert h.hooks[-4:] == ["process", "flush", "partition_ended", "close"]
    with Harness(Flushing, checkpoint_interval="1h", checkpoint_records=2) as h:
        h.deliver(b"a", b"b")
        assert h.hooks == ["initialize", "process", "flush"]
        h.write(b"c")
        h.advance(1)
        h.stop()
        assert h.hooks[-4:] == ["process", "flush", "partition_revoked", "close"]


def test_flush__thread() -> None:
    all_hooks_on("flush")


def test_flush__deadline() -> None:
    remaining, code = slow_in("flush", 20)
    with Harness(code, checkpoint_interval="1s") as h:
        h.write(b"a")
        h.advance(3)
        h.revoke(deadline=5)
        assert h.hooks == ["initialize", "process", "flush", "partition_lost", "close"]
        assert remaining[0] is None
        assert any(left is not None and 0 < left <= 5 for left in remaining)


def test_flush__checkpoint() -> None:
    def act(context: Context) -> None:
        context.checkpoint().result()
        durable.append(h.checkpoint)  # type: ignore[arg-type]

    durable: list[int | None] = []
    with Harness(checkpointing("flush", act), checkpoint_interval="1s") as h:
        h.deliver(b"a", b"b")
        assert durable == [1]
    with Harness(Flushing, checkpoint_interval="1s") as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1


def test_flush__raises() -> None:
    with Harness(raising("flush", times=2), checkpoint_interval="10m", retry_attempts=3, retry_backoff="1s") as h:
        h.write(b"a")
        h.advance(599)
        assert h.checkpoint is None
        assert h.hooks.count("flush") == 0
        h.advance(5)  # back-off of the retry policy, not the next interval
        assert h.hooks.count("flush") == 3
        assert h.checkpoint == 0
        assert len(h.errors) == 2
    with Harness(raising("flush", times=9), checkpoint_interval="1s", retry_attempts=3) as h:
        h.deliver(b"a")
        assert h.halted is not None
        assert h.hooks.count("flush") == 3
        h.crash()
    with Harness(raising("flush", times=9), checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.revoke()
        assert h.hooks[-3:] == ["flush", "partition_revoked", "close"]
        assert any(problem.startswith("flush of stream/0") for problem in h.problems)
        assert h.checkpoint is None
        assert h.errors


# -- partition_ended -----------------------------------------------------------------------------------------------------


def test_partition_ended__when() -> None:
    saved: list[object] = []

    def act(context: Context) -> None:
        saved.append(h.checkpoint)

    with Harness(checkpointing("partition_ended", act, flush=True), max_batch=2) as h:
        h.write(*[b"x"] * 5)
        h.end()
        assert h.hooks == ["initialize", "process", "process", "process", "flush", "partition_ended", "close"]
        assert saved != [Position.END]
        assert h.checkpoint == Position.END

    asked: list[float] = []

    def third_time(context: Context) -> None:
        asked.append(h.time)
        if len(asked) == 3:
            context.checkpoint()

    with Harness(checkpointing("partition_ended", third_time, manual=True)) as h:
        h.end()
        assert len(asked) == 3
        assert h.hooks == ["initialize", *["partition_ended"] * 3, "close"]
        assert h.checkpoint == Position.END


def test_partition_ended__thread() -> None:
    all_hooks_on("partition_ended")


def test_partition_ended__deadline() -> None:
    remaining, code = slow_in("partition_ended", 20)
    with Harness(code) as h:
        h.script.ended[P0] = ()
        h.advance(1)
        h.revoke(deadline=5)
        assert h.hooks == ["initialize", "partition_ended", "partition_lost", "close"]
        assert h.checkpoint is None
        assert remaining[0] is None
        assert any(left is not None and 0 < left <= 5 for left in remaining)


def test_partition_ended__checkpoint() -> None:
    def act(context: Context) -> None:
        context.checkpoint().result()
        at_end.append(h.checkpoint)

    at_end: list[object] = []
    with Harness(checkpointing("partition_ended", act, manual=True)) as h:
        h.write(b"a")
        h.end()
        assert at_end == [Position.END]

    def after_a_while(context: Context) -> None:
        if h.time > 60:
            context.checkpoint()

    with Harness(checkpointing("partition_ended", after_a_while, manual=True), retry_attempts=3) as h:
        h.end()
        assert "has not checkpointed END (3 times asked)" in str(h.halted)  # never without its word, and health says so
        assert h.checkpoint is None
        h.advance(120)
        assert h.checkpoint == Position.END
        assert h.halted is None
        assert h.hooks[-1] == "close"


def test_partition_ended__raises() -> None:
    with Harness(raising("partition_ended", times=2), retry_attempts=3) as h:
        h.end()
        assert h.hooks == ["initialize", *["partition_ended"] * 3, "close"]
        assert h.checkpoint == Position.END
        assert len(h.errors) == 2
    with Harness(raising("partition_ended", times=9), retry_attempts=3) as h:
        h.end()
        assert h.halted is not None
        assert h.checkpoint is None
    assert h.hooks == ["initialize", *["partition_ended"] * 3, "partition_revoked", "close"]


# -- partition_revoked ---------------------------------------------------------------------------------------------------


def test_partition_revoked__when() -> None:
    saved: list[object] = []

    def act(context: Context) -> None:
        saved.append((h.checkpoint, context.reason))

    with Harness(checkpointing("partition_revoked", act, flush=True), checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.revoke()
        assert saved == [(0, "rebalance")]
        assert h.hooks == ["initialize", "process", "flush", "partition_revoked", "close"]
        h.assign()
        h.stop()
        assert saved[1:] == [(0, "shutdown")]
        h.assign()
        h.lose()
        assert len(saved) == 2
    _, code = slow_in("process", 20)
    with Harness(code) as h:
        h.write(b"a")
        h.advance(1)
        h.revoke(deadline=3)
        assert "partition_revoked" not in h.hooks


def test_partition_revoked__thread() -> None:
    all_hooks_on("partition_revoked")


def test_partition_revoked__deadline() -> None:
    remaining, code = slow_in("partition_revoked", 20)
    with Harness(code) as h:
        before = h.time
        h.revoke(deadline=5)
        assert h.hooks == ["initialize", "partition_revoked", "close"]
        assert remaining[0] is not None
        assert 4 < remaining[0] <= 5
        assert remaining[-1] == 0
        assert h.time - before > 19
    _, code = slow_in("partition_revoked", 20)
    with Harness(code, drain_timeout="4s") as h, pytest.raises(DrainTimeoutError):
        h.stop()


def test_partition_revoked__checkpoint() -> None:
    class Waiting(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            return None

        def partition_revoked(self, context: Context) -> None:
            context.checkpoint()  # not waited for: it is saved all the same

    with Harness(Waiting, checkpoint_interval="1h") as h:
        h.write(b"a", b"b")
        h.advance(1)
        h.revoke()
        assert h.checkpoint == 1


def test_partition_revoked__raises() -> None:
    with Harness(raising("partition_revoked", times=1)) as h:
        before = h.time
        h.revoke()
        assert h.hooks == ["initialize", "partition_revoked", "close"]
        assert h.time - before < 1
        assert h.problems == ["partition_revoked of stream/0: not now"]
        assert len(h.errors) == 1


# -- partition_lost ------------------------------------------------------------------------------------------------------


def test_partition_lost__when() -> None:
    _, code = slow_in("process", 3)
    with Harness(code, max_batch=1) as h:
        h.write(b"a", b"b", b"c")
        h.advance(1)
        before = h.time
        h.lose()
        assert 1.5 < h.time - before < 3
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]


def test_partition_lost__thread() -> None:
    all_hooks_on("partition_lost")


def test_partition_lost__deadline() -> None:
    _, code = slow_in("partition_lost", 60)
    with Harness(code) as h:
        h.lose()
        assert h.time > 60
        assert h.hooks == ["initialize", "partition_lost", "close"]
        h.assign()
        h.script.take(P0)
        from streamkit.plugin import Assigned, Lost

        h.script.events.extend([Lost((P0,)), Assigned((P0,), 9)])
        h.advance(50)
        assert h.hooks[3:] == ["initialize", "partition_lost"]  # the new one waits
        h.settle()
        assert h.hooks[3:] == ["initialize", "partition_lost", "close", "initialize"]
        h.crash()


def test_partition_lost__checkpoint() -> None:
    contexts: list[object] = []

    class Lost(Scripted):
        def partition_lost(self, context: LostContext) -> None:
            contexts.append(context)

    with Harness(Lost) as h:
        h.write(b"a")
        h.advance(1)
        h.lose()
        assert isinstance(contexts[0], LostContext)
        assert not hasattr(contexts[0], "checkpoint")
        assert (contexts[0].partition, contexts[0].epoch) == (P0, 1)
        assert contexts[0].reason
        assert h.checkpoint is None


def test_partition_lost__raises() -> None:
    with Harness(raising("partition_lost", times=1)) as h:
        h.lose()
        assert h.hooks == ["initialize", "partition_lost", "close"]
        assert h.problems == ["partition_lost of stream/0: not now"]
        assert len(h.errors) == 1


# -- close ---------------------------------------------------------------------------------------------------------------


def test_close__when() -> None:
    for how in ("end", "revoke", "lose", "stop"):
        with Harness(Scripted) as h:
            getattr(h, how)()
            assert h.hooks[-1] == "close"
            assert h.hooks.count("close") == 1
    with Harness(raising("initialize", times=9), retry_attempts=1) as h:
        h.revoke()
        assert h.hooks == ["initialize", "close"]
        assert h.errors
    with Harness(Scripted) as h:
        h.crash()
        assert h.hooks == ["initialize"]


def test_close__thread() -> None:
    all_hooks_on("close")


def test_close__deadline() -> None:
    class Slow(Scripted):
        async def close(self) -> None:
            await asyncio.sleep(60)

    with Harness(Slow, drain_timeout="4s") as h:
        before = h.time
        with pytest.raises(DrainTimeoutError):
            h.stop()
        assert 4 <= h.time - before < 12


def test_close__checkpoint() -> None:
    contexts: list[Context] = []

    class Closing(Scripted):
        def initialize(self, context: Context) -> None:
            contexts.append(context)

        def close(self) -> None:
            assert threading.current_thread() is not threading.main_thread()

    with Harness(Closing) as h:
        h.revoke()
        assert h.errors == []


def test_close__raises() -> None:
    with Harness(raising("close", times=1)) as h:
        h.deliver(b"a")
        h.revoke()
        assert h.problems == ["close of stream/0: not now"]
        assert h.checkpoint == 0
        assert len(h.errors) == 1
        h.deliver(b"b")
        assert h.checkpoint == 1

"""A store that is down: told once and its recovery once, nothing lost, reading held back, and a drain that ends in time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamkit.errors import (
    CheckpointError,
    DrainTimeoutError,
    PartitionLostError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
)
from streamkit.model import Record
from streamkit.plugin import Grant, Observer
from streamkit.processing import CheckpointFuture, Context, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes, failing


class Outages(Observer):
    """What is told of the store as a whole, and for which partitions a failure was told."""

    def __init__(self) -> None:
        self.down: list[tuple[str, int]] = []
        self.up: list[tuple[float, int]] = []
        self.failed: list[str] = []

    def on_store_down(self, error: Exception, partitions: int) -> None:
        self.down.append((str(error), partitions))

    def on_store_up(self, seconds: float, partitions: int) -> None:
        self.up.append((round(seconds), partitions))

    def on_checkpoint_failed(self, checkpoint: object, error: Exception) -> None:
        self.failed.append(checkpoint.partition.id)  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [StoreUnavailableError, StoreThrottledError, StoreNotReadyError, TypeError])
def test_an_outage_of_a_minute_is_told_once_and_its_end_once(error: type[Exception]) -> None:
    told = Outages()
    with Harness(failing({}), partitions=5, checkpoint_interval="1s", observer=told) as h:
        h.script.fail("save", error("gone"), times=999)
        for second in range(60):
            h.write(b"x", partition=str(second % 5))
            h.advance(1)
        assert len(told.down) == 1
        assert told.down[0][0] == "gone"
        assert told.up == []
        assert sorted(told.failed) == ["0", "1", "2", "3", "4"]  # each partition once
        h.script.failures.clear()
        h.settle()
        assert 58 <= told.up[0][0] <= 66
        assert len(told.up) == 1
        assert [h.checkpoint_of(str(n)) for n in range(5)] == [11] * 5


def test_one_partition_that_the_store_does_not_take_is_counted_alone() -> None:
    def not_ready(answers: list[Grant | Exception]) -> list[Grant | Exception]:
        return [StoreNotReadyError("a moment") if n == 0 and next(bad, False) else answer for n, answer in enumerate(answers)]

    bad = iter([True] * 3)
    told = Outages()
    with Harness(failing({}), partitions=2, observer=told) as h:
        h.script.answers = not_ready
        h.write(b"a", partition="0")
        h.write(b"b", partition="1")
        h.settle()
        assert told.down == [("a moment", 1)]
        assert len(told.up) == 1


def test_what_a_store_refuses_for_good_is_no_outage() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.value == b"a":
            context.checkpoint(metadata="bad")

    def refuse(answers: list[Grant | Exception]) -> list[Grant | Exception]:
        return [CheckpointError("no such metadata")] if h.checkpoints[-1].metadata == "bad" else answers

    told, notes = Outages(), Notes()
    with Harness(handle, observer=told) as h:
        h.script.answers = refuse
        h.deliver(b"a", b"b")
        assert told.down == []
        assert told.up == []
        assert told.failed == ["0"]
        assert h.checkpoint == 1
        assert h.checkpoints[-1].metadata == ""
        assert sum("refuses" in problem for problem in h.problems) == 1
    assert notes.events == []


def test_a_store_that_refuses_everything_is_reported_once() -> None:
    with Harness(failing({}), checkpoint_interval="1s") as h:
        h.script.answers = lambda answers: [CheckpointError("never")] * len(answers)
        h.write(b"a")
        h.advance(60)
        assert sum("refuses" in problem for problem in h.problems) == 1
        h.script.answers = lambda answers: answers
        h.settle()
        assert h.checkpoint == 0


def test_futures_wait_as_long_as_it_takes() -> None:
    waited: list[float] = []

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> None:
        before = h.time
        await context.checkpoint()
        waited.append(h.time - before)

    with Harness(handle) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=999)
        h.write(b"a")
        h.advance(60)
        assert waited == []
        h.script.failures.clear()
        h.settle()
        assert 60 <= waited[0] < 66


def test_reading_is_held_back_while_nothing_can_be_saved() -> None:
    with Harness(failing({}), max_in_flight=20, max_batch=5, checkpoint_interval="1s") as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=999)
        for _ in range(60):
            h.write(*[b"x"] * 10)
            h.advance(1)
        assert 15 <= len(h.seen) <= 30  # MAX_IN_FLIGHT and one poll
        h.script.failures.clear()
        h.settle()
        assert len(h.seen) == 600
        assert h.checkpoint == 599


def test_a_drain_during_an_outage_ends_at_its_deadline_and_names_the_store() -> None:
    h = Harness(failing({}), partitions=2, checkpoint_interval="1h", drain_timeout="8s")
    with pytest.raises(DrainTimeoutError) as caught, h:
        h.write(b"a", partition="0")
        h.advance(1)
        h.script.fail("save", StoreUnavailableError("gone for lunch"), times=999)
        before = h.time
        h.stop()
    assert h.time - before < 9
    assert str(caught.value) == ("after 8s the store had still not taken the checkpoints of stream/0: gone for lunch")
    assert caught.value.unfinished == ("stream/0",)
    assert "delivered again" in caught.value.fix


@pytest.mark.parametrize("how", ["stop", "revoke"])
def test_futures_that_are_open_when_it_is_given_up_fail(how: str) -> None:
    futures: list[CheckpointFuture] = []

    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        futures.append(context.checkpoint())

    def run() -> Iterator[None]:
        with Harness(handle, drain_timeout="3s", checkpoint_interval="1h") as h:
            h.write(b"a")
            h.advance(1)
            h.script.fail("save", StoreUnavailableError("gone"), times=999)
            if how == "stop":
                with pytest.raises(DrainTimeoutError):
                    h.stop()
            else:
                h.revoke(deadline=3)
            yield

    for _ in run():
        with pytest.raises(PartitionLostError):
            futures[0].result(0)


def test_after_an_outage_that_outlived_its_partitions_nobody_is_told_that_it_is_over() -> None:
    told = Outages()
    with Harness(failing({}), checkpoint_interval="1s", observer=told) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=999)
        h.write(b"a")
        h.advance(5)
        h.lose()
        h.script.failures.clear()
        h.deliver(b"b")
        assert len(told.down) == 1
        assert told.up == []

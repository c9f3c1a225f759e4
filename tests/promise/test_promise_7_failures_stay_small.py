"""Promise 7: a failure stays small: a partition that cannot go on halts alone, visibly, and the others go on.

What it says over HTTP is in test_promise_7_health.py.
"""

from __future__ import annotations

import threading

import pytest

from streamkit.errors import RetriesExhaustedError
from streamkit.model import Batch, Record
from streamkit.outcome import Outcome, Reject, Stop
from streamkit.processing import Context, LostContext, Processor, record_processor
from tests.promise.targets import text, values
from tests.promise.world import MemoryWorld, World

TEN = [str(n) for n in range(10)]
HOOKS = ("flush", "partition_revoked", "close")


def poisoned(world: World, value: str, outcome: Outcome | None = None) -> object:
    """Fails at `value` in partition 0."""

    @record_processor(reject_on=(ZeroDivisionError,))
    def handle(record: Record, context: Context) -> Outcome | None:
        if record.partition.id == "0" and text(record) == value and not world.journal.has("mended"):
            world.journal.note("tried")
            if outcome is not None:
                return outcome
            raise ValueError("poison")
        world.journal.note("done", record.partition.id, text(record))
        return None

    return handle


def test_a_partition_halts_alone_and_visibly(world: World) -> None:
    world.create(3)
    for partition in "012":
        world.write(TEN, partition)
    member = world.start(poisoned(world, "4"), retry_attempts=2)
    world.until(lambda: world.journal.has("halted", "0") and len(values(world.journal)) == 24)
    assert member.states["0"] == "halted"
    assert "halted" not in (member.states["1"], member.states["2"])
    member.stop()
    assert member.supervisor.exit_code == 1
    assert values(world.journal, partition="1") == values(world.journal, partition="2") == TEN


def test_a_halted_partition_goes_on_by_itself(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(TEN)
    member = virtual.start(poisoned(virtual, "4"), retry_attempts=2)
    virtual.until(lambda: virtual.journal.has("halted"))
    virtual.journal.note("mended")
    virtual.until(lambda: len(values(virtual.journal)) == 10, seconds=60)
    assert virtual.journal.has("recovered", "0")
    assert member.states == {"0": "caught up"}
    member.stop()
    assert member.supervisor.exit_code == 0


def test_a_rejected_record_is_not_tried_again_before_the_long_back_off(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.write(TEN)
    virtual.start(poisoned(virtual, "4", Reject("no")), retry_attempts=5)
    virtual.until(lambda: virtual.journal.has("halted"))
    assert len(virtual.journal.of("tried")) == 1


@pytest.mark.parametrize("how", ["setting", "outcome"])
def test_stop_drains_the_process(world: World, how: str) -> None:
    world.create(2)
    world.write(TEN, "0")
    target = poisoned(world, "4", Stop("enough") if how == "outcome" else None)
    member = world.start(target, retry_attempts=2, on_failure="stop" if how == "setting" else "halt")
    member.wait()
    assert member.supervisor.exit_code == 1
    assert len(world.journal.of("tried")) == (2 if how == "setting" else 1)
    problem = world.journal.of("problem", "stopping")[0][2]
    assert isinstance(problem, RetriesExhaustedError)
    assert problem.record == "orders/0/4"
    assert str(world.saved()) == "after 3"


def test_a_blocked_def_handler_costs_nobody_anything(threads: World) -> None:
    """It holds up its own partition: not another's progress, not the group's heartbeat, not the worker's partitions."""
    gate = threading.Event()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        if record.partition.id == "0":
            threads.journal.note("blocked")
            gate.wait()
        threads.journal.note("done", record.partition.id, text(record))

    threads.create(3)
    threads.write(TEN, "0")
    member = threads.start(handle)
    threads.until(lambda: threads.journal.has("blocked"))
    for _ in range(170):  # for longer than a session of the group, counted in saves of 50 ms
        threads.write(TEN, "1")
        count = len(threads.journal.of("checkpointed", "1"))
        threads.until(lambda count=count: len(threads.journal.of("checkpointed", "1")) > count)  # type: ignore[misc]
    assert sorted(member.states) == ["0", "1", "2"]
    assert not threads.journal.has("lost")
    assert len(threads.journal.of("assigned")) == 3
    gate.set()
    threads.until(lambda: values(threads.journal, partition="0") == TEN)


@pytest.mark.parametrize("hook", HOOKS)
def test_a_raising_hook_is_reported_and_delays_nothing(world: World, hook: str) -> None:
    def fail(self: Processor, *_: object) -> None:
        raise ValueError(f"{hook} is broken")

    def process(self: Processor, batch: Batch, context: Context) -> None:
        for record in batch:
            world.journal.note("done", batch.partition.id, text(record))

    world.create(1)
    world.write(TEN)

    def close(self: Processor) -> None:
        world.journal.note("closed")

    hooks = {"process": process, "close": close, hook: fail}
    member = world.start(type("Broken", (Processor,), hooks), retry_attempts=1_000)
    world.until(lambda: len(values(world.journal)) == 10)
    member.stop()
    assert world.journal.has("problem", f"{hook} of orders/0")
    assert world.journal.has("revoked", "w1", "0")
    assert hook == "close" or world.journal.has("closed"), "the hooks after it are called"
    assert member.supervisor.exit_code == 0


def test_a_raising_lost_hook_is_reported(virtual: MemoryWorld) -> None:
    class Broken(Processor):
        def partition_lost(self, context: LostContext) -> None:
            raise ValueError("no")

    virtual.create(1)
    member = virtual.start(Broken)
    virtual.until(lambda: virtual.journal.has("assigned"))
    (partition,) = virtual.log.partitions("orders")
    virtual.runtime.control.post(member.supervisor.lose, [partition], "a test")
    virtual.until(lambda: virtual.journal.has("lost", "w1"))
    assert virtual.journal.has("problem", "partition_lost of orders/0")


def test_an_initialize_that_raises_is_tried_again(virtual: MemoryWorld) -> None:
    class Late(Processor):
        def initialize(self, context: Context) -> None:
            virtual.journal.note("initialize", context.attempt)
            if not virtual.journal.has("initialize", times=7):
                raise ConnectionError("database away")

        def process(self, batch: Batch, context: Context) -> None:
            virtual.journal.note("done", "0", str(len(batch)))

    virtual.create(1)
    virtual.write(TEN)
    virtual.start(Late, retry_attempts=3)
    virtual.until(lambda: len(values(virtual.journal)) == 1, seconds=300)
    assert [note[1] for note in virtual.journal.of("initialize")] == [1, 2, 3, 1, 2, 3, 1]
    assert virtual.journal.has("recovered", "0")


def test_a_processor_that_never_was_initialized_only_hears_close(virtual: MemoryWorld) -> None:
    class Never(Processor):
        def initialize(self, context: Context) -> None:
            raise ConnectionError("database away")

        def partition_revoked(self, context: Context) -> None:
            virtual.journal.note("hook", "revoked")

        def close(self) -> None:
            virtual.journal.note("hook", "close")

    virtual.create(1)
    member = virtual.start(Never)
    virtual.until(lambda: virtual.journal.has("halted"))
    member.stop()
    assert virtual.journal.of("hook") == [("hook", "close")]

"""Runners of the delivery by key: how many calls run at once, and when one that was handed over is not begun."""

from __future__ import annotations

import asyncio
from typing import cast

from streamkit.engine.delivery.call import Caller, Code
from streamkit.engine.delivery.lanes import Job
from streamkit.engine.delivery.life import Life
from streamkit.engine.delivery.messages import Limits, WorkerEvents
from streamkit.engine.delivery.runner import Report, Runner
from streamkit.engine.delivery.tracker import Tracker
from streamkit.model import Record, StartPosition
from streamkit.processing import CheckpointLink, Context, facts_of, record_processor
from streamkit.testing import Harness, VirtualRuntime
from tests.unit.engine.rig import P0, batch


def test_however_many_wait_for_their_checkpoints_one_call_is_made_beyond_concurrency() -> None:
    running = most = 0
    failed: set[bytes | None] = set()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            if record.value == b"bad" and record.key not in failed:
                failed.add(record.key)
                raise ValueError("its dependency is away")
            if record.value == b"good":
                await context.checkpoint()
            else:
                await asyncio.sleep(1.0)
        finally:
            running -= 1

    with Harness(handle, ordering="key", concurrency=4, retry_attempts=1, on_failure="halt") as h:
        bad = [(b"bad", b"b%d" % n) for n in range(50)]
        h.write(*bad, *[(b"good", b"g%d" % n) for n in range(20)])
        h.advance(200)
        assert most == 5
        assert h.checkpoint == 69
        assert h.errors


def test_a_call_that_was_handed_over_is_not_begun_when_the_lease_has_run_out_meanwhile() -> None:
    """The process may have been suspended between the two."""
    begun: list[Record] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        begun.append(record)

    runtime = VirtualRuntime()
    link, limits, events = cast("CheckpointLink", None), cast("Limits", None), cast("WorkerEvents", None)
    context = Context(P0, epoch=1, start=StartPosition.EARLIEST, state=None, link=link)
    life = Life(context, runtime.user("w"), runtime, limits, events)
    reports: list[Report] = []
    facts = facts_of(handle)
    assert facts is not None
    runner = Runner("r", Caller(Code(facts, function=handle)), life, runtime.user("r"), lambda _: None, reports.append, lambda: None)
    runner.start()
    items = Tracker().offer(batch(0, 1))
    for valid_until in (runtime.monotonic(), runtime.monotonic() + 60):
        life.valid_until = valid_until
        runner.give(Job(items, []), batch(0, 1), 1, runtime.monotonic())
        runtime.run(asyncio.sleep(0.1))
    runner.stop()
    runtime.stop()
    assert [report.result.count for report in reports] == [0, 2]
    assert len(begun) == 2

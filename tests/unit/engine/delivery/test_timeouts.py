"""PROCESS_TIMEOUT: an `async def` attempt is cancelled and has failed; a `def` one cannot be cut, so it is told of and waited for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamkit.app import code_of
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.messages import RunningCall
from streamkit.engine.delivery.overdue import Overdue
from streamkit.engine.runtime import ThreadRuntime
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Batch, Partition, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.settings import Settings
from streamkit.testing import Harness, VirtualRuntime
from tests.unit.engine.rig import values


def told(h: Harness) -> list[str]:
    return [problem for problem in h.problems if "STREAMKIT_PROCESS_TIMEOUT" in problem]


def live_on_threads(target: object, observer: Observer, **settings: object) -> None:
    """One record, in real time, until it is done."""
    MemoryLog.forget("timeouts")
    log = MemoryLog.named("timeouts")
    log.create("s", 1)
    log.append("s", b"a", partition="0", now=1e9)
    runtime = ThreadRuntime()
    context = EngineContext(runtime, "memory", broker="memory", group="g", worker="w")
    chosen = Settings.model_validate({"broker": "memory", "stream": "s", "group": "g", "stop": "at_end", **settings})
    broker = MemoryBroker(MemorySettings(name="timeouts"), context)
    supervisor = Supervisor(Parts(chosen, code_of(target), broker, None, None, observer, "w", "group"), runtime)
    try:
        runtime.control.call("run", supervisor.run()).result(20.0)
    finally:
        context.stop()
        runtime.stop()
        MemoryLog.forget("timeouts")


def test_an_async_record_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    cancelled = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        try:
            await asyncio.sleep(100 if context.attempt < 3 and record.value == b"slow" else 0)
        except asyncio.CancelledError:
            cancelled.append(h.time)
            raise

    with Harness(handle, process_timeout="2s", retry_backoff="0s") as h:
        h.deliver(b"a", b"slow", b"c")
        assert len(cancelled) == 2
        assert cancelled[1] - cancelled[0] == pytest.approx(2.0, abs=0.1)
        assert values(h) == [b"a", b"slow", b"slow", b"slow", b"c"]
        assert told(h) == []
        assert h.checkpoint == 2


def test_an_async_batch_that_takes_too_long_is_cancelled_and_tried_again() -> None:
    @processor
    async def handle(batch: Batch, context: Context) -> None:
        await asyncio.sleep(100 if context.attempt < 3 else 0)

    with Harness(handle, process_timeout="2s") as h:
        h.deliver(b"a", b"b")
        assert [call.attempt for call in h.calls] == [1, 2, 3]
        assert h.checkpoint == 1


def test_time_outs_use_up_attempts_and_then_the_policy_applies() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.value == b"slow":
            await asyncio.sleep(100)

    with Harness(handle, process_timeout="2s", retry_attempts=2, on_failure="skip") as h:
        h.deliver(b"a", b"slow", b"c")
        assert h.put_aside == [(1, "skip")]
    with Harness(handle, process_timeout="2s", retry_attempts=2) as h:
        h.deliver(b"slow")
        assert "TimeoutError: not done within 2s" in str(h.halted)


def test_the_time_is_that_of_one_record() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(1.5)

    with Harness(handle, process_timeout="2s") as h:
        h.deliver(*[b"x"] * 10)
        assert len(h.calls) == 10
        assert h.errors == []


def test_reject_on_time_out_is_not_tried_again() -> None:
    @record_processor(reject_on=(TimeoutError,))
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(100)

    with Harness(handle, process_timeout="2s", on_failure="skip") as h:
        h.deliver(b"slow")
        assert len(h.calls) == 1
        assert h.put_aside == [(0, "skip")]


def test_a_time_out_of_the_codes_own_is_its_own() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if context.attempt == 1:
            async with asyncio.timeout(0.1):
                await asyncio.sleep(1)

    with Harness(handle, process_timeout="2s") as h:
        h.deliver(b"a")
        assert [str(error) for error in h.errors] == [""]
        assert h.checkpoint == 0


def test_a_handler_that_swallows_its_cancellation_is_waited_for_and_its_result_counts() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(30)

    with Harness(handle, process_timeout="2s") as h:
        h.deliver(b"a")
        assert len(h.calls) == 1
        assert h.checkpoint == 0
        assert len(told(h)) == 1
        assert "in handle" in told(h)[0]  # its stack


def test_a_def_call_that_takes_too_long_is_told_of_once_and_never_begun_again_beside_itself() -> None:
    class Slow(Processor):
        checkpoint = "manual"
        running = 0

        def process(self, batch: Batch, context: Context) -> None:
            type(self).running += 1
            assert self.running == 1
            context.checkpoint().result()  # as long as the save takes
            type(self).running -= 1

    with Harness(Slow, process_timeout="2s") as h:
        h.script.save_seconds = 20
        h.deliver(b"a")
        assert h.hooks == ["initialize", "process"]
        assert h.errors == []
        assert len(told(h)) == 1
        assert h.checkpoint == 0


def test_a_def_call_that_takes_too_long_is_told_of_with_its_stack() -> None:
    gate = threading.Event()
    problems: list[BaseException] = []

    class Opening(Observer):
        """Lets the call go on when it was told of."""

        def on_problem(self, subject: str, error: BaseException) -> None:
            problems.append(error)
            gate.set()

    done = []

    @record_processor
    def waits_at_the_gate(record: Record, context: Context) -> None:
        gate.wait()
        done.append(record.value)

    live_on_threads(waits_at_the_gate, Opening(), process_timeout="20ms")
    assert done == [b"a"]
    assert "waits_at_the_gate" in str(problems[0])
    assert "STREAMKIT_PROCESS_TIMEOUT" in str(problems[0])


def test_without_it_a_call_may_take_for_ever() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(3000)

    with Harness(handle) as h:
        h.deliver(b"a")
        assert len(h.calls) == 1
        assert h.problems == []


# -- what is seen from outside -------------------------------------------------------------------------------------------


def looking(*calls: RunningCall, is_cut: bool = False) -> tuple[Overdue, list[RunningCall], list[BaseException]]:
    runtime = VirtualRuntime()
    now, errors = list(calls), []  # type: ignore[var-annotated]
    overdue = Overdue(runtime, lambda: now, 4.0, errors.append, is_cut=is_cut)
    runtime.stop()
    return overdue, now, errors


def stack() -> str:
    return "here"


def test_each_record_of_a_call_has_its_own_time() -> None:
    overdue, calls, errors = looking(RunningCall(0.0, 0, stack))
    overdue.look(3.0)
    calls[:] = [RunningCall(0.0, 7, stack)]
    overdue.look(5.0)
    overdue.look(8.9)
    assert errors == []
    overdue.look(9.0)
    overdue.look(50.0)
    assert len(errors) == 1, "once"
    assert "running for 4s" in str(errors[0])
    assert "here" in str(errors[0])
    calls[:] = [RunningCall(0.0, 8, stack)]
    overdue.look(51.0)
    overdue.look(55.0)
    assert len(errors) == 2, "another record"


def test_a_new_call_is_not_taken_for_the_old_one() -> None:
    overdue, calls, errors = looking(RunningCall(0.0, 0, stack))
    overdue.look(3.9)
    calls[:] = [RunningCall(3.95, 0, stack)]
    overdue.look(7.9)
    assert errors == []


def test_what_is_being_cancelled_is_given_a_little_longer() -> None:
    overdue, _, errors = looking(RunningCall(0.0, 0, stack), is_cut=True)
    overdue.look(4.5)
    assert errors == []
    overdue.look(5.0)
    assert len(errors) == 1


def test_the_partition_of_the_call_is_named() -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(30)

    with Harness(handle, process_timeout="2s") as h:
        h.deliver(b"a")
        assert told(h)[0].startswith(f"process of {Partition('stream', '0')}: ")

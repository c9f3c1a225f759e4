"""What a call of the user's code means, whatever shape the code has."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from streamkit.engine.delivery.call import Caller, Code, Result
from streamkit.model import Batch, Partition, Record, StartPosition
from streamkit.outcome import Reject, Retry, Stop
from streamkit.processing import Context, Processor, facts_of, processor, record_processor
from streamkit.testing import Harness, VirtualRuntime
from tests.unit.engine.rig import batch, record


def call(function: Callable[..., object], given: Batch, ending: bool = False) -> Result:
    """Call it on a virtual runtime."""
    runtime = VirtualRuntime()
    facts = facts_of(function)
    assert facts is not None
    context = Context(Partition("stream", "0"), epoch=1, start=StartPosition.EARLIEST, state=None, link=None)  # type: ignore[arg-type]
    context.ending = ending
    carrier = runtime.user("u") if inspect.iscoroutinefunction(function) else runtime.thread("t")
    try:
        return runtime.run(Caller(Code(facts, function=function)).process(carrier, given, context))
    finally:
        runtime.stop()


def both(answer: Callable[[Record], object]) -> list[Callable[..., object]]:
    """The same record handler as `def` and as `async def`."""

    @record_processor
    def plain(record: Record, context: Context) -> object:
        return answer(record)

    @record_processor
    async def coroutine(record: Record, context: Context) -> object:
        return answer(record)

    return [plain, coroutine]


def refuse(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize("kind", [0, 1])
class TestRecords:
    def test_none_is_done(self, kind: int) -> None:
        assert call(both(lambda r: None)[kind], batch(0, 1, 2)) == Result(3)

    @pytest.mark.parametrize("outcome", [Retry(), Reject("x"), Stop("y")])
    def test_an_outcome_ends_the_call_before_its_record(self, kind: int, outcome: object) -> None:
        handle = both(lambda r: outcome if r.position.sequence == 2 else None)[kind]
        assert call(handle, batch(0, 1, 2, 3)) == Result(2, outcome)  # type: ignore[arg-type]

    def test_an_exception_ends_the_call_before_its_record(self, kind: int) -> None:
        error = ValueError()
        handle = both(lambda r: refuse(error) if r.position.sequence == 1 else None)[kind]
        assert call(handle, batch(0, 1, 2)) == Result(1, error)

    @pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt()])
    def test_an_exit_means_stop_and_keeps_what_is_done(self, kind: int, error: BaseException) -> None:
        handle = both(lambda r: refuse(error) if r.position.sequence == 1 else None)[kind]
        result = call(handle, batch(0, 1, 2))
        assert result.count == 1
        assert isinstance(result.failure, Stop)

    def test_no_record_is_begun_once_the_assignment_ends(self, kind: int) -> None:
        assert call(both(lambda r: None)[kind], batch(0, 1, 2), ending=True) == Result(1)

    def test_anything_else_than_an_outcome_is_a_failure(self, kind: int) -> None:
        result = call(both(lambda r: True)[kind], batch(0))
        assert isinstance(result.failure, TypeError)


def of_batch(answer: Callable[[Batch], object]) -> Callable[..., object]:
    @processor
    def handle(batch: Batch, context: Context) -> object:
        return answer(batch)

    return handle


def test_a_batch_is_done_as_a_whole_or_not_at_all() -> None:
    assert call(of_batch(lambda b: None), batch(0, 1)) == Result(2)
    assert call(of_batch(lambda b: Retry(after=3)), batch(0, 1)) == Result(0, Retry(after=3))


def test_an_empty_mapping_and_one_of_nones_mean_done() -> None:
    assert call(of_batch(lambda b: {}), batch(0, 1)) == Result(2)
    assert call(of_batch(lambda b: dict.fromkeys(b)), batch(0, 1)) == Result(2)


def test_the_first_named_record_counts_whatever_the_order_of_the_mapping() -> None:
    def answer(given: Batch) -> object:
        records = list(given)
        return {records[2]: Stop(), records[1]: Reject("second")}

    assert call(of_batch(answer), batch(0, 1, 2)) == Result(1, Reject("second"), is_named=True)


@pytest.mark.parametrize("answer", [{"key": Retry()}, {record(9): Retry()}])
def test_a_mapping_of_something_else_is_a_failure_of_the_whole_batch(answer: object) -> None:
    result = call(of_batch(lambda b: answer), batch(0, 1))
    assert result.count == 0
    assert isinstance(result.failure, TypeError | ValueError)


def test_one_async_hook_puts_the_whole_assignment_on_the_user_loop() -> None:
    class Mixed(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        async def close(self) -> None:
            return None

    facts = facts_of(Mixed)
    assert facts is not None
    assert Caller(Code(facts, factory=Mixed)).on_loop
    assert not Caller(Code(facts, factory=Processor)).on_loop


def test_only_a_processor_that_defines_flush_flushes() -> None:
    class Flushing(Processor):
        def flush(self, context: Context) -> None:
            return None

    facts = facts_of(Flushing)
    assert facts is not None
    assert Caller(Code(facts, factory=Flushing)).flushes
    assert not Caller(Code(facts, factory=Processor)).flushes


def test_each_assignment_has_a_processor_of_its_own() -> None:
    made: list[Processor] = []

    class Counted(Processor):
        def __init__(self) -> None:
            made.append(self)

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Counted, partitions=2) as h:
        h.revoke("0")
        h.assign("0")
    assert len({id(processor) for processor in made}) == 3

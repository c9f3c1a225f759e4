"""Spans of the real engine in virtual time: parents, links, attributes, errors, retries, and what is current in the user's code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from streamkit.errors import StoreUnavailableError
from streamkit.model import Batch, Headers, Record
from streamkit.outcome import Reject, Retry
from streamkit.plugin import NewRecord
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.telemetry.errors import span_of
from streamkit.telemetry.unsaved import MAX_SPANS
from tests.unit.engine.rig import failing
from tests.unit.telemetry.received import PRODUCER, TRACE, Received, carrying, id_of, links_of, of, parent_of, trace_of


def current() -> str:
    """The id of the span that is current here."""
    return trace.format_span_id(trace.get_current_span().get_span_context().span_id)


NONE = "0" * 16


def handlers(seen: list[str]) -> list[Callable[..., object]]:
    """Code of every shape, which notes the current span: at its beginning, and after others have had a turn."""

    @record_processor
    def of_record(record: Record, context: Context) -> None:
        seen.append(current())

    @record_processor
    async def of_record_later(record: Record, context: Context) -> None:
        await asyncio.sleep(1)
        seen.append(current())

    @processor
    def of_batch(batch: Batch, context: Context) -> None:
        seen.append(current())

    @processor
    async def of_batch_later(batch: Batch, context: Context) -> None:
        await asyncio.sleep(1)
        seen.append(current())

    class Object(Processor):
        reentrant = True

        def process(self, batch: Batch, context: Context) -> None:
            seen.append(current())

    class ObjectLater(Processor):
        reentrant = True

        async def process(self, batch: Batch, context: Context) -> None:
            await asyncio.sleep(1)
            seen.append(current())

    class Mixed(Processor):
        """Its `def` runs in a thread beside the loop."""

        reentrant = True

        async def initialize(self, context: Context) -> None:
            return None

        def process(self, batch: Batch, context: Context) -> None:
            seen.append(current())

    return [of_record, of_record_later, of_batch, of_batch_later, Object, ObjectLater, Mixed]


@pytest.mark.parametrize("shape", range(7))
@pytest.mark.parametrize("ordering", ["partition", "key"])
def test_the_process_span_is_current_while_the_code_runs_and_not_afterwards(shape: int, ordering: str) -> None:
    received, seen = Received(), list[str]()
    handle = handlers(seen)[shape]
    with received.harness(handle, ordering=ordering, partitions=2) as harness:
        harness.deliver(carrying(b"a"), partition="0")
        harness.deliver(carrying(b"b"), partition="1")
    assert seen == [id_of(span) for span in received.spans("process")]
    assert current() == NONE


def test_calls_that_run_at_once_in_one_loop_have_a_span_each() -> None:
    received, seen, running = Received(), list[tuple[str, str]](), list[int]()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        before = current()
        running.append(len(running))
        await asyncio.sleep(1 + len(running))
        assert len(running) == 4, "all have begun before the first one ends"
        seen.append((before, current()))

    with received.harness(handle, ordering="key", concurrency=4) as harness:
        harness.write(*[(b"%d" % number, b"key %d" % number) for number in range(4)])
        harness.settle()
    assert [before for before, _ in seen] == [after for _, after in seen]
    assert sorted(before for before, _ in seen) == sorted(id_of(span) for span in received.spans("process"))


@pytest.mark.parametrize("later", [False, True])
def test_no_span_is_current_in_other_hooks(later: bool) -> None:
    received, seen = Received(), dict[str, str]()

    class Plain(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            seen["process"] = current()

        def flush(self, context: Context) -> None:
            seen["flush"] = current()

        def close(self) -> None:
            seen["close"] = current()

    class Later(Processor):
        async def process(self, batch: Batch, context: Context) -> None:
            seen["process"] = current()

        async def flush(self, context: Context) -> None:
            seen["flush"] = current()

        async def close(self) -> None:
            seen["close"] = current()

    with received.harness(Later if later else Plain) as harness:
        harness.deliver(b"a")
    (span,) = received.spans("process")
    assert seen == {"process": id_of(span), "flush": NONE, "close": NONE}


@pytest.mark.parametrize("kind", [0, 1])
def test_a_record_has_a_span_whose_parent_is_in_its_headers(kind: int) -> None:
    received = Received()
    with received.harness(handlers([])[kind]) as harness:
        harness.deliver(carrying(b"a"), b"of nobody")
    first, second = received.spans("process")
    assert (trace_of(first), parent_of(first)) == (TRACE, PRODUCER)
    assert parent_of(second) == ""
    assert trace_of(second) != TRACE
    assert (first.name, first.kind) == ("process stream", SpanKind.CONSUMER)
    assert of(first) == {
        "messaging.system": "kafka",
        "messaging.consumer.group.name": "group",
        "messaging.client.id": "w1",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "stream",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
        "streamkit.position": "0",
        "streamkit.epoch": 1,
        "streamkit.attempt": 1,
    }


@pytest.mark.parametrize("kind", [2, 3])
def test_a_batch_has_a_root_with_links_to_its_records(kind: int) -> None:
    received = Received()
    with received.harness(handlers([])[kind]) as harness:
        harness.write(carrying(b"a"), b"of nobody", carrying(b"c", span="c" * 16))
        harness.settle()
    (span,) = received.spans("process")
    assert parent_of(span) == ""
    assert links_of(span) == [PRODUCER, "c" * 16]
    assert of(span)["messaging.batch.message_count"] == 3
    assert of(span)["streamkit.position"] == "0..2"
    assert "messaging.kafka.offset" not in of(span)


def test_links_of_a_batch_are_bounded() -> None:
    received = Received()
    with received.harness(handlers([])[2], max_batch=500) as harness:
        harness.write(*[carrying(b"a")] * (MAX_SPANS + 10))
        harness.settle()
    (span,) = received.spans("process")
    assert len(span.links) == MAX_SPANS
    assert span.dropped_links == 0


def test_what_event_hubs_has_in_place_of_an_offset() -> None:
    received = Received()
    with received.harness(handlers([])[0], broker="eventhubs") as harness:
        (record,) = harness.deliver(b"a")
    (span,) = received.spans("process")
    assert of(span)["messaging.eventhubs.message.enqueued_time"] == int(record.timestamp.timestamp())
    (settled,) = received.spans("checkpoint")
    assert settled.name == "checkpoint stream"


def test_baggage_of_the_record_is_there_while_it_is_processed() -> None:
    received, seen = Received(), list[object]()

    @record_processor
    def handle(record: Record, context: Context) -> None:
        seen.append(baggage.get_baggage("tenant"))

    with received.harness(handle) as harness:
        harness.deliver(NewRecord(b"a", headers=Headers([("baggage", b"tenant=blue")])), b"b")
    assert seen == ["blue", None]


# -- failures ------------------------------------------------------------------------------------------------------------


def test_an_attempt_that_raises_is_a_span_with_an_error_and_each_attempt_has_its_own() -> None:
    received = Received()
    with received.harness(failing({b"a": 2})) as harness:
        harness.deliver(carrying(b"a"))
        errors = harness.errors
    spans = received.spans("process")
    assert [of(span)["streamkit.attempt"] for span in spans] == [1, 2, 3]
    assert [parent_of(span) for span in spans] == [PRODUCER] * 3
    assert [of(span).get("error.type") for span in spans] == ["ValueError", "ValueError", None]
    assert [span.status.status_code for span in spans] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    assert spans[0].status.description == "no b'a'"
    assert [event.name for event in spans[0].events] == ["exception"]
    assert [span_of(error) for error in errors] == [(TRACE, id_of(span)) for span in spans[:2]], "the log names the span"


@pytest.mark.parametrize("by_batch", [False, True])
@pytest.mark.parametrize("later", [False, True])
def test_an_outcome_is_an_error_of_its_span(by_batch: bool, later: bool) -> None:
    received, answers = Received(), [Retry(), None]

    def answer(subject: object, context: Context) -> object:
        return answers.pop(0)

    async def answer_later(subject: object, context: Context) -> object:
        return answers.pop(0)

    decorate = processor if by_batch else record_processor
    with received.harness(decorate(answer_later if later else answer)) as harness:
        harness.deliver(b"a")
    assert [of(span).get("error.type") for span in received.spans("process")] == ["Retry", None]


def test_a_batch_that_names_a_record_has_failed() -> None:
    received, refused = Received(), list[bool]()

    @processor
    def handle(batch: Batch, context: Context) -> object:
        if refused:
            return {}
        refused.append(True)
        return dict.fromkeys(batch, Reject("not mine"))

    with received.harness(handle, on_failure="skip") as harness:
        harness.write(b"a", b"b")
        harness.settle()
        assert harness.put_aside == [(0, "skip")]
    first, second = received.spans("process")
    assert (of(first)["error.type"], first.status.description) == ("Reject", "Reject(reason='not mine')")
    assert second.status.status_code is StatusCode.UNSET


def test_a_call_that_is_cancelled_ends_its_span_with_an_error() -> None:
    received, slow = Received(), [True, False]

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if slow.pop(0):
            await asyncio.sleep(60)

    with received.harness(handle, process_timeout="1s") as harness:
        harness.deliver(carrying(b"a"))
    assert [of(span).get("error.type") for span in received.spans("process")] == ["asyncio.exceptions.CancelledError", None]


def test_a_propagator_that_raises_costs_the_span_and_not_the_record(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("no propagator")

    monkeypatch.setattr("streamkit.telemetry.tracing.context_in", broken)
    received, seen = Received(), list[str]()
    with received.harness(handlers(seen)[0]) as harness:
        harness.deliver(b"a")
        assert harness.checkpoint == 0
    assert seen == [NONE]
    assert "process stream has no span" in caplog.text


# -- checkpoints ---------------------------------------------------------------------------------------------------------


def test_the_checkpoint_of_one_record_is_in_the_trace_of_that_record() -> None:
    received = Received()
    with received.harness(failing({b"a": 1})) as harness:
        harness.deliver(carrying(b"a"))
        assert len(harness.errors) == 1
    (_, processed), (settled,) = received.spans("process"), received.spans("commit")
    assert (trace_of(settled), parent_of(settled)) == (TRACE, id_of(processed)), "the child of the attempt that has succeeded"
    assert (settled.name, settled.kind) == ("commit stream", SpanKind.CLIENT)
    assert of(settled) == {
        "messaging.system": "kafka",
        "messaging.consumer.group.name": "group",
        "messaging.client.id": "w1",
        "messaging.operation.name": "commit",
        "messaging.operation.type": "settle",
        "messaging.destination.name": "stream",
        "messaging.destination.partition.id": "0",
        "streamkit.position": "0",
        "streamkit.epoch": 1,
    }


def test_the_checkpoint_of_several_records_is_a_root_with_links_to_their_spans_and_no_link_comes_twice() -> None:
    received = Received()
    with received.harness(handlers([])[0]) as harness:
        harness.write(carrying(b"a"), carrying(b"b"))
        harness.settle()
        harness.write(b"c", b"d")
        harness.settle()
    spans = [id_of(span) for span in received.spans("process")]
    first, second = received.spans("commit")
    assert parent_of(first) == parent_of(second) == ""
    assert [links_of(first), links_of(second)] == [spans[:2], spans[2:]]


def test_the_checkpoint_of_a_part_of_a_batch_names_it_and_so_does_that_of_the_rest() -> None:
    received = Received()

    @processor(checkpoint="manual")
    async def handle(batch: Batch, context: Context) -> None:
        records = list(batch)
        await context.checkpoint(records[0].position)
        await context.checkpoint(records[1].position)

    with received.harness(handle) as harness:
        harness.write(b"a", b"b")
        harness.settle()
    (span,) = received.spans("process")
    assert [links_of(settled) for settled in received.spans("commit")] == [[id_of(span)], [id_of(span)]]


def test_a_save_that_fails_is_a_span_with_an_error_and_the_next_one_names_the_records_again() -> None:
    received = Received()
    with received.harness(handlers([])[0]) as harness:
        harness.script.fail("save", StoreUnavailableError("down"))
        harness.deliver(carrying(b"a"))
    (processed,) = received.spans("process")
    failed, saved = received.spans("commit")
    assert of(failed)["error.type"] == "streamkit.errors.StoreUnavailableError"
    assert [parent_of(failed), parent_of(saved)] == [id_of(processed)] * 2
    assert saved.status.status_code is StatusCode.UNSET


def test_a_new_assignment_does_not_name_what_an_earlier_one_has_done() -> None:
    received, seen = Received(), list[str]()

    @processor(checkpoint="manual")
    async def handle(batch: Batch, context: Context) -> None:
        seen.append(current())
        if context.epoch > 1:
            await context.checkpoint()

    with received.harness(handle) as harness:
        harness.write(b"a", b"b")
        harness.advance(1)
        harness.lose()
        harness.assign()
    assert len(seen) == 2
    assert [links_of(settled) for settled in received.spans("commit")] == [seen[1:]]


def test_what_is_not_sampled_is_not_sampled_in_the_checkpoint_either() -> None:
    received = Received(ParentBased(ALWAYS_OFF))
    with received.harness(handlers([])[0]) as harness:
        harness.deliver(carrying(b"a"))
        harness.deliver(b"b")
    assert [parent_of(span) for span in received.spans("process")] == [PRODUCER]
    assert len(received.spans("commit")) == 1


def test_links_lead_only_to_spans_that_somebody_has() -> None:
    received = Received(ParentBased(ALWAYS_ON))
    with received.harness(handlers([])[0]) as harness:
        harness.write(carrying(b"a", flags="00"), carrying(b"b"))
        harness.settle()
    (seen,), (settled,) = received.spans("process"), received.spans("commit")
    assert links_of(settled) == [id_of(seen)]


# -- dead letters --------------------------------------------------------------------------------------------------------


def test_a_dead_letter_carries_the_context_of_its_record_as_it_was() -> None:
    received = Received()
    with received.harness(failing({b"a": 9}), on_failure="dead_letter", retry_attempts=1) as harness:
        harness.deliver(carrying(b"a"))
        (letter,) = harness.dead_letters
    contexts = [value for name, value in letter.headers if name == "traceparent"]
    assert contexts == [f"00-{TRACE}-{PRODUCER}-01".encode()]


def test_the_letter_of_a_record_without_a_context_carries_that_of_its_last_attempt() -> None:
    received = Received()
    with received.harness(failing({b"a": 9}), on_failure="dead_letter", retry_attempts=2) as harness:
        harness.deliver(b"a")
        (letter,) = harness.dead_letters
    last = received.spans("process")[-1]
    assert letter.headers.get("traceparent") == f"00-{trace_of(last)}-{id_of(last)}-03".encode()  # sampled, and random


def test_writing_a_letter_is_a_span_in_the_trace_of_its_record() -> None:
    received = Received()
    with received.harness(failing({b"a": 9}), on_failure="dead_letter", retry_attempts=1) as harness:
        harness.deliver(carrying(b"a"))
        assert harness.put_aside == [(0, "dead_letter")]
    (processed,), (sent,) = received.spans("process"), received.spans("send")
    assert (trace_of(sent), parent_of(sent)) == (TRACE, id_of(processed))
    assert (sent.name, sent.kind) == ("send letters", SpanKind.CLIENT)
    assert of(sent) == {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "letters",
        "messaging.client.id": "w1",
        "messaging.system": "scripted",
        "messaging.batch.message_count": 1,
    }


def test_a_target_that_takes_nothing_is_the_error_of_the_span() -> None:
    received = Received()
    with received.harness(failing({b"a": 9}), on_failure="dead_letter", retry_attempts=1) as harness:
        harness.script.fail("send", OSError("full"))
        harness.deliver(carrying(b"a"))
        assert harness.halted is not None
    assert [of(span).get("error.type") for span in received.spans("send")] == ["streamkit.errors.DeadLetterError"]

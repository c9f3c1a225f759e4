"""Spans: one for each call of the user's code, for each checkpoint that a store answers, and for each write of dead letters.

A handler of records has a span for each record, whose parent is the context that the record carries; a handler of batches has one
for each batch, a root with links to its records. The span is current while the user's code runs: in its thread, or in its task of
the user's loop. A checkpoint's span is the child of the process span if it covers a single record, else a root with links.
Used through `instrumentation.py`, and only if there is a real tracer.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Literal

from opentelemetry import trace
from opentelemetry.context import Context as Surroundings
from opentelemetry.context import attach, detach, get_current
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from streamkit.model import Batch, Checkpoint, Partition, Record
from streamkit.processing import Context
from streamkit.telemetry.errors import error_type, first_failure, remember_span
from streamkit.telemetry.names import System, system_of
from streamkit.telemetry.propagation import carries_context, context_in, headers_of
from streamkit.telemetry.unsaved import MAX_SPANS, Done, Unsaved

__all__ = ["ProcessSpans", "Spans"]

Attributes = dict[str, AttributeValue]
Process = Callable[..., Any]

_log = logging.getLogger("streamkit.tracing")


class Spans:
    """Of one app."""

    def __init__(self, tracer: Tracer, system: System, *, group: str, worker: str) -> None:
        self._tracer = tracer
        self._system = system
        self._common: Attributes = {
            "messaging.system": system.name,
            "messaging.consumer.group.name": group,
            "messaging.client.id": worker,
        }
        self._unsaved = Unsaved()

    def assigned(self, partition: Partition) -> ProcessSpans:
        """Those of the calls of a new assignment."""
        self._unsaved.begin(partition)
        attributes = {**self._common, **_of(partition, "process", "process")}
        return ProcessSpans(self._tracer, self._system, f"process {partition.stream}", attributes, self._unsaved)

    def saved(self, checkpoint: Checkpoint, error: Exception | None, began: float, ended: float) -> None:
        """The span of a checkpoint that is over. Unix seconds."""
        partition, position = checkpoint.partition, checkpoint.at.position
        attributes = {**self._common, **_of(partition, self._system.settle, "settle"), "streamkit.epoch": checkpoint.epoch}
        covered: Sequence[Done] = ()
        if position is not None:
            attributes["streamkit.position"] = str(position)
            covered = self._unsaved.up_to(partition, position, is_saved=error is None)
        self._past(f"{self._system.settle} {partition.stream}", attributes, covered, began, ended, error)

    def context_of(self, record: Record) -> Sequence[tuple[str, bytes]]:
        """Headers that say in which span this record has failed; none if the record carries the context of its own creation."""
        if carries_context(record.headers):
            return ()
        span = self._unsaved.of(record.partition, record.position)
        return () if span is None else headers_of(span)

    def sent(self, target: str, records: Sequence[Record], began: float, ended: float, error: BaseException | None) -> None:
        """The span of dead letters that were written to `<plugin>:<stream>`. Unix seconds."""
        plugin, _, stream = target.partition(":")
        attributes: Attributes = {
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": stream,
            "messaging.client.id": self._common["messaging.client.id"],
            "messaging.system": system_of(plugin).name,
            "messaging.batch.message_count": len(records),
        }
        spans = [(record.position, self._unsaved.of(record.partition, record.position)) for record in records[:MAX_SPANS]]
        covered = [Done(position, position, span) for position, span in spans if span is not None]
        self._past(f"send {stream}", attributes, covered, began, ended, error)

    def _past(
        self, name: str, attributes: Attributes, covered: Sequence[Done], began: float, ended: float, error: BaseException | None
    ) -> None:
        """A span of what is over: the child of the one record's span that it is about, or a root with links."""
        parent, links = Surroundings(), list[Link]()
        if len({(one.first, one.last) for one in covered}) == 1 and covered[0].first == covered[0].last:
            parent = trace.set_span_in_context(NonRecordingSpan(covered[-1].span), parent)
        else:
            links = [Link(one.span) for one in covered if one.span.trace_flags.sampled]
        span = self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes, links, int(began * 1e9))
        if error is not None:
            fail(span, error)
        span.end(int(ended * 1e9))


class ProcessSpans:
    """Of the calls of one assignment."""

    def __init__(self, tracer: Tracer, system: System, name: str, attributes: Attributes, unsaved: Unsaved) -> None:
        self._tracer = tracer
        self._system = system
        self._attributes = attributes
        self._unsaved = unsaved
        self._name = name

    def around(self, process: Process, by: Literal["record", "batch"]) -> Process:
        """`process`, with a span around it that is current meanwhile. What it returns and raises stays."""
        begin: Callable[[Any, Context], _Current] = self._of_record if by == "record" else self._of_batch
        if inspect.iscoroutinefunction(process):

            @functools.wraps(process)
            async def traced_later(subject: object, context: Context) -> object:
                with self._begun(begin, subject, context) as span:
                    outcome: object = await process(subject, context)
                    judge(span, outcome)
                return outcome

            return traced_later

        @functools.wraps(process)
        def traced(subject: object, context: Context) -> object:
            with self._begun(begin, subject, context) as span:
                outcome = process(subject, context)
                judge(span, outcome)
            return outcome

        return traced

    def _begun(self, begin: Callable[[Any, Context], _Current], subject: object, context: Context) -> _Current:
        """A propagator or a sampler that raises costs the span, not the record."""
        try:
            return begin(subject, context)
        except Exception:
            _log.exception("%s has no span", self._name)
            return _Current(trace.INVALID_SPAN, get_current())

    def _of_record(self, record: Record, context: Context) -> _Current:
        position = record.position
        attributes = self._attributes | {
            "streamkit.position": str(position),
            "streamkit.epoch": context.epoch,
            "streamkit.attempt": context.attempt,
        }
        if self._system.sequence and position.sequence is not None:
            attributes[self._system.sequence] = position.sequence
        if self._system.enqueued:
            attributes[self._system.enqueued] = int(record.timestamp.timestamp())
        carried = context_in(record.headers)
        span = self._tracer.start_span(self._name, carried, SpanKind.CONSUMER, attributes)
        self._unsaved.add(context.partition, Done(position, position, span.get_span_context()))
        return _Current(span, trace.set_span_in_context(span, carried))

    def _of_batch(self, batch: Batch, context: Context) -> _Current:
        attributes = self._attributes | {
            "messaging.batch.message_count": len(batch),
            "streamkit.position": f"{batch.first}..{batch.last}",
            "streamkit.epoch": context.epoch,
            "streamkit.attempt": context.attempt,
        }
        root = Surroundings()
        span = self._tracer.start_span(self._name, root, SpanKind.CONSUMER, attributes, _links(batch))
        self._unsaved.add(context.partition, Done(batch.first, batch.last, span.get_span_context()))
        return _Current(span, trace.set_span_in_context(span, root))


class _Current:
    """A span that is current between entering and leaving, and over then. What is raised meanwhile is its error."""

    __slots__ = ("_span", "_surroundings", "_token")

    def __init__(self, span: Span, surroundings: Surroundings) -> None:
        self._span = span
        self._surroundings = surroundings

    def __enter__(self) -> Span:
        self._token = attach(self._surroundings)
        return self._span

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        detach(self._token)
        if error is not None:
            fail(self._span, error)
        self._span.end()


def judge(span: Span, outcome: object) -> None:
    """A call that has returned something else than None has not done all of its records."""
    if outcome is not None and (failure := first_failure(outcome)) is not None:
        span.set_attribute("error.type", error_type(failure))
        span.set_status(StatusCode.ERROR, repr(failure))


def fail(span: Span, error: BaseException) -> None:
    """The call has raised. The error remembers the span, for those who log it later."""
    span.record_exception(error)
    span.set_attribute("error.type", error_type(error))
    span.set_status(StatusCode.ERROR, str(error))
    if (context := span.get_span_context()).is_valid:
        remember_span(error, trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))


def _links(batch: Batch) -> list[Link]:
    """To the contexts of its records; as many as a span has by the SDK's default."""
    found: list[Link] = []
    for record in batch:
        carried = trace.get_current_span(context_in(record.headers)).get_span_context()
        if carried.is_valid:
            found.append(Link(carried))
            if len(found) == MAX_SPANS:
                break
    return found


def _of(partition: Partition, name: str, kind: str) -> Attributes:
    return {
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": partition.stream,
        "messaging.destination.partition.id": partition.id,
    }

"""Trace context in headers: who reads which, and what of other people's headers is no context."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags

from streamkit.model import Headers
from streamkit.telemetry.propagation import carries_context, context_in, headers_of
from tests.unit.telemetry.received import PRODUCER, TRACE

PARENT = f"00-{TRACE}-{PRODUCER}-01".encode()
OTHER = f"00-{TRACE}-{'c' * 16}-01".encode()


def span_in(*headers: tuple[str, bytes | None]) -> SpanContext:
    return trace.get_current_span(context_in(Headers(headers))).get_span_context()


def id_in(*headers: tuple[str, bytes | None]) -> str:
    """Of the span, or empty."""
    span = span_in(*headers)
    return trace.format_span_id(span.span_id) if span.is_valid else ""


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT", "Diagnostic-Id", "diagnostic-id"])
def test_a_record_says_which_span_has_made_it(name: str) -> None:
    assert id_in((name, PARENT)) == PRODUCER


def test_traceparent_comes_before_diagnostic_id_and_the_last_of_a_name_before_others() -> None:
    assert id_in(("Diagnostic-Id", OTHER), ("traceparent", PARENT)) == PRODUCER
    assert id_in(("traceparent", OTHER), ("traceparent", PARENT)) == PRODUCER
    assert id_in(("traceparent", b"nonsense"), ("Diagnostic-Id", PARENT)) == PRODUCER


def test_state_and_baggage_come_along() -> None:
    headers = Headers([("traceparent", PARENT), ("tracestate", b"vendor=7"), ("baggage", b"tenant=blue")])
    assert span_in(*headers).trace_state.get("vendor") == "7"
    assert baggage.get_baggage("tenant", context_in(headers)) == "blue"


@pytest.mark.parametrize("value", [None, b"", b"\xff\xfe", "00-ä".encode(), b"00-1-2-3", b"|parent.1.", b"0" * 10_000])
@pytest.mark.parametrize("name", ["traceparent", "Diagnostic-Id"])
def test_what_is_no_context_counts_as_none(name: str, value: bytes | None) -> None:
    assert id_in((name, value)) == ""
    assert not carries_context(Headers([(name, value)]))


def test_a_record_without_headers_has_an_empty_context_whatever_is_current() -> None:
    current = trace.NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(current):
        assert context_in(Headers()) == Context()
        assert id_in(("other", b"x")) == ""


def test_what_is_written_is_what_is_read() -> None:
    span = span_in(("traceparent", PARENT))
    assert headers_of(span) == [("traceparent", PARENT)]

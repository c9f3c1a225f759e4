"""Trace context in the headers of records: read by the propagators that the process has set, and put into dead letters.

Values of headers are bytes. Names are compared without case, since AMQP and HTTP bridges change it. `Diagnostic-Id` is what SDKs of
Azure write beside, or in place of, `traceparent`, in the same form. What is no text or no context counts as none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import NonRecordingSpan, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamkit.model import Headers

__all__ = ["carries_context", "context_in", "headers_of"]

DIAGNOSTIC_ID = "diagnostic-id"

_W3C = TraceContextTextMapPropagator()


class _Lower(Getter[Mapping[str, str]]):
    """Of headers whose names are in lower case."""

    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = carrier.get(key.lower())
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return list(carrier)


_LOWER = _Lower()


def context_in(headers: Headers) -> Context:
    """The context that the record was created in; empty if it carries none."""
    nothing = Context()
    if not headers:
        return nothing
    texts = _texts(headers)
    found = propagate.extract(texts, nothing, _LOWER)
    if DIAGNOSTIC_ID in texts and not trace.get_current_span(found).get_span_context().is_valid:
        return _W3C.extract({"traceparent": texts[DIAGNOSTIC_ID]}, found)
    return found


def carries_context(headers: Headers) -> bool:
    """Whether the record has a trace context of its own, which nobody else may change."""
    return bool(headers) and trace.get_current_span(context_in(headers)).get_span_context().is_valid


def headers_of(span: SpanContext) -> Sequence[tuple[str, bytes]]:
    """What says that a record was created in `span`."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(NonRecordingSpan(span), Context()))
    return [(name, value.encode()) for name, value in carrier.items()]


def _texts(headers: Headers) -> dict[str, str]:
    """Those that are text, by their names in lower case; the last one of a name counts."""
    texts = {}
    for name, value in headers:
        if value is not None and value.isascii():
            texts[name.lower()] = value.decode("ascii")
    return texts

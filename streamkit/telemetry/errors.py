"""What a failure is called in telemetry, and in which span an exception was raised. Pure: imports nothing of OpenTelemetry."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from streamkit.outcome import Reject, Retry, Stop

__all__ = ["error_type", "first_failure", "remember_span", "span_of"]

_SPAN = "__streamkit_span__"


def error_type(failure: object) -> str:
    """The class, with its module unless it is Python's own; of an outcome `Retry`, `Reject` or `Stop`."""
    kind = type(failure)
    is_short = kind.__module__ == "builtins" or isinstance(failure, Retry | Reject | Stop)
    return kind.__qualname__ if is_short else f"{kind.__module__}.{kind.__qualname__}"


def first_failure(answer: object) -> object:
    """What a processor has answered in place of None: an outcome, the first one that a mapping of records names, or something that
    the engine will refuse. None: all is done."""
    if isinstance(answer, Mapping):
        return next((outcome for outcome in answer.values() if outcome is not None), None)
    return answer


def remember_span(error: BaseException, trace_id: str, span_id: str) -> None:
    """Note where an exception was raised, for the log, which is written elsewhere and later."""
    with contextlib.suppress(AttributeError, TypeError):  # a class with slots has no room for it
        setattr(error, _SPAN, (trace_id, span_id))


def span_of(error: BaseException) -> tuple[str, str] | None:
    """Trace id and span id, in hexadecimal digits; None where nothing was traced."""
    found = getattr(error, _SPAN, None)
    return found if isinstance(found, tuple) else None

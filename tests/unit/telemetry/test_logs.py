"""What the log observer writes, where it does not write every event, and what a line says besides its text."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanContext

from streamkit.errors import RetriesExhaustedError
from streamkit.model import Partition, Position
from streamkit.telemetry.errors import remember_span
from streamkit.telemetry.logs import JsonFormatter, LogObserver


def test_what_adapters_notice_is_logged_at_the_first_and_at_ten_times_as_many(caplog: pytest.LogCaptureFixture) -> None:
    observer, shard = LogObserver(), Partition("orders", "shard-1")

    with caplog.at_level(logging.WARNING, logger="streamkit"):
        for records in (3, 4, 2, 1, 89, 1):
            observer.on_noticed(shard, "damaged", records)

    assert [record.getMessage() for record in caplog.records] == [
        "orders/shard-1: 3 records of orders so far: damaged",
        "orders/shard-1: 10 records of orders so far: damaged",
        "orders/shard-1: 100 records of orders so far: damaged",
    ]


P0 = Partition("orders", "0")
SPAN = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def lines(told: Callable[[LogObserver], None]) -> list[dict[str, object]]:
    """What is written as JSON, without the time."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("streamkit")
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.DEBUG
    try:
        told(LogObserver())
    finally:
        logger.removeHandler(handler)
        logger.level = before
    return [{name: value for name, value in json.loads(line).items() if name != "time"} for line in stream.getvalue().splitlines()]


def test_a_line_about_a_partition_has_its_epoch_from_the_assignment_to_the_end() -> None:
    def told(observer: LogObserver) -> None:
        observer.on_assigned(P0, 7)
        observer.on_attempt_failed(P0, ValueError("no"), 1)
        observer.on_recovered(P0)
        observer.on_lost(P0, 7, "taken")
        observer.on_recovered(P0)

    assert [(line["partition"], line.get("epoch")) for line in lines(told)] == [("orders/0", 7)] * 4 + [("orders/0", None)]


def test_a_line_about_a_failure_names_the_span_that_it_was_raised_in() -> None:
    error = ValueError("no such customer")
    remember_span(error, *SPAN)
    halt = RetriesExhaustedError("orders/0/4 failed after 3 attempts", record="orders/0/4", attempts=3)
    halt.__cause__ = error

    def told(observer: LogObserver) -> None:
        observer.on_assigned(P0, 7)
        observer.on_attempt_failed(P0, error, 1)
        observer.on_put_aside(P0, Position(4), error, "dead_letter")
        observer.on_halted(P0, halt)
        observer.on_problem("close of orders/0", error)

    _, failed, aside, halted, problem = lines(told)
    traced = {"trace_id": SPAN[0], "span_id": SPAN[1]}
    assert failed == {
        "level": "warning",
        "logger": "streamkit",
        "message": "orders/0: attempt 1 failed: ValueError: no such customer",
        "partition": "orders/0",
        "epoch": 7,
        **traced,
    }
    assert (aside["position"], aside["trace_id"]) == ("4", SPAN[0])
    assert (halted["record"], halted["span_id"]) == ("orders/0/4", SPAN[1])
    assert {name: problem.get(name) for name in traced} == traced


def test_a_line_that_is_written_inside_a_span_names_it_and_one_outside_does_not() -> None:
    span = SpanContext(int(SPAN[0], 16), int(SPAN[1], 16), is_remote=False)
    formatter, record = JsonFormatter(), logging.makeLogRecord({"msg": "shipped", "levelname": "INFO"})
    with trace.use_span(trace.NonRecordingSpan(span)):
        inside = json.loads(formatter.format(record))
    assert (inside["trace_id"], inside["span_id"]) == SPAN
    assert "trace_id" not in json.loads(formatter.format(record))

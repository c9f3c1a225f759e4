"""Histograms of the real engine in virtual time: one number for each call, save, and write of dead letters."""

from __future__ import annotations

import asyncio

import pytest

from streamkit.errors import StoreUnavailableError
from streamkit.model import Record
from streamkit.processing import Context, record_processor
from tests.unit.engine.rig import failing
from tests.unit.telemetry.received import Received

PROCESS, OPERATION = "messaging.process.duration", "messaging.client.operation.duration"


@pytest.mark.parametrize(("ordering", "calls"), [("partition", 1), ("key", 3)])
def test_a_call_is_measured_once_for_all_its_records(ordering: str, calls: int) -> None:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(2)

    received = Received()
    with received.harness(handle, ordering=ordering) as harness:
        harness.write(b"a", b"b", b"c")
        harness.settle()
        (point,) = received.points(PROCESS)
    assert point.sum == pytest.approx(6.0)
    assert point.count == calls
    assert dict(point.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.consumer.group.name": "group",
        "messaging.destination.name": "stream",
        "messaging.destination.partition.id": "0",
        "messaging.operation.name": "process",
    }


def test_a_call_that_fails_is_a_number_of_its_own() -> None:
    received = Received()
    with received.harness(failing({b"a": 2})) as harness:
        harness.deliver(b"a")
        assert len(harness.errors) == 2
    counts = {(point.attributes or {}).get("error.type"): point.count for point in received.points(PROCESS)}
    assert counts == {"ValueError": 2, None: 1}


def test_saves_and_dead_letters_are_measured_under_the_name_of_their_operation() -> None:
    received = Received()
    with received.harness(failing({b"a": 9}), on_failure="dead_letter", retry_attempts=1) as harness:
        harness.script.fail("save", StoreUnavailableError("down"))
        harness.deliver(b"a")
        assert harness.put_aside == [(0, "dead_letter")]
    found = {
        (attributes["messaging.operation.name"], attributes["messaging.destination.name"], attributes.get("error.type")): point.count
        for point in received.points(OPERATION)
        if (attributes := point.attributes or {})
    }
    assert found == {
        ("commit", "stream", "streamkit.errors.StoreUnavailableError"): 1,
        ("commit", "stream", None): 1,
        ("send", "letters", None): 1,
    }

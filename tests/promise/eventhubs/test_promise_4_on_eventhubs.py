"""Promise 4 on Event Hubs and Blob Storage: one owner. As for every broker with leases in a store; and the service helps."""

from __future__ import annotations

import pytest
from streamkit_sandbox.eventhubs.server import EventHubsServer

from tests.promise.workers.promise_4 import (
    test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed,
    test_others_take_over_soon_after_sigterm_and_after_kill_9,
)
from tests.promise.workers.running import MakePlace

pytestmark = pytest.mark.integration

__all__ = [
    "test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed",
    "test_others_take_over_soon_after_sigterm_and_after_kill_9",
]


def test_the_service_itself_cuts_off_who_has_lost_its_lease(place: MakePlace, eventhubs_server: EventHubsServer) -> None:
    """By the epoch of the lease, which is the owner level of the link."""
    here = place()
    first = here.partition(0)
    here.start("one", lease_duration=here.short_lease)
    here.until(lambda: eventhubs_server.readers(here.stream), "it reads")
    before = here.leases()[first].epoch
    assert [reader.epoch for reader in eventhubs_server.readers(here.stream)] == [before]
    here.freeze("one")
    here.start("two", lease_duration=here.short_lease)
    here.until(lambda: here.lines("begin", "two"), "the other one has the lease")
    here.until(lambda: len(eventhubs_server.admissions(here.stream)) == 2, "and reads")
    after = here.leases()[first].epoch
    assert after > before
    assert [reader.epoch for reader in eventhubs_server.readers(here.stream)] == [after], "the frozen one's link is gone, though it sleeps"
    here.thaw("one")
    here.until(lambda: here.lines("lost", "one"), "it knows")
    here.write(["a"])
    here.until(lambda: here.names() == ["a"], "it is read")
    assert [reader.epoch for reader in eventhubs_server.admissions(here.stream)] == [before, after], "nobody came back"
    assert [line.worker for line in here.lines("record")] == ["two"]

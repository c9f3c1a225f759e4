"""Promise 3 on Event Hubs and Blob Storage: order in a partition while links break, a worker dies, and partitions are added."""

from __future__ import annotations

from collections import defaultdict

import pytest
from streamkit_sandbox.eventhubs.server import EventHubsServer

from tests.promise.workers.running import MakePlace

pytestmark = pytest.mark.integration

EACH = 12
ROUNDS = 6


def test_order_holds_while_links_break_a_worker_dies_and_partitions_are_added(place: MakePlace, eventhubs_server: EventHubsServer) -> None:
    here = place(2)
    for worker in ("one", "two"):
        here.start(worker, lease_duration=here.short_lease, PACE_SECONDS="0.02")
    written = 0
    for round_number in range(ROUNDS):
        partitions = 2 if round_number < ROUNDS - 1 else 3
        here.until(lambda: len(eventhubs_server.readers(here.stream)) == partitions, "all partitions are read")  # noqa: B023
        for index in range(partitions):
            names = [f"{index}.{number}" for number in range(round_number * EACH, (round_number + 1) * EACH)]
            here.write(names, slice_of=(index, partitions))
        written += partitions * EACH
        # In the middle of what has just been written, some of it read ahead and some on its way.
        here.until(lambda: len(set(here.names())) >= written - EACH, "half of it is done")  # noqa: B023
        if round_number < 2:
            assert eventhubs_server.detach(here.stream) >= 2, "links were open"
        elif round_number < ROUNDS - 2:
            assert eventhubs_server.drop_connections() >= 2
        elif round_number == ROUNDS - 2:
            here.kill(here.owner(here.partition(0)))
            eventhubs_server.grow(here.stream, 3)
    here.until(lambda: len(set(here.names())) == written, "all are done, those of the new partition too")

    first_sightings: dict[str, list[str]] = defaultdict(list)
    highest: dict[tuple[str, int], int] = {}
    for line in here.lines("record"):
        if line.name not in first_sightings[line.partition]:
            first_sightings[line.partition].append(line.name)
        assignment = (line.partition, line.epoch)
        assert line.sequence > highest.get(assignment, -1), "within an assignment positions rise: nothing comes twice, nothing goes back"
        highest[assignment] = line.sequence
    for index, begin in ((0, 0), (1, 0), (2, (ROUNDS - 1) * EACH)):
        assert first_sightings[here.partition(index)] == [f"{index}.{number}" for number in range(begin, ROUNDS * EACH)]

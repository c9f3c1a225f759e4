"""Promise 6 on Event Hubs: memory is bounded, though events are large and the processor stands still."""

from __future__ import annotations

import sys

import pytest

from tests.promise.workers.promise_6 import mib_above_the_start
from tests.promise.workers.running import MakePlace

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")]

PARTITIONS, RECORDS = 12, 16
RECORD_BYTES = 1_000_000
BOUND_MIB = 110
"""What 16 MiB read ahead and 8 MiB in flight come to, with two events for each partition on their way and one in its processor's hands:
62 to 80. Without either bound it is more than 200."""


def test_memory_is_bounded_while_the_processor_stands_still(place: MakePlace) -> None:
    bounds = {"eventhubs__read_bytes": "16MiB", "max_in_flight_bytes": "8MiB", "eventhubs__prefetch": "2"}
    assert mib_above_the_start(place(PARTITIONS), PARTITIONS, RECORDS, RECORD_BYTES, **bounds) <= BOUND_MIB

"""Promise 6 on Kinesis: memory is bounded, though answers have tens of megabytes and the processor stands still."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from streamkit_sandbox.kinesalite import KinesaliteServer

from tests.promise.kinesis.running import KinesisPlace
from tests.promise.workers.promise_6 import mib_above_the_start

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")]

SHARDS, RECORDS = 12, 24
RECORD_BYTES = 1_000_000
READ_RECORDS = 10
"""Answers of 10 MB, as the service's largest are."""
BOUND_MIB = 180
"""What 16 MiB read ahead and 8 MiB in flight come to, with two answers being taken apart, a record in the hands of each shard's
processor, and what the allocator keeps of all that: 103 to 127, and no more with three times as many records. Without the first bound it
is 215, without the second 337."""


def test_memory_is_bounded_while_the_processor_stands_still(
    place: Callable[..., KinesisPlace], kinesalite_server: KinesaliteServer
) -> None:
    here = place(SHARDS, server=kinesalite_server)
    bounds = {"kinesis__read_bytes": "16MiB", "max_in_flight_bytes": "8MiB", "kinesis__read_threads": "2"}
    speed = {"kinesis__read_records": str(READ_RECORDS), "kinesis__bytes_per_second": "100MB"}
    assert mib_above_the_start(here, SHARDS, RECORDS, RECORD_BYTES, **bounds, **speed) <= BOUND_MIB

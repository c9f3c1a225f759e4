"""Promise 6 on Kinesis: memory is bounded, though answers have tens of megabytes and the processor stands still."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamkit_sandbox.kinesalite import KinesaliteServer

from tests.promise.kinesis.running import Place

pytestmark = [pytest.mark.integration, pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")]

SHARDS, RECORDS = 12, 10
RECORD_BYTES = 1_000_000
READ_RECORDS = 10
"""Answers of 10 MB, as the service's largest are."""
BOUND_MIB = 105
"""What 16 MiB read ahead and 8 MiB in flight come to, with two answers being taken apart and a record in the hands of each shard's
processor: 65 to 85. Without either bound it is 127."""


def test_memory_is_bounded_while_the_processor_stands_still(place: Callable[..., Place], kinesalite_server: KinesaliteServer) -> None:
    here = place(SHARDS, server=kinesalite_server)
    padding = "x" * (RECORD_BYTES - 50)
    for index in range(SHARDS):
        here.write([f"{index}.hold"], slice_of=(index, SHARDS), verb="hold")
        here.write([f"{index}.{number}" for number in range(RECORDS)], slice_of=(index, SHARDS), more=padding)
    bounds = {"kinesis__read_bytes": "16MiB", "max_in_flight_bytes": "8MiB", "kinesis__read_threads": "2"}
    here.start("one", kinesis__read_records=str(READ_RECORDS), kinesis__bytes_per_second="100MB", **bounds)
    here.until(lambda: len(here.lines("call")) == SHARDS, "the processor stands still in every shard")
    wait_until_it_grows_no_more(here)
    here.gate.touch()
    here.until(lambda: len(here.names()) == SHARDS * (RECORDS + 1), "all are done", 60)
    base, peak = here.lines("begin")[0].peak >> 10, here.lines()[-1].peak >> 10
    print(f"{SHARDS * RECORDS * RECORD_BYTES >> 20} MiB were read with {peak - base} MiB above the {base} MiB of the start")
    assert peak - base <= BOUND_MIB


def wait_until_it_grows_no_more(here: Place) -> None:
    """For a second."""
    status = Path(f"/proc/{here.pid('one')}/status")
    seen, since = "", time.monotonic()

    def stands_still() -> bool:
        nonlocal seen, since
        now = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > 1

    here.until(stands_still, "it stops to grow")

"""Promise 6, with real workers: how much memory one takes while its processor stands still before more than it may hold."""

from __future__ import annotations

import time
from pathlib import Path

from tests.promise.workers.running import Place

__all__ = ["mib_above_the_start"]


def mib_above_the_start(here: Place, partitions: int, records: int, record_bytes: int, **variables: str) -> int:
    """Fills the stream, stands still in every partition until the process grows no more, then does all. MiB above the start, at most."""
    padding = "x" * (record_bytes - 50)
    for index in range(partitions):
        here.write([f"{index}.hold"], slice_of=(index, partitions), verb="hold")
        here.write([f"{index}.{number}" for number in range(records)], slice_of=(index, partitions), more=padding)
    here.start("one", **variables)
    here.until(lambda: len(here.lines("call")) == partitions, "the processor stands still in every partition")
    _wait_until_it_grows_no_more(here)
    here.gate.touch()
    here.until(lambda: len(here.names()) == partitions * (records + 1), "all are done")
    base, peak = here.lines("begin")[0].peak >> 10, here.lines()[-1].peak >> 10
    print(f"{partitions * records * record_bytes >> 20} MiB were read with {peak - base} MiB above the {base} MiB of the start")
    return peak - base


def _wait_until_it_grows_no_more(here: Place) -> None:
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

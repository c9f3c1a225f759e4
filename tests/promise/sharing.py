"""One of many workers that share leases in one sqlite file; run as a process by `test_promise_4_ten_workers.py`.

Writes a line for each record and each change of ownership: `<monotonic ns> <worker> <what> <partition> <epoch> <reason>`.
"""

from __future__ import annotations

import os
import time

from streamkit import App, Context, Record, record_processor, run
from streamkit.model import Partition
from streamkit.plugin import Observer, register
from tests.promise.chaos import counting

WORKER = os.environ["STREAMKIT_WORKER"]
LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(what: str, partition: Partition, epoch: int, reason: str = "-") -> None:
    os.write(LOG, f"{time.monotonic_ns()} {WORKER} {what} {partition.id} {epoch} {reason.replace(' ', '_')}\n".encode())


@record_processor
async def handle(record: Record, context: Context) -> None:
    note("record", record.partition, context.epoch)


class Notes(Observer):
    def on_assigned(self, partition: Partition, epoch: int) -> None:
        note("assigned", partition, epoch)

    def on_revoked(self, partition: Partition, epoch: int, reason: str) -> None:
        note("revoked", partition, epoch, reason)

    def on_lost(self, partition: Partition, epoch: int, reason: str) -> None:
        note("lost", partition, epoch, reason)


if __name__ == "__main__":
    register(counting)
    app = App(handle)
    app.observe(Notes())
    run(app)

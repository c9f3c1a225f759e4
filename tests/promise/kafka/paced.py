"""The processor of the first example, paced, for `streamkit run paced:app`: notes in its log every record and every checkpoint.

A line is `<monotonic ns> <worker> record|saved|assigned <partition> <offset>`; the clock is the machine's, so that the logs
of several workers can be merged. A line is written before the record counts as done: a kill -9 cannot lose it.
"""

import os
import time

from streamkit import App, record_processor
from streamkit.plugin import Observer

WORKER = os.environ["STREAMKIT_WORKER"]
PACE = float(os.environ["PACE_SECONDS"])
LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(what, partition, offset):
    os.write(LOG, f"{time.monotonic_ns()} {WORKER} {what} {partition.id} {offset}\n".encode())


@record_processor
def handle(record, context):
    time.sleep(PACE)
    note("record", record.partition, record.position.sequence)


class Notes(Observer):
    def on_assigned(self, partition, epoch):
        note("assigned", partition, epoch)

    def on_checkpointed(self, checkpoint):
        note("saved", checkpoint.partition, checkpoint.at.position.sequence)


app = App(handle)
app.observe(Notes())

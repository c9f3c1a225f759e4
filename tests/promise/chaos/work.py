"""A processor that has everything against it, for `streamkit run work:app`: some records fail at first, some always, some hang.

Notes in its log every record that is done and every assignment, as `<monotonic ns> <worker> <what> <partition> <number>`. A line
is written before the record counts as done: a kill -9 cannot lose it.
"""

import os
import time

from streamkit import App, record_processor
from streamkit.plugin import Observer, register
from tests.promise.chaos import counting

WORKER = os.environ["STREAMKIT_WORKER"]
IS_REPLAY = WORKER == "replay"
"""The cause is mended: nothing is poison any more."""
LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def is_poison(number):
    return number % 97 == 13


def is_flaky(number):
    return number % 41 == 7


def is_slow(number):
    return number % 83 == 5


def note(what, partition, number):
    os.write(LOG, f"{time.monotonic_ns()} {WORKER} {what} {partition} {number}\n".encode())


@record_processor
def handle(record, context):
    number = int(record.value)
    if is_poison(number) and not IS_REPLAY:
        raise ValueError(f"{number} is poison")
    if is_flaky(number) and context.attempt == 1:
        raise ConnectionError("not this time")
    time.sleep(0.4 if is_slow(number) else 0.001)
    note("record", record.origin_partition if IS_REPLAY else record.partition.id, number)


class Notes(Observer):
    def on_assigned(self, partition, epoch):
        note("assigned", partition.id, epoch)


register(counting)
app = App(handle)
app.observe(Notes())

"""A processor that notes what it is given, for `streamkit run work:Noting`.

Each line is `<monotonic ns> <worker> <what> <shard> <key> <number>`: `begin`, `record`, `ended`, `lost`, `revoked`. A line is written
before the record counts as done: a kill -9 cannot lose it.
"""

import os
import time

from streamkit import Processor

WORKER = os.environ["STREAMKIT_WORKER"]
LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Noting(Processor):
    def initialize(self, context):
        self.shard = context.partition.id
        self.note("begin")

    def process(self, batch, context):
        for record in batch:
            self.note("record", record.key.decode(), int(record.value.split()[0]))

    def partition_ended(self, context):
        self.note("ended")

    def partition_revoked(self, context):
        self.note("revoked")

    def partition_lost(self, context):
        self.note("lost")

    def note(self, what, key="-", number=-1):
        os.write(LOG, f"{time.monotonic_ns()} {WORKER} {what} {self.shard} {key} {number}\n".encode())

"""A processor that notes what it is given, for `streamkit run work:Noting`, and holds where a record asks for it.

A record's value is `<key> <number> go|hold`. With `hold` the call waits until the worker drains, so a worker can be stopped at a chosen
record. Each line of the log is `<monotonic ns> <what> <shard> <sequence> <sub-sequence> <key> <number>`, what: `begin` (the position is the
start's), `record`, `held`, `ended`, `revoked` or `lost`. A line is written before the record counts as done: a kill -9 cannot lose it.
"""

import os
import time

from streamkit import Processor

LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


class Noting(Processor):
    def initialize(self, context):
        self.shard = context.partition.id
        self.note("begin", context.start.position)

    def process(self, batch, context):
        for record in batch:
            key, number, hold = record.value.decode().split()
            self.note("record", record.position, key, number)
            if hold == "hold":
                self.note("held", record.position, key, number)
                while context.remaining is None and not context.lost:
                    time.sleep(0.02)

    def partition_ended(self, context):
        self.note("ended")

    def partition_revoked(self, context):
        self.note("revoked")

    def partition_lost(self, context):
        self.note("lost")

    def note(self, what, position=None, key="-", number=-1):
        place = f"{position.sequence} {position.sub_sequence}" if position is not None else "-1 0"
        os.write(LOG, f"{time.monotonic_ns()} {what} {self.shard} {place} {key} {number}\n".encode())

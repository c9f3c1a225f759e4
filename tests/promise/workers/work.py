"""A processor that notes what it is given and what becomes of its partitions, for `streamkit run work:app`.

A record's value is `<name> <verb>`, and perhaps more behind that. Verbs: `go`; `hold`, which waits until the file GATE is there or the
worker drains; `fail`, which fails until GATE is there; `thrice`, which fails twice. A line of the log is a JSON object, written before
the record counts as done: a kill -9 cannot lose it. Its clock is the machine's, so that logs of several workers can be merged.
"""

import json
import os
import re
import time
from pathlib import Path

from streamkit import App, Processor
from streamkit.plugin import Observer

WORKER = os.environ["STREAMKIT_WORKER"]
GATE = os.environ["GATE"]
PACE_SECONDS = float(os.environ.get("PACE_SECONDS", "0"))
LOG = os.open(os.environ["WORKER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


STATUS = Path("/proc/self/status")


def peak_kib():
    """Of this program. What `getrusage` says is at least what the process had that started it. Elsewhere than on Linux: 0."""
    return int(re.search(r"VmHWM:\s+(\d+)", STATUS.read_text())[1]) if STATUS.exists() else 0


def note(what, partition, position=None, name="", epoch=0):
    line = {
        "at": time.monotonic_ns(),
        "worker": WORKER,
        "what": what,
        "partition": partition.id,
        "sequence": -1 if position is None or position.sequence is None else position.sequence,
        "sub_sequence": 0 if position is None else position.sub_sequence,
        "name": name,
        "epoch": epoch,
        "peak": peak_kib(),
    }
    os.write(LOG, json.dumps(line).encode() + b"\n")


class Noting(Processor):
    def initialize(self, context):
        note("begin", context.partition, context.start.position, epoch=context.epoch)

    def process(self, batch, context):
        for record in batch:
            name, verb = record.value[:40].decode().split()[:2]
            note("call", record.partition, record.position, name, context.epoch)
            if verb == "thrice" and context.attempt < 3:
                raise ValueError(f"{name}, attempt {context.attempt}")
            if verb == "fail" and not os.path.exists(GATE):
                raise ValueError(f"{name} fails")
            while verb == "hold" and context.remaining is None and not os.path.exists(GATE):
                time.sleep(0.02)
            time.sleep(PACE_SECONDS)
            note("record", record.partition, record.position, name, context.epoch)

    def partition_ended(self, context):
        note("ended", context.partition, epoch=context.epoch)

    def partition_revoked(self, context):
        note("revoked", context.partition, epoch=context.epoch)

    def partition_lost(self, context):
        note("lost", context.partition, epoch=context.epoch)


class Notes(Observer):
    def on_checkpointed(self, checkpoint):
        note("saved", checkpoint.partition, checkpoint.at.position, epoch=checkpoint.epoch)


app = App(Noting)
app.observe(Notes())

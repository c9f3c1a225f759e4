"""The nouns: pure values without I/O, threads or clocks. Everything else in streamkit speaks in these."""

from streamkit.model.capabilities import Capabilities
from streamkit.model.checkpoint import Checkpoint, ParkedKey
from streamkit.model.lease import Lease
from streamkit.model.partition import Partition
from streamkit.model.position import Position, StartPosition
from streamkit.model.record import Batch, Headers, PlainRecord, Record

__all__ = [
    "Batch",
    "Capabilities",
    "Checkpoint",
    "Headers",
    "Lease",
    "ParkedKey",
    "Partition",
    "PlainRecord",
    "Position",
    "Record",
    "StartPosition",
]

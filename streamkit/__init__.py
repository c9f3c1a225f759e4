"""streamkit: one processor, any partitioned log.

from streamkit import record_processor

@record_processor
def handle(record, context):
    print(record.key, record.value)
"""

from streamkit.app import App, run
from streamkit.errors import (
    BrokerError,
    CheckpointError,
    ConfigurationError,
    DrainTimeoutError,
    FencedError,
    OwnershipError,
    PartitionLostError,
    ProcessingError,
    StreamkitError,
)
from streamkit.model import Batch, Partition, Position, Record, StartPosition
from streamkit.outcome import Reject, Retry, Stop
from streamkit.processing import (
    CheckpointFuture,
    Context,
    LostContext,
    PreparedCheckpoint,
    PreparedFuture,
    Processor,
    processor,
    record_processor,
)

__version__ = "0.1.0"

__all__ = [
    "App",
    "Batch",
    "BrokerError",
    "CheckpointError",
    "CheckpointFuture",
    "ConfigurationError",
    "Context",
    "DrainTimeoutError",
    "FencedError",
    "LostContext",
    "OwnershipError",
    "Partition",
    "PartitionLostError",
    "Position",
    "PreparedCheckpoint",
    "PreparedFuture",
    "ProcessingError",
    "Processor",
    "Record",
    "Reject",
    "Retry",
    "StartPosition",
    "Stop",
    "StreamkitError",
    "processor",
    "record_processor",
    "run",
]

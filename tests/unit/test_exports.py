"""What users and plugin authors may import. A change here is a change of the public interface: say so in the changelog."""

from __future__ import annotations

import importlib

import pytest

PUBLIC = {
    "streamkit": [
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
    ],
    "streamkit.plugin": [
        "Adapter",
        "AdapterContext",
        "Assigned",
        "BegunSave",
        "Broker",
        "Budget",
        "CaughtUp",
        "CheckpointStore",
        "Claim",
        "Duration",
        "Ended",
        "Event",
        "Exchange",
        "Exported",
        "Failed",
        "Foreign",
        "Grant",
        "GroupBroker",
        "Idle",
        "LeaseStore",
        "Lost",
        "Membership",
        "NewRecord",
        "Observer",
        "Plugin",
        "PolledStore",
        "Producer",
        "Reader",
        "Revoked",
        "Size",
        "hookimpl",
        "register",
    ],
}


@pytest.mark.parametrize("module", list(PUBLIC))
def test_the_public_names_are_these(module: str) -> None:
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == PUBLIC[module]
    for name in imported.__all__:
        assert getattr(imported, name) is not None

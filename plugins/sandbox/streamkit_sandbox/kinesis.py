"""kinesis-local, the most faithful local Kinesis: reshards as AWS does, knows shard filters, pages, ARNs and lag.

What it is not: quick with much data (a stream slows down with what it holds; keep below 5,000 records), strict (it limits
no rates and lets PutRecords exceed 500 records), or able to trim. For volume see `kinesalite.py`, for limits `fault_proxy.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from streamkit_sandbox.aws_http import REGION
from streamkit_sandbox.local_kinesis import LocalKinesis
from streamkit_sandbox.local_server import Program
from streamkit_sandbox.node import npm_package

__all__ = ["KinesisServer"]

PACKAGE = "kinesis-local@0.6.2"
FAST = {
    # Short, and yet long enough for a client to see CREATING and UPDATING.
    "CREATE_STREAM_DURATION": "20ms",
    "DELETE_STREAM_DURATION": "20ms",
    "SPLIT_SHARD_DURATION": "100ms",
    "MERGE_SHARDS_DURATION": "100ms",
    "UPDATE_SHARD_COUNT_DURATION": "100ms",
    "UPDATE_STREAM_MODE_DURATION": "100ms",
    "REGISTER_STREAM_CONSUMER_DURATION": "20ms",
    "DEREGISTER_STREAM_CONSUMER_DURATION": "20ms",
    "START_STREAM_ENCRYPTION_DURATION": "20ms",
    "STOP_STREAM_ENCRYPTION_DURATION": "20ms",
    "SHARD_LIMIT": "5000",
    "ON_DEMAND_STREAM_COUNT_LIMIT": "1000",
    # Rarely: a SIGTERM that meets a writing leaves an empty file behind, with which it does not start (seen in 2 of 42 stops at 500ms).
    "PERSIST_INTERVAL": "1h",
    "LOG_LEVEL": "ERROR",
}


class KinesisServer(LocalKinesis):
    """kinesis-local 0.6.2. Keywords are its own variables in lower case: `split_shard_duration="2s"`.

    With `persist` it writes its data once an hour and at an orderly end: what came after the last writing dies with `kill()`.
    For the rest see LocalServer.
    """

    name: ClassVar[str] = "kinesis"

    def __init__(
        self, folder: Path | str | None = None, *, persist: bool = False, start_timeout_seconds: float = 60.0, **variables: str | int
    ) -> None:
        super().__init__(folder, persist=persist, start_timeout_seconds=start_timeout_seconds)
        self._variables = {name.upper(): str(value) for name, value in variables.items()}

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        package = npm_package(self.name, PACKAGE)
        # Nobody uses the port with TLS; 0 lets the system choose one.
        ports = {"KINESIS_MOCK_PLAIN_PORT": str(port), "KINESIS_MOCK_TLS_PORT": "0", "KINESIS_MOCK_CERT_PATH": str(package / "server.json")}
        kept = {"SHOULD_PERSIST_DATA": "true" if data else "false", "PERSIST_PATH": str(data or folder)}
        return self._on_node(folder, package / "main.js", (), {"AWS_REGION": REGION, **ports, **kept, **FAST, **self._variables})

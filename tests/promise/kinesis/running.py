"""Workers on a stream of Kinesis, with their leases in a table of DynamoDB."""

from __future__ import annotations

import time
from pathlib import Path

from streamkit_sandbox.fault_proxy import Fault, Kind

from tests.promise.aws import client, settings
from tests.promise.kcl.hand_over import Row as KclRow
from tests.promise.kcl.hand_over import lease_rows
from tests.promise.workers.running import Place, Row

__all__ = ["TOP", "KinesisPlace"]

TOP = 1 << 128


class KinesisPlace(Place):
    """One stream, one group with its table."""

    refusal = Fault(Kind.THROTTLE)
    short_lease = "8s"
    latest_margin_seconds = 2.0
    """docs/brokers/kinesis.md: what must not come is older, by the time that a process takes to start."""

    def __init__(self, kinesis_url: str, dynamodb_url: str, stream: str, folder: Path) -> None:
        super().__init__(folder, stream, settings(kinesis_url, dynamodb_url))
        self.kinesis = client("kinesis", kinesis_url)
        self.dynamodb = client("dynamodb", dynamodb_url)

    def partition(self, number: int) -> str:
        return f"shardId-{number:012}"

    def put(self, data: bytes, slice_of: tuple[int, int]) -> None:
        """Into the shard that holds the middle of that slice of the hash keys."""
        index, slices = slice_of
        key = str((2 * index + 1) * TOP // (2 * slices))
        self.kinesis.put_record(StreamName=self.stream, PartitionKey="k", ExplicitHashKey=key, Data=data)

    def change(self, operation: str, **more: str) -> None:
        """A split or a merge, until the stream is active again."""
        getattr(self.kinesis, operation)(StreamName=self.stream, **more)
        deadline = time.monotonic() + 60
        while self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < deadline, f"{operation} takes too long"
            time.sleep(0.05)

    def rows(self) -> dict[str, KclRow]:
        """The table in the KCL's own columns."""
        return lease_rows(self.dynamodb, self.group)

    def leases(self) -> dict[str, Row]:
        return {
            shard: Row(int(row.checkpoint) if row.checkpoint.isdigit() else None, (row.owner or "").split("#")[0], row.counter)
            for shard, row in self.rows().items()
        }

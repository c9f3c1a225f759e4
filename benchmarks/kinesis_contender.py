"""One contender of `kinesis.py` in a process of its own: reads what a shard holds, adds up the lengths of the values, prints JSON.

Processor time and the clock run from the first record, which comes alone, to the last. So imports and start are not in it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any


class Meter:
    """Counts to `expected`; the first record starts the clocks and does not count."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = -1
        self.bytes = 0
        self.started = self.cpu_started = self.seconds = self.cpu = 0.0

    def add(self, records: int, size: int) -> bool:
        """True: that was all."""
        if self.count < 0:
            self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.count += records
        self.bytes += size
        if self.count < self.expected:
            return False
        self.seconds, self.cpu = time.perf_counter() - self.started, time.process_time() - self.cpu_started
        return True

    def report(self) -> dict[str, float]:
        per_cpu_second = self.count / self.cpu
        return {"records": self.count, "bytes": self.bytes, "per_cpu_second": per_cpu_second, "cpu": self.cpu, "seconds": self.seconds}


def _client(url: str, factory: object | None = None) -> Any:
    import boto3
    import botocore.session

    session = botocore.session.Session()
    if factory is not None:
        session.register_component("response_parser_factory", factory)
    return boto3.Session(botocore_session=session).client(
        "kinesis", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )


def _answers(client: Any) -> Iterator[dict[str, Any]]:
    shard = client.list_shards(StreamName="orders")["Shards"][0]["ShardId"]
    iterator = client.get_shard_iterator(StreamName="orders", ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while True:
        answer = client.get_records(ShardIterator=iterator, Limit=10_000)
        iterator = answer["NextShardIterator"]
        yield answer


def boto3_loop(url: str, meter: Meter) -> None:
    for answer in _answers(_client(url)):
        total = 0
        for record in answer["Records"]:
            total += len(record["Data"])
        if meter.add(len(answer["Records"]), total):
            break


def boto3_aggregates(url: str, meter: Meter) -> None:
    """With aws-kinesis-agg, which encodes each value as base64 once more."""
    from aws_kinesis_agg.deaggregator import iter_deaggregate_records

    for answer in _answers(_client(url)):
        count = total = 0
        for record in iter_deaggregate_records(answer["Records"], data_format="Boto3"):
            count += 1
            total += len(record["kinesis"]["data"])
        if meter.add(count, total):
            break


def decoding(url: str, meter: Meter) -> None:
    """boto3's client with our parser, cheaper calls and what takes aggregates apart, and nothing of the engine."""
    from streamkit_kinesis.lean import make_lean
    from streamkit_kinesis.parser import fast_parser_factory, records_of
    from streamkit_kinesis.record import Unpacker

    from streamkit.model import Partition

    unpacker = Unpacker(Partition("orders", "shardId-0", key_range=(0, 2**127)), out_of_range="deliver", noticed=lambda what, records: None)
    client = _client(url, fast_parser_factory())
    make_lean(client)
    last = None
    for answer in _answers(client):
        batch = unpacker.unpack(records_of(answer), after=last, received=time.time(), lag_seconds=answer["MillisBehindLatest"] / 1000)
        if batch is None:
            continue
        last = batch.last
        total = 0
        for value in batch.values():
            total += len(value)
        if meter.add(len(batch), total):
            break


def aggregates_only(url: str, meter: Meter) -> None:
    """Taking aggregates apart alone, of answers that are in memory."""
    from streamkit_kinesis.parser import fast_parser_factory, records_of
    from streamkit_kinesis.record import Unpacker

    from streamkit.model import Partition

    unpacker = Unpacker(Partition("orders", "shardId-0", key_range=(0, 2**128 - 1)), noticed=lambda what, records: None)
    fetched = [records_of(answer) for answer in itertools.islice(_answers(_client(url, fast_parser_factory())), 1, 41)]
    meter.add(1, 0)
    for records in fetched:
        batch = unpacker.unpack(records, after=None, received=0.0, lag_seconds=None)
        if batch is not None and meter.add(len(batch), batch.bytes):
            break


def aggregates_only_library(url: str, meter: Meter) -> None:
    from aws_kinesis_agg.deaggregator import iter_deaggregate_records

    fetched = [answer["Records"] for answer in itertools.islice(_answers(_client(url)), 1, 41)]
    meter.add(1, 0)
    for records in fetched:
        users = list(iter_deaggregate_records(records, data_format="Boto3"))
        if meter.add(len(users), 0):
            break


def _streamkit(url: str, target: Callable[..., object]) -> None:
    from streamkit import App, run

    app = App(
        target,
        broker="kinesis",
        store="memory",
        stream="orders",
        group="bench",
        kinesis={"endpoint_url": url, "region": "us-east-1", "reads_per_second": 1000, "bytes_per_second": 1 << 40},
        stop="idle:20s",
        drain_timeout="5s",
    )
    globals()["_app"] = app
    run(app)


def _stop() -> None:
    globals()["_app"].stop("measured")


def streamkit_batch(url: str, meter: Meter) -> None:
    from streamkit import processor

    @processor
    def handle(batch, context):  # type: ignore[no-untyped-def]
        total = 0
        for value in batch.values():
            total += len(value)
        if meter.add(len(batch), total):
            _stop()

    _streamkit(url, handle)


def streamkit_record(url: str, meter: Meter) -> None:
    from streamkit import record_processor

    @record_processor
    def handle(record, context):  # type: ignore[no-untyped-def]
        if meter.add(1, len(record.value)):
            _stop()

    _streamkit(url, handle)


CONTENDERS: dict[str, Callable[[str, Meter], None]] = {
    "boto3 loop": boto3_loop,
    "boto3 + aws-kinesis-agg": boto3_aggregates,
    "streamkit decoding": decoding,
    "streamkit batch": streamkit_batch,
    "streamkit record": streamkit_record,
    "aggregates alone: streamkit": aggregates_only,
    "aggregates alone: aws-kinesis-agg": aggregates_only_library,
}


def main() -> None:
    name, url, expected = sys.argv[1:4]
    os.environ.update(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_EC2_METADATA_DISABLED="true")
    meter = Meter(int(expected))
    CONTENDERS[name](url, meter)
    print(json.dumps(meter.report()), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()

"""A stand-in for the service that costs next to nothing: the same answers of GetRecords, made once and replayed over HTTP.

Run by `kinesis.py` as a process of its own: `kinesis_server.py SHAPE`, where SHAPE names one of `SHAPES`. It prints its URL. Every shard
has the same records. The first answer has one record, and the second comes a second later, so that start-up is not measured.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from dataclasses import dataclass

BASE = 49590338271490256608559692538361571095921575989136588898
"""The sequence number of a shard's first record."""
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Shape:
    """What a shard answers."""

    answers: int
    records: int
    """Of Kinesis, in one answer."""
    size: int
    """Of a user's record, in bytes."""
    users: int = 1
    """User records in one record of Kinesis: more than 1 is a KPL aggregate."""

    @property
    def total(self) -> int:
        """User records of one shard, but the first: it is not measured."""
        return self.answers * self.records * self.users


SHAPES = {
    "1,000 x 1 KiB": Shape(150, 1_000, 1024),
    "10,000 x 100 B": Shape(24, 10_000, 100),
    "20 x 1 KiB": Shape(1_500, 20, 1024),
    "aggregates, 100 B": Shape(40, 20, 100, 350),
    "aggregates, 1 KiB": Shape(40, 20, 1024, 40),
}


def data_of(shape: Shape) -> bytes:
    if shape.users == 1:
        return os.urandom(shape.size)
    from aws_kinesis_agg.aggregator import RecordAggregator

    aggregator = RecordAggregator()
    for number in range(shape.users):
        aggregator.add_user_record(f"user-{number % 50}", os.urandom(shape.size))
    contents: bytes = aggregator.clear_and_get().get_contents()[2]
    return contents


def records_of(shape: Shape, first: int, count: int) -> list[dict[str, object]]:
    if not first:
        return [{"SequenceNumber": str(BASE), "Data": "", "PartitionKey": "first", "ApproximateArrivalTimestamp": 1794000000.0}]
    texts = [base64.b64encode(data_of(shape)).decode() for _ in range(min(count, 100))]
    return [
        {
            "SequenceNumber": str(BASE + number),
            "ApproximateArrivalTimestamp": 1794000000.123 + number / 1000,
            "Data": texts[number % len(texts)],
            "PartitionKey": f"user-{number % 1000}",
            "EncryptionType": "NONE",
        }
        for number in range(first, first + count)
    ]


def answers_of(shape: Shape) -> list[bytes]:
    answers = []
    for index in range(shape.answers + 1):
        first = 0 if not index else 1 + (index - 1) * shape.records
        answer = {
            "Records": records_of(shape, first, shape.records),
            "NextShardIterator": f"{index + 1:0>180}",
            "MillisBehindLatest": (shape.answers - index) * 1000,
        }
        answers.append(json.dumps(answer).encode())
    return answers


class Service:
    """Answers what a reader asks."""

    def __init__(self, shape: Shape, shards: int) -> None:
        self._shape = shape
        self._shards = shards
        self._answers = answers_of(shape)

    async def answer(self, operation: str, request: dict[str, str]) -> bytes:
        if operation == "GetRecords":
            index = int(request["ShardIterator"])
            if index == 1:
                await asyncio.sleep(PAUSE_SECONDS)
            if index < len(self._answers):
                return self._answers[index]
            return b'{"Records":[],"NextShardIterator":"%s","MillisBehindLatest":0}' % request["ShardIterator"].encode()
        return json.dumps(self._about(operation, request)).encode()

    def _about(self, operation: str, request: dict[str, str]) -> dict[str, object]:
        match operation:
            case "GetShardIterator":
                return {"ShardIterator": f"{self._place(request):0>180}"}
            case "ListShards":
                width = (1 << 128) // self._shards
                return {"Shards": [self._shard(n, n * width, (n + 1) * width - 1) for n in range(self._shards)]}
            case "DescribeStreamSummary":
                arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders"
                summary = {"StreamName": "orders", "StreamARN": arn, "StreamStatus": "ACTIVE", "StreamCreationTimestamp": 1790000000.0}
                return {
                    "StreamDescriptionSummary": {
                        **summary,
                        "RetentionPeriodHours": 24,
                        "EnhancedMonitoring": [],
                        "OpenShardCount": self._shards,
                    }
                }
        raise ValueError(f"nobody has thought of {operation}")

    def _shard(self, number: int, low: int, high: int) -> dict[str, object]:
        return {
            "ShardId": f"shardId-{number:012}",
            "HashKeyRange": {"StartingHashKey": str(low), "EndingHashKey": str(high)},
            "SequenceNumberRange": {"StartingSequenceNumber": str(BASE - 1)},
        }

    def _place(self, request: dict[str, str]) -> int:
        """Which answer is the first."""
        if "StartingSequenceNumber" not in request:
            return len(self._answers) if request["ShardIteratorType"] == "LATEST" else 0
        number = max(0, int(request["StartingSequenceNumber"]) - BASE + (request["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"))
        return 0 if not number else 1 + (number - 1) // self._shape.records


async def serve_one(service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        except (asyncio.IncompleteReadError, ConnectionError):
            break
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        request = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        operation = next(name for name in OPERATIONS if name.lower() == headers["x-amz-target"].split(".")[-1])
        body = await service.answer(operation, request)
        writer.write(
            b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 0\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        await writer.drain()
    writer.close()


OPERATIONS = ("GetRecords", "GetShardIterator", "ListShards", "DescribeStreamSummary")


async def serve(name: str, shards: int) -> None:
    service = Service(SHAPES[name], shards)
    server = await asyncio.start_server(lambda reader, writer: serve_one(service, reader, writer), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the benchmark that started it is gone
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))

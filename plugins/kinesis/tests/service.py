"""A small Kinesis in memory that answers like a boto3 client, breaks on request, and a context whose clock is moved by hand.

It is no peer for integrity (the real servers are): it is there to say exactly when which answer comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise
from typing import Any, TypeVar

from botocore.exceptions import ClientError
from streamkit_kinesis.client import Clients
from streamkit_kinesis.ends import Ends
from streamkit_kinesis.fetch import Fetch
from streamkit_kinesis.fetching import Fetching
from streamkit_kinesis.reader import KinesisReader
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.streams import StreamBook

from streamkit.model import Batch, Partition, Record, StartPosition
from streamkit.plugin import AdapterContext, Budget, Event

T = TypeVar("T")
KEYS = (1 << 128) - 1
NOW = 1_700_000_000.0
Answer = dict[str, Any]


def refusal(code: str, message: str = "no", status: int = 400, operation: str = "GetRecords") -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


class Context(AdapterContext):
    """Blocking calls run in place; time stands still until it is moved."""

    broker = "kinesis"
    group = "g"
    worker = "w"
    streams: Sequence[str] = ("orders",)

    def __init__(self) -> None:
        self.now = 0.0
        self.told: list[tuple[str, str, int]] = []

    def monotonic(self) -> float:
        return self.now

    def unix_time(self) -> float:
        return NOW + self.now

    def noticed(self, partition: Partition, what: str, records: int = 1) -> None:
        self.told.append((partition.id, what, records))

    async def call_blocking(self, function: Callable[..., T], *args: object) -> T:
        return function(*args)


@dataclass
class Shard:
    id: str
    range: tuple[int, int]
    parents: tuple[str, ...] = ()
    first: int = 0
    ended_at: int | None = None
    records: list[Answer] = field(default_factory=list)
    behind_ms: int | None = None
    """What MillisBehindLatest says; None: 0 at the tip, 1000 before it."""
    names_children: bool = True


class Service:
    """One stream per name; a client for it is the service itself."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.streams: dict[str, dict[str, Shard]] = {}
        self.created: dict[str, float] = {}
        self.status: dict[str, str] = {}
        self.hours = 24
        self.sequence = 0
        self.calls: list[tuple[str, Answer]] = []
        self.faults: dict[str, deque[Exception | Callable[[Answer], Answer]]] = {}
        """Of an operation: what its next answers become; an exception is raised, a function changes the answer."""
        self.before: Callable[[str, Answer], None] = lambda operation, arguments: None
        """Called in each call, before its answer is made."""
        self.page = 1000
        self.date = True

    # -- what happens to the stream -------------------------------------------------------------------------------

    def create(self, name: str, shards: int = 1, created: float = NOW - 86400) -> None:
        self.streams[name] = {}
        self.created[name] = created
        self.status[name] = "ACTIVE"
        ends = [(KEYS + 1) * number // shards for number in range(shards + 1)]
        for low, high in pairwise(ends):
            self._shard(name, (low, high - 1))

    def _shard(self, name: str, hash_range: tuple[int, int], parents: tuple[str, ...] = ()) -> Shard:
        shards = self.streams[name]
        self.sequence += 10
        shard = Shard(f"shardId-{len(shards):012d}", hash_range, parents, self.sequence)
        shards[shard.id] = shard
        return shard

    def put(self, name: str, shard: int, data: bytes, key: str = "k", arrived: float | None = None) -> int:
        self.sequence += 10
        one = self.streams[name][f"shardId-{shard:012d}"]
        time = self.context.unix_time() if arrived is None else arrived
        one.records.append(
            {
                "SequenceNumber": str(self.sequence),
                "Data": data,
                "PartitionKey": key,
                "ApproximateArrivalTimestamp": datetime.fromtimestamp(time, UTC),
            }
        )
        return self.sequence

    def split(self, name: str, shard: int) -> None:
        one = self._close(name, shard)
        low, high = one.range
        middle = (low + high) // 2
        self._shard(name, (low, middle), (one.id,))
        self._shard(name, (middle + 1, high), (one.id,))

    def merge(self, name: str, first: int, second: int) -> None:
        one, other = self._close(name, first), self._close(name, second)
        self._shard(name, (one.range[0], other.range[1]), (one.id, other.id))

    def _close(self, name: str, shard: int) -> Shard:
        one = self.streams[name][f"shardId-{shard:012d}"]
        self.sequence += 10
        one.ended_at = self.sequence
        return one

    # -- what a client calls --------------------------------------------------------------------------------------

    def _answer(self, operation: str, arguments: Answer, make: Callable[[], Answer]) -> Answer:
        self.calls.append((operation, arguments))
        self.before(operation, arguments)
        faults = self.faults.get(operation)
        fault = faults.popleft() if faults else None
        if isinstance(fault, Exception):
            raise fault
        answer = make()
        headers = {"date": format_datetime(datetime.fromtimestamp(int(self.context.unix_time()), UTC), usegmt=True)} if self.date else {}
        answer["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": headers}
        return fault(answer) if fault is not None else answer

    def _named(self, arguments: Answer, operation: str) -> str:
        name: str = arguments.get("StreamName") or arguments["StreamARN"].rpartition("/")[2]
        if name not in self.streams:
            raise refusal("ResourceNotFoundException", f"Stream {name} not found", operation=operation)
        return name

    def describe_stream_summary(self, **arguments: Any) -> Answer:
        def make() -> Answer:
            name = self._named(arguments, "DescribeStreamSummary")
            summary = {
                "StreamName": name,
                "StreamARN": f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}",
                "StreamStatus": self.status[name],
                "RetentionPeriodHours": self.hours,
                "StreamCreationTimestamp": datetime.fromtimestamp(self.created[name], UTC),
            }
            return {"StreamDescriptionSummary": summary}

        return self._answer("describe_stream_summary", arguments, make)

    def list_streams(self, **arguments: Any) -> Answer:
        def make() -> Answer:
            names = sorted(self.streams)
            begin = arguments.get("ExclusiveStartStreamName") or arguments.get("NextToken") or ""
            left = [name for name in names if name > begin]
            return {"StreamNames": left[: self.page], "HasMoreStreams": len(left) > self.page}

        return self._answer("list_streams", arguments, make)

    def list_shards(self, **arguments: Any) -> Answer:
        def make() -> Answer:
            token = arguments.get("NextToken")
            name, _, begin = token.partition(" ") if token else (self._named(arguments, "ListShards"), "", "")
            left = [shard for shard in self.streams[name].values() if shard.id > begin]
            shards = [
                {
                    "ShardId": shard.id,
                    "HashKeyRange": {"StartingHashKey": str(shard.range[0]), "EndingHashKey": str(shard.range[1])},
                    "SequenceNumberRange": {
                        "StartingSequenceNumber": str(shard.first),
                        **({"EndingSequenceNumber": str(shard.ended_at)} if shard.ended_at is not None else {}),
                    },
                    **({"ParentShardId": shard.parents[0]} if shard.parents else {}),
                    **({"AdjacentParentShardId": shard.parents[1]} if len(shard.parents) > 1 else {}),
                }
                for shard in left[: self.page]
            ]
            more = {"NextToken": f"{name} {shards[-1]['ShardId']}"} if len(left) > self.page else {}
            return {"Shards": shards, **more}

        return self._answer("list_shards", arguments, make)

    def get_shard_iterator(self, **arguments: Any) -> Answer:
        def make() -> Answer:
            name = self._named(arguments, "GetShardIterator")
            shard = self.streams[name].get(arguments["ShardId"])
            if shard is None:
                raise refusal("ResourceNotFoundException", "Shard not found", operation="GetShardIterator")
            kind = arguments["ShardIteratorType"]
            if kind == "TRIM_HORIZON":
                at = 0
            elif kind == "AT_TIMESTAMP":
                time = arguments["Timestamp"].timestamp()
                later = [one for one in shard.records if one["ApproximateArrivalTimestamp"].timestamp() >= time]
                at = int(later[0]["SequenceNumber"]) if later else self.sequence + 1
            else:
                at = int(arguments["StartingSequenceNumber"]) + (kind == "AFTER_SEQUENCE_NUMBER")
            return {"ShardIterator": f"{name} {shard.id} {at}"}

        return self._answer("get_shard_iterator", arguments, make)

    def get_records(self, **arguments: Any) -> Answer:
        def make() -> Answer:
            name, shard_id, at = arguments["ShardIterator"].split(" ")
            if name not in self.streams or shard_id not in self.streams[name]:
                raise refusal("ResourceNotFoundException", "Stream not found")
            shard = self.streams[name][shard_id]
            left = [one for one in shard.records if int(one["SequenceNumber"]) >= int(at)]
            taken = left[: arguments["Limit"]]
            rest = len(left) - len(taken)
            behind = shard.behind_ms if shard.behind_ms is not None else 1000 if rest else 0
            answer: Answer = {"Records": taken, "MillisBehindLatest": behind}
            if shard.ended_at is None or rest:
                following = int(taken[-1]["SequenceNumber"]) + 1 if taken else int(at)
                answer["NextShardIterator"] = f"{name} {shard_id} {following}"
            elif shard.names_children:
                answer["ChildShards"] = [
                    {
                        "ShardId": one.id,
                        "ParentShards": list(one.parents),
                        "HashKeyRange": {"StartingHashKey": str(one.range[0]), "EndingHashKey": str(one.range[1])},
                    }
                    for one in self.streams[name].values()
                    if shard_id in one.parents
                ]
            return answer

        return self._answer("get_records", arguments, make)

    def close(self) -> None:
        pass

    # -- what tests look at ---------------------------------------------------------------------------------------

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.calls if name == operation)

    def arguments(self, operation: str) -> list[Answer]:
        return [arguments for name, arguments in self.calls if name == operation]


EASY = Budget(max_records=10_000, max_bytes=1 << 30, max_wait_seconds=0.0)


class World:
    """A service with the stream `orders`, and a reader of it whose reads are made by `step`, one at a time."""

    def __init__(self, shards: int = 1, chance: float = 0.5, threads: bool = False, **changes: Any) -> None:
        self.context = Context()
        self.service = Service(self.context)
        self.service.create("orders", shards)
        self.settings = KinesisSettings(**changes)
        self.book = StreamBook(self.service, self.context)
        fetch = Fetch(self.service, Ends(self.service, self.book), self.book, self.context, self.settings.out_of_range)
        self.fetching = Fetching(self.settings, self.context, fetch, chance=lambda: chance, threads=threads)
        clients = object.__new__(Clients)
        clients.control = clients.reading = self.service
        self.reader = KinesisReader(self.settings, self.context, clients, self.book)
        self.reader._fetching = self.fetching

    def partition(self, number: int = 0, stream: str = "orders") -> Partition:
        info = self.book.look_up(stream)
        shard = self.service.streams[stream][f"shardId-{number:012d}"]
        return Partition(stream, shard.id, incarnation=info.incarnation, parents=shard.parents, key_range=shard.range)

    def add(self, partition: Partition, start: StartPosition = StartPosition.EARLIEST, written: datetime | None = None) -> Partition:
        drive(self.reader.add(partition, start, written=written))
        return partition

    def poll(self, budget: Budget = EASY) -> list[Event]:
        return list(drive(self.reader.poll(budget)))

    def step(self, seconds: float = 0.0) -> bool:
        """Let time pass, then make one read if one is due."""
        self.context.now += seconds
        return self.fetching.step()

    def run(self, seconds: float = 1.0, tick: float = 0.05, budget: Budget = EASY) -> list[Event]:
        """Let time pass in small steps; what the reader has returned meanwhile."""
        events: list[Event] = []
        until = self.context.now + seconds
        while self.context.now < until:
            while self.step():
                events += self.poll(budget)
            events += self.poll(budget)
            self.context.now += tick
        return events


def drive(coroutine: Any) -> Any:
    """Runs a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError(f"{coroutine!r} suspended")


def records_in(events: Sequence[Event]) -> list[Record]:
    return [record for event in events if isinstance(event, Batch) for record in event]


def values_in(events: Sequence[Event]) -> list[bytes]:
    return [record.value or b"" for record in records_in(events)]

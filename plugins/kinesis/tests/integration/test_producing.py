"""The producer on real servers: what is answered is there, in the order of its key, whatever failed on the way."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from streamkit_kinesis import sender
from streamkit_kinesis.producer import KinesisProducer
from streamkit_kinesis.settings import KinesisSettings

from streamkit.errors import StreamGoneError
from streamkit.plugin import NewRecord
from tests.conformance.context import PlainContext

pytestmark = pytest.mark.integration

ON_KINESALITE = pytest.mark.parametrize("server", ["kinesalite"], indirect=True)
"""What the rules of brokers show on kinesis-local."""


class Clock(PlainContext):
    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture(params=["kinesis", "kinesalite"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    found = request.getfixturevalue(f"{request.param}_server")
    for name, value in found.settings().items():
        monkeypatch.setenv(name, value)
    return found


def sending(server: Any, work: Callable[[KinesisProducer], Any], *, endpoint: str = "", **fields: Any) -> Any:
    async def body() -> Any:
        settings = KinesisSettings(endpoint_url=endpoint or server.endpoint_url, region="us-east-1", **fields)
        producer = KinesisProducer(settings, Clock(broker="kinesis"))
        await producer.open()
        try:
            return await work(producer)
        finally:
            await producer.close()

    return asyncio.run(body())


def read_all(server: Any, stream: str) -> dict[str, list[tuple[str, bytes]]]:
    """What each shard holds, by plain boto3."""
    client = boto3.client("kinesis", endpoint_url=server.endpoint_url, region_name="us-east-1")
    found = {}
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        name = shard["ShardId"]
        iterator = client.get_shard_iterator(StreamName=stream, ShardId=name, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        found[name] = []
        empty = 0
        while empty < 2:
            answer = client.get_records(ShardIterator=iterator)
            iterator = answer["NextShardIterator"]
            found[name] += [(record["PartitionKey"], record["Data"]) for record in answer["Records"]]
            empty = 0 if answer["Records"] else empty + 1
    client.close()
    return found


@ON_KINESALITE
def test_what_is_answered_is_there(server: Any) -> None:
    stream = server.create_stream(2)
    shards = [f"shardId-00000000000{number}" for number in range(2)]
    records = [NewRecord(b"%d" % number, b"one key", partition=shards[number % 2]) for number in range(6)]
    assert sending(server, lambda producer: producer.send(stream, records)) == [None] * 6
    found = read_all(server, stream)
    assert found[shards[0]] == [("one key", b"0"), ("one key", b"2"), ("one key", b"4")]
    assert found[shards[1]] == [("one key", b"1"), ("one key", b"3"), ("one key", b"5")]


def test_keys_keep_their_order_though_records_of_each_call_fail(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of all records is refused by chance, as a shard does that has too much to do; the server is given the others."""
    monkeypatch.setattr(sender, "_FIRST_BACKOFF_SECONDS", 0.005)
    stream = server.create_stream(2)
    chance = random.Random(7)
    refused = 0

    def refusing(put: Callable[..., Any]) -> Callable[..., Any]:
        def put_records(**arguments: Any) -> Any:
            nonlocal refused
            records = arguments["Records"]
            fails = [chance.random() < 0.1 for _ in records]
            refused += sum(fails)
            kept = [record for record, fail in zip(records, fails, strict=True) if not fail]
            written = iter(put(**(arguments | {"Records": kept}))["Records"] if kept else [])
            answers = [{"ErrorCode": "ProvisionedThroughputExceededException"} if fail else next(written) for fail in fails]
            return {"Records": answers, "FailedRecordCount": sum(fails)}

        return put_records

    async def work(producer: KinesisProducer) -> Any:
        client = producer._writing._client  # type: ignore[union-attr]
        client.put_records = refusing(client.put_records)  # type: ignore[method-assign]
        sends = []
        for send in range(4):
            records = [NewRecord(b"%d" % (send * 100 + number), b"key-%d" % (number % 5)) for number in range(100)]
            sends.append(asyncio.create_task(producer.send(stream, records)))
            await asyncio.sleep(0)
        return await asyncio.gather(*sends)

    assert sending(server, work) == [[None] * 100] * 4
    assert refused > 10
    by_key: dict[str, list[int]] = {}
    for records in read_all(server, stream).values():
        for key, value in records:
            by_key.setdefault(key, []).append(int(value))
    assert by_key == {f"key-{key}": list(range(key, 400, 5)) for key in range(5)}


@ON_KINESALITE
def test_a_stream_that_is_not_there(server: Any) -> None:
    with pytest.raises(StreamGoneError):
        sending(server, lambda producer: producer.check("no-such-stream"))
    [answer] = sending(server, lambda producer: producer.send("no-such-stream", [NewRecord(b"v")]))
    assert isinstance(answer, StreamGoneError)


def test_whoever_sends_again_what_was_not_answered_with_yes_gets_all_in_order(
    kinesalite_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records refused in a call, calls refused, answers cut or lost: some records come twice, and none before an older one of its key."""
    from streamkit_sandbox.fault_proxy import Fault, FaultProxy, Kind

    monkeypatch.setattr(sender, "_FIRST_BACKOFF_SECONDS", 0.01)
    for name, value in kinesalite_server.settings().items():
        monkeypatch.setenv(name, value)
    stream = kinesalite_server.create_stream(2)
    faults = [Fault(kind, 0.15, "PutRecords") for kind in (Kind.PARTIAL, Kind.THROTTLE, Kind.CUT, Kind.CUT_QUIETLY, Kind.RESET)]
    keys = [b"key-%d" % key for key in range(7)]
    sent = {key: [NewRecord(b"%d" % number, key) for number in range(40)] for key in keys}

    async def work(producer: KinesisProducer) -> int:
        failures = 0
        waiting = [record for records in zip(*sent.values(), strict=True) for record in records]
        while waiting:
            answers = await producer.send(stream, waiting)
            waiting = [record for record, answer in zip(waiting, answers, strict=True) if answer is not None]
            failures += len(waiting)
        return failures

    with FaultProxy(kinesalite_server.endpoint_url, seed=11, rules=faults) as proxy:
        # What is refused is given up at once, so that the order is up to what happens to the records behind it.
        failures = sending(proxy, work, endpoint=proxy.url, send_timeout=timedelta(milliseconds=1))
        assert failures > 10
        assert all(proxy.counts["PutRecords", kind] for kind in (Kind.PARTIAL, Kind.CUT_QUIETLY))
    seen: dict[str, list[int]] = {}
    for records in read_all(kinesalite_server, stream).values():
        for key, value in records:
            if int(value) not in seen.setdefault(key, []):
                seen[key].append(int(value))
    assert seen == {key.decode(): list(range(40)) for key in keys}

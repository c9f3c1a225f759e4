"""On AWS's own DynamoDB Local: tables that others made, workers that race, answers that are cut, a table that goes away."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from streamkit import App, Context, Record, record_processor
from streamkit.errors import ConfigurationError, FencedError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant, register
from tests.conformance.context import PlainContext
from tests.promise.chaos import counting

if TYPE_CHECKING:
    from streamkit_sandbox.dynamodb import DynamoDBServer

pytestmark = pytest.mark.integration

FIXTURES = sorted((Path(__file__).parents[1] / "lease_tables").glob("kcl-*.json"))
ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/orders@1700000000"


@pytest.fixture
def client(dynamodb_server: DynamoDBServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in dynamodb_server.settings().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    client = boto3.client("dynamodb", endpoint_url=dynamodb_server.endpoint_url, region_name="us-east-1")
    yield client
    client.close()


@pytest.fixture
def table() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def settings(url: str, table: str, **more: Any) -> DynamoDBSettings:
    """With an answer it may take long: a busy machine lets DynamoDB Local stand still for some seconds."""
    return DynamoDBSettings(**{"endpoint_url": url, "region": "us-east-1", "table": table, "request_timeout": "20s", **more})


def store_at(url: str, table: str, worker: str = "w", **more: Any) -> DynamoDBStore:
    context = PlainContext(broker="kinesis", worker=worker)
    context.streams = ("orders",)
    return DynamoDBStore(settings(url, table, **more), context)


def shards(count: int) -> list[Partition]:
    return [Partition("orders", f"shardId-{n:012}", incarnation=ARN) for n in range(count)]


def make_table(client: Any, name: str, key: str = "leaseKey") -> None:
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_a_table_of_the_kcl_is_gone_on_with(file: Path, client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    items = json.loads(file.read_text())["tables"][0]["Items"]
    make_table(client, table)
    for item in items:
        client.put_item(TableName=table, Item=item)

    async def test() -> None:
        store = store_at(dynamodb_server.endpoint_url, table)
        await store.open()
        leases = list(await store.leases())
        assert [lease.partition.id for lease in leases] == sorted(item["leaseKey"]["S"] for item in items)
        claims = await store.take(leases, "w")
        for lease, claim in zip(leases, claims, strict=True):
            assert isinstance(claim, Claim)
            assert claim.epoch == lease.version + 1
            if lease.is_ended:
                continue
            done = Checkpoint(replace(lease.partition, incarnation=ARN), StartPosition.after(Position(1 << 186, 3)), owner="w")
            assert list(await store.save([(done, claim.grant)])) == [claim.grant]
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True) if isinstance(claim, Claim)]
        assert list(await store.release(held)) == [None] * len(held)
        await store.close()

    asyncio.run(test())
    before = {item["leaseKey"]["S"]: item for item in items}
    for item in client.scan(TableName=table)["Items"]:
        old = before[item["leaseKey"]["S"]]
        kcl = {name: value for name, value in item.items() if not name.startswith("streamkit")}
        assert kcl.keys() == old.keys() - {"leaseOwner"}, "what the KCL finds has the columns that it had, and is free"
        assert int(kcl["leaseCounter"]["N"]) > int(old["leaseCounter"]["N"])
        if old["checkpoint"]["S"] != "SHARD_END":
            assert (kcl["checkpoint"], kcl["checkpointSubSequenceNumber"]) == ({"S": str(1 << 186)}, {"N": "3"})
        same = {"parentShardId", "childShardIds", "startingHashKey", "endingHashKey"} & old.keys()
        assert all(_unordered(kcl[name]) == _unordered(old[name]) for name in same)


def _unordered(value: dict[str, Any]) -> dict[str, Any]:
    return {kind: sorted(part) if kind == "SS" else part for kind, part in value.items()}


# -- races --------------------------------------------------------------------------------------------------------------


def test_threads_that_renew_save_and_steal_never_share_a_grant(client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    """An owner goes on writing while others take from it: what was granted after a take is the taker's alone."""
    url, rounds = dynamodb_server.endpoint_url, 15

    async def test() -> None:
        a, b = store_at(url, table, "a"), store_at(url, table, "b")
        await a.open()
        await b.open()
        (shard,) = shards(1)
        await a.create([Lease(shard)])
        saved: list[tuple[int, int]] = []
        over = threading.Event()

        async def own(store: DynamoDBStore, name: str) -> None:
            while not over.is_set():
                (lease,) = await store.leases()
                (claim,) = await store.take([lease], name)
                if isinstance(claim, FencedError):
                    continue
                assert isinstance(claim, Claim)
                last = claim.checkpoint.at.position if claim.checkpoint else None
                sequence = (last.sequence or 0) + 1 if last else 1
                for number in range(sequence, sequence + 5):
                    (answer,) = await store.save([(Checkpoint(shard, StartPosition.after(Position(number))), claim.grant)])
                    if isinstance(answer, FencedError):
                        break
                    assert answer == claim.grant
                    saved.append((claim.epoch, number))
                    await asyncio.sleep(0)
                if len(saved) > rounds * 5:
                    over.set()

        await asyncio.gather(own(a, "a"), own(b, "b"))
        numbers = [number for _, number in saved]
        assert numbers == list(range(1, len(saved) + 1)), "each was granted once, and the next owner went on behind it"
        assert [epoch for epoch, _ in saved] == sorted(epoch for epoch, _ in saved)
        assert len({epoch for epoch, _ in saved}) > 2, "nobody stole"
        await a.close()
        await b.close()

    asyncio.run(test())


# -- the table ------------------------------------------------------------------------------------------------------------


def test_a_table_of_another_library_is_named(client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    make_table(client, table, "ShardID")

    async def test() -> None:
        store = store_at(dynamodb_server.endpoint_url, table)
        with pytest.raises(ConfigurationError, match="vmware-go-kcl or gokini"):
            await store.open()
        await store.close()

    asyncio.run(test())


def test_a_provisioned_table_is_made_with_its_units(client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    async def test() -> None:
        more = {"billing": "provisioned", "read_units": 7, "write_units": 9, "deletion_protection": True, "tags": {"a": "b"}}
        store = store_at(dynamodb_server.endpoint_url, table, **more)
        await store.open()
        await store.close()

    asyncio.run(test())
    made = client.describe_table(TableName=table)["Table"]
    assert (made["ProvisionedThroughput"]["ReadCapacityUnits"], made["ProvisionedThroughput"]["WriteCapacityUnits"]) == (7, 9)
    assert made["DeletionProtectionEnabled"]
    client.update_table(TableName=table, DeletionProtectionEnabled=False)


def test_the_item_limit_is_named_and_what_is_promised_fits(client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    from streamkit.model import ParkedKey

    async def test() -> None:
        store = store_at(dynamodb_server.endpoint_url, table)
        await store.open()
        (shard,) = shards(1)
        claim = await store.claim(shard, "w", 0)
        most = store.capabilities
        keys = [f"{n:04}".encode() + b"\xff" * (most.parked_bytes // 1000 - 4) for n in range(1000)]
        name = "a-stream-with-a-long-name/shardId-000000000000/" + "4" * 56 + ".12"
        largest = Checkpoint(
            shard,
            StartPosition.after(Position(1 << 185, 3)),
            metadata="日" * most.metadata_characters,
            pending=Position(1 << 186),
            pending_state=b"\0" * most.pending_bytes,
            parked={key: ParkedKey(name, (name,)) for key in keys},
        )
        assert list(await store.save([(largest, claim.grant)])) == [claim.grant]
        (found,) = await store.list()
        assert found.to_text() == largest.to_text()
        (answer,) = await store.save([(replace(largest, pending_state=b"\0" * 400_000), claim.grant)])
        assert isinstance(answer, Exception)
        assert "400 KB" in str(answer)
        assert list(await store.save([(replace(largest, metadata="after"), claim.grant)])) == [claim.grant]
        await store.close()

    asyncio.run(test())


def test_an_app_whose_table_is_deleted_stops_by_name(client: Any, table: str, dynamodb_server: DynamoDBServer) -> None:
    began = threading.Event()

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        began.set()

    register(counting)
    app = App(
        handle,
        broker="counting",
        stream="numbers",
        group="g",
        store="dynamodb",
        checkpoint_interval="200ms",
        lease_duration="2s",
        counting={"partitions": 2, "begin": 0.0, "rate": 1000.0, "seconds": 1.0},
        dynamodb={"endpoint_url": dynamodb_server.endpoint_url, "region": "us-east-1", "table": table},
    )
    raised: list[BaseException] = []

    def serve() -> None:
        try:
            asyncio.run(app.serve())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert began.wait(60)
        client.delete_table(TableName=table)
        thread.join(60)
        assert not thread.is_alive(), "it must not wait for a table that is gone"
    finally:
        app.stop()
        thread.join(60)
    assert [error for error in raised if isinstance(error, ConfigurationError) and "is gone" in str(error)], raised


def test_a_worker_without_the_server_says_so_and_goes_on_when_it_is_back(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamkit_sandbox.dynamodb import DynamoDBServer

    async def test(server: DynamoDBServer) -> None:
        store = store_at(server.endpoint_url, table, request_timeout="3s", retry_timeout="200ms")
        await store.open()
        (shard,) = shards(1)
        await store.create([Lease(shard)])
        (claim,) = await store.take(await store.leases(), "w")
        assert isinstance(claim, Claim)
        server.pause()
        try:
            (answer,) = await store.renew([(shard, claim.grant)])
            assert isinstance(answer, StoreUnavailableError)
            with pytest.raises(StoreUnavailableError):
                await store.leases()
        finally:
            server.resume()
        for _ in range(20):
            (answer,) = await store.renew([(shard, Grant(claim.grant))])
            if answer == claim.grant:
                break
        assert answer == claim.grant
        await store.close()

    with DynamoDBServer() as server:
        for name, value in server.settings().items():
            if name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        asyncio.run(test(server))


@pytest.mark.parametrize("name", ["a.b-c_D.9", "-.-", "9", "x" * 255], ids=["all signs", "signs alone", "a digit", "the longest"])
def test_a_table_may_have_any_name_that_the_service_allows(name: str, client: Any, dynamodb_server: DynamoDBServer) -> None:
    """Every statement has it in quotes; and what an operator and a worker write without an owner goes through as well."""
    name = name if len(name) >= 3 else name * 3

    async def test() -> None:
        store = store_at(dynamodb_server.endpoint_url, name)
        await store.open()
        (shard,) = shards(1)
        await store.create([Lease(shard)])
        (claim,) = await store.take(await store.leases(), "w")
        assert isinstance(claim, Claim)
        done = Checkpoint(shard, StartPosition.after(Position(7)), owner="w")
        assert list(await store.save([(done, claim.grant)])) == [claim.grant]
        await store.overwrite(Checkpoint(shard, StartPosition.after(Position(3))))
        (lease,) = await store.leases()
        assert (lease.owner, str(lease.checkpoint and lease.checkpoint.at)) == ("", "after 3")
        assert isinstance((await store.renew([(shard, claim.grant)]))[0], FencedError)
        again = await store.claim(shard, "w", 0)
        assert list(await store.renew([(shard, again.grant)])) == [again.grant]
        await store.delete([shard])
        assert list(await store.list()) == []
        await store.remove(await store.leases())
        assert list(await store.leases()) == []
        await store.close()

    asyncio.run(test())

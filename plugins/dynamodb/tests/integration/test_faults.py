"""Two workers on DynamoDB Local through a proxy that throttles, resets, cuts, delays and swallows: nothing is granted twice, nothing
that was acknowledged is lost, and no row is ever taken for missing."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from streamkit.errors import CheckpointError, FencedError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant
from tests.conformance.context import PlainContext

if TYPE_CHECKING:
    from streamkit_sandbox.dynamodb import DynamoDBServer

pytestmark = pytest.mark.integration

SHARDS = [Partition("orders", f"shardId-{n:012}", incarnation="arn:aws:kinesis:r:1:stream/orders@1") for n in range(5)]
STEPS = 120
CHANCE = 0.07
IN_DOUBT = (StoreUnavailableError, StoreThrottledError)


class Worker:
    """Does at random what an engine might, and writes down what it was promised."""

    def __init__(self, name: str, store: DynamoDBStore, chance: random.Random, said: list[tuple[str, int, int]]) -> None:
        self.name = name
        self.store = store
        self.chance = chance
        self.said = said
        """(shard, epoch, sequence) of each save that was granted."""
        self.held: dict[Partition, tuple[Grant, int, int]] = {}
        """Grant, epoch, and the last sequence that was tried."""
        self.seen: list[tuple[str, int]] = []
        """(shard, epoch) of each take."""
        self.in_doubt = 0

    async def run(self) -> None:
        for _ in range(STEPS):
            step = self.chance.choice([self.take, self.save, self.save, self.save, self.renew, self.release])
            try:
                await step()
            except IN_DOUBT:
                self.in_doubt += 1
            await asyncio.sleep(0)

    async def leases(self) -> Sequence[Lease]:
        found = await self.store.leases()
        assert [lease.partition for lease in found] == SHARDS, "a row was taken for missing"
        return found

    async def take(self) -> None:
        lease = self.chance.choice(await self.leases())
        (answer,) = await self.store.take([lease], self.name)
        if isinstance(answer, Claim):
            at = answer.checkpoint.at.position if answer.checkpoint else None
            self.held[lease.partition] = (answer.grant, answer.epoch, at.sequence or 0 if at else 0)
            self.seen.append((lease.partition.id, answer.epoch))
        else:
            self.told(lease.partition, answer)

    async def save(self) -> None:
        for shard in list(self.held):
            grant, epoch, last = self.held[shard]
            self.held[shard] = (grant, epoch, last + 1)
            done = Checkpoint(shard, StartPosition.after(Position(last + 1)), metadata=f"{epoch}", owner=self.name)
            (answer,) = await self.store.save([(done, grant)])
            if isinstance(answer, Exception):
                self.told(shard, answer)
            else:
                assert answer == grant
                self.said.append((shard.id, epoch, last + 1))

    async def renew(self) -> None:
        held = [(shard, grant) for shard, (grant, _, _) in self.held.items()]
        for (shard, _), answer in zip(held, await self.store.renew(held), strict=True):
            if isinstance(answer, Exception):
                self.told(shard, answer)

    async def release(self) -> None:
        if self.held:
            shard = self.chance.choice(list(self.held))
            await self.store.release([(shard, self.held[shard][0])])
            del self.held[shard]

    def told(self, shard: Partition, answer: Exception) -> None:
        assert isinstance(answer, CheckpointError)
        if isinstance(answer, FencedError):
            self.held.pop(shard, None)
        else:
            assert isinstance(answer, IN_DOUBT), answer
            self.in_doubt += 1


async def open_patiently(store: DynamoDBStore) -> None:
    """As the engine does."""
    while True:
        try:
            return await store.open()
        except IN_DOUBT:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_becomes_of_answers_promises_are_kept(seed: int, dynamodb_server: DynamoDBServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamkit_sandbox.fault_proxy import FaultProxy, every_fault

    for name, value in dynamodb_server.settings().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    table = f"t-{uuid.uuid4().hex[:12]}"

    def store_at(url: str, worker: str, *, patient: bool = False) -> DynamoDBStore:
        context = PlainContext(broker="kinesis", worker=worker)
        context.streams = ("orders",)
        times = {"request_timeout": "20s"} if patient else {"request_timeout": "500ms", "retry_timeout": "100ms"}
        return DynamoDBStore(DynamoDBSettings(endpoint_url=url, region="us-east-1", table=table, **times), context)  # type: ignore[arg-type]

    async def test(url: str) -> None:
        clean = store_at(dynamodb_server.endpoint_url, "clean", patient=True)
        await clean.open()
        await clean.create([Lease(shard) for shard in SHARDS])
        said: list[tuple[str, int, int]] = []
        stores = [store_at(url, name) for name in "ab"]
        workers = [Worker(name, store, random.Random(f"{seed}{name}"), said) for name, store in zip("ab", stores, strict=True)]
        for store in stores:
            await open_patiently(store)
        await asyncio.gather(*(worker.run() for worker in workers))
        for store in stores:
            await store.close()
        taken = [epoch for worker in workers for epoch in worker.seen]
        assert len(taken) == len(set(taken)) > 5, "an epoch was given twice"
        for lease in await clean.leases():
            mine = [(epoch, sequence) for shard, epoch, sequence in said if shard == lease.partition.id]
            assert mine == sorted(mine), "a save was granted behind a newer owner's"
            assert len({sequence for _, sequence in mine}) == len(mine), "a position was granted twice"
            if mine:
                assert lease.checkpoint is not None
                assert lease.checkpoint.at.position is not None
                assert (lease.checkpoint.at.position.sequence or 0) >= mine[-1][1], "what was acknowledged is gone"
        await clean.close()
        assert len(said) > 20
        assert sum(worker.in_doubt for worker in workers) > 5, "the proxy did nothing"

    with FaultProxy(dynamodb_server.endpoint_url, seed=seed) as proxy:
        proxy.rules = every_fault(CHANCE)
        asyncio.run(test(proxy.url))

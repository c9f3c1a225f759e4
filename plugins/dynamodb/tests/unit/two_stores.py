"""Two stores of one table at a service that is an imitation, and what tests ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service, lost
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant
from tests.conformance.context import PlainContext

SHARD = "shardId-000000000000"
ARN = "arn:aws:kinesis:eu-west-1:123456789012:stream/s"
PART = Partition("s", SHARD, incarnation=f"{ARN}@1700000000")


def after(sequence: int, **more: Any) -> Checkpoint:
    return Checkpoint(PART, StartPosition.after(Position(sequence)), owner="a", **more)


def no_time() -> DynamoDBSettings:
    return DynamoDBSettings(retry_timeout="0s", table="leases")


def store_of(service: Service, *, settings: DynamoDBSettings | None = None, streams: Sequence[str] = ("s",)) -> DynamoDBStore:
    context = PlainContext(broker="kinesis", worker="a")
    context.streams = streams
    return DynamoDBStore(settings or no_time(), context, lambda settings, table: service)


Test = Callable[[Service, DynamoDBStore, DynamoDBStore], Awaitable[None]]


def run(test: Test, *, settings: DynamoDBSettings | None = None, streams: Sequence[str] = ("s",)) -> None:
    """With two stores of one table."""

    async def both() -> None:
        service = Service()
        a, b = (store_of(service, settings=settings, streams=streams) for _ in range(2))
        try:
            await a.open()
            await b.open()
            await test(service, a, b)
        finally:
            await a.close()
            await b.close()

    asyncio.run(both())


async def taken(store: DynamoDBStore, owner: str = "a") -> Claim:
    await store.create([Lease(PART)])
    (answer,) = await store.take(await store.leases(), owner)
    assert isinstance(answer, Claim), answer
    return answer


async def save(store: DynamoDBStore, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
    (answer,) = await store.save([(checkpoint, grant)])
    return answer


def lose(service: Service, times: int = 1) -> None:
    """The next calls are carried out, and their answers lost."""

    def fail(name: str) -> None:
        raise lost()

    service.after += [fail] * times

"""Answers that are lost, and requests that arrive late: what was written counts once, and nothing is undone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service, lost
from plugins.dynamodb.tests.unit.two_stores import PART, SHARD, after, lose, run, save, store_of, taken
from streamkit.errors import FencedError, StoreUnavailableError
from streamkit.model import Lease, ParkedKey, Partition, Position
from streamkit.plugin import Claim


def test_a_lost_answer_costs_nothing() -> None:
    """Every write of an owner, carried out and its answer lost, is repeated with the same grant and granted."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        for attempt, write in enumerate(
            (
                lambda: a.renew([(PART, claim.grant)]),
                lambda: a.save([(after(1), claim.grant)]),
                lambda: a.save([(after(2, metadata="x"), claim.grant)]),
            )
        ):
            lose(service)
            (answer,) = await write()
            assert isinstance(answer, StoreUnavailableError), attempt
            version = (await b.leases())[0].version
            (answer,) = await write()
            assert answer == claim.grant
            assert (await b.leases())[0].version > version
        lose(service)
        with pytest.raises(StoreUnavailableError):
            await a.name_children(PART, claim.grant, ["x"])
        assert await a.name_children(PART, claim.grant, ["x"]) == claim.grant
        assert (await b.leases())[0].partition.children == ("x",)
        lose(service)
        with pytest.raises(StoreUnavailableError):
            await a.release([(PART, claim.grant)])
        assert (await b.leases())[0].owner == ""
        (gone,) = await a.release([(PART, claim.grant)])
        assert isinstance(gone, FencedError), "as good as given back"

    run(test)


def test_what_is_retried_inside_after_a_lost_answer_is_recognised_as_our_own() -> None:
    """With time for a second try: a take, a claim, a creation."""

    async def test() -> None:
        service = Service()
        store = store_of(service, settings=DynamoDBSettings(retry_timeout="1s", table="leases"))
        await store.open()
        lose(service)
        await store.create([Lease(PART)])
        leases = await store.leases()
        lose(service)
        (claim,) = await store.take(leases, "a")
        assert isinstance(claim, Claim)
        assert (claim.epoch, claim.fruitless) == (1, 0)
        lose(service)
        assert await store.renew([(PART, claim.grant)]) == [claim.grant]
        lose(service)
        assert await save(store, after(1), claim.grant) == claim.grant
        other = Partition("s", "shardId-000000000001")
        for _ in range(2):
            service.after = [lambda name: None]  # the read
            lose(service)
            before = service.items.get(other.id, {}).get("leaseCounter", {"N": "0"})["N"]
            claimed = await store.claim(other, "a", 0)
            assert claimed.epoch == int(before) + 1, "once, not twice"
        await store.close()

    asyncio.run(test())


def test_a_request_that_was_given_up_and_arrives_late_undoes_nothing() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        kept: list[Any] = []

        def swallow(name: str) -> None:
            kept.append(service.calls[-1][1])
            raise lost()

        parked = {b"k": ParkedKey("f", ("l",))}
        service.before = [swallow]
        assert isinstance(await save(a, after(1), claim.grant), StoreUnavailableError)
        assert await save(a, after(1, parked=parked), claim.grant) == claim.grant
        assert await save(a, after(2, metadata="new", parked=parked), claim.grant) == claim.grant
        before = dict(service.items[SHARD])
        answer = service.batch_execute_statement(**kept[0])
        assert answer["Responses"][0]["Error"]["Code"] == "ConditionalCheckFailed"
        assert service.items[SHARD] == before
        (lease,) = await b.leases()
        assert lease.checkpoint is not None
        assert (lease.checkpoint.metadata, dict(lease.checkpoint.parked)) == ("new", parked)

    run(test)


def test_what_may_have_been_written_is_written_over() -> None:
    """A save that may be in the table had a prepared checkpoint; the next one has none, so none may be left."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        lose(service)
        assert isinstance(await save(a, after(1, pending=Position(3), pending_state=b"x"), claim.grant), StoreUnavailableError)
        assert "pendingCheckpoint" in service.items[SHARD]
        assert await a.renew([(PART, claim.grant)]) == [claim.grant], "a sign of life changes nothing of it"
        assert "pendingCheckpoint" in service.items[SHARD]
        assert await save(a, after(2), claim.grant) == claim.grant
        assert not [name for name in service.items[SHARD] if name.startswith("pending")]
        (lease,) = await b.leases()
        assert lease.checkpoint == after(2)

    run(test)


def test_a_renewal_after_a_save_in_doubt_does_not_take_it_back() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        lose(service)
        assert isinstance(await save(a, after(5), claim.grant), StoreUnavailableError)
        await a.renew([(PART, claim.grant)])
        await a.name_children(PART, claim.grant, ["x"])
        await a.release([(PART, claim.grant)])
        (lease,) = await b.leases()
        assert lease.checkpoint == after(5)
        assert lease.partition.children == ("x",)

    run(test)


def test_a_take_in_doubt_is_its_own_answer_and_the_next_listing_shows_it() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await a.create([Lease(PART)])
        leases = await a.leases()
        lose(service)
        (answer,) = await a.take(leases, "a")
        assert isinstance(answer, StoreUnavailableError)
        (lease,) = await a.leases()
        assert (lease.owner, lease.epoch) == ("a", 1)
        (claim,) = await a.take([lease], "a")
        assert isinstance(claim, Claim)
        assert (claim.epoch, claim.fruitless) == (2, 0), "no further owner"

    run(test)

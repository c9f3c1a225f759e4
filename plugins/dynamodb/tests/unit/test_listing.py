"""What a listing of the table is: all rows of one moment; and a table that is gone is not an empty one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service, client_error
from plugins.dynamodb.tests.unit.two_stores import PART, after, run, taken
from streamkit.errors import ConfigurationError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Lease
from tests.conformance.context import PlainContext


def test_a_table_that_is_deleted_while_running_stops_everything_by_name() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        leases = await a.leases()
        service.table = None
        calls: list[Callable[[], Awaitable[object]]] = [
            a.leases,
            a.list,
            lambda: a.renew([(PART, claim.grant)]),
            lambda: a.save([(after(1), claim.grant)]),
            lambda: a.take(leases, "a"),
            lambda: a.create([Lease(replace(PART, id="x"))]),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError, match="is gone"):
                await call()

    run(test)


def test_a_table_that_was_made_anew_is_not_an_empty_one() -> None:
    """It has no rows, and an empty listing would be filled as at a first start."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await taken(a)
        assert len(await a.leases()) == 1
        service.items.clear()
        assert service.table is not None
        service.table = {**service.table, "TableId": "two"}
        with pytest.raises(ConfigurationError, match="is gone"):
            await a.leases()

    run(test)


def test_a_table_whose_rows_were_removed_in_order_is_an_empty_one() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await a.create([Lease(PART)])
        await b.remove(await a.leases())
        assert await a.leases() == []

    run(test)


def test_pages_are_read_to_the_last_and_a_failed_one_is_no_end() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        service.page = 2
        await a.create([Lease(replace(PART, id=f"shardId-{n:012}")) for n in range(5)])
        assert len(await a.leases()) == 5
        service.before = [lambda name: None, lambda name: (_ for _ in ()).throw(client_error("InternalServerError", status=500))]
        with pytest.raises(StoreUnavailableError):
            await a.leases()

    run(test)


def test_a_listing_whose_pages_lie_far_apart_is_none() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        service.page = 2
        await a.create([Lease(replace(PART, id=f"shardId-{n:012}")) for n in range(5)])

        def slow(name: str) -> None:
            assert isinstance(a.context, PlainContext)
            a.context.now += 1.5

        service.before = [slow] * 3
        with pytest.raises(StoreThrottledError, match="4 rows on several pages took"):
            await a.leases()
        service.page = 4
        service.before = [slow] * 2
        with pytest.raises(StoreThrottledError, match="5 rows on several pages took"):  # the last page is one of them
            await a.leases()
        service.page = 10
        service.before = [slow] * 2
        assert len(await a.leases()) == 5, "one page is of one moment, however long it takes"

    run(test)

"""Writes of which it is not known at once whose they were: never taken for somebody else's, nor somebody else's for one's own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from streamkit_dynamodb.exchange import KclExchange
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.statements import Retries

from plugins.dynamodb.tests.service import Service, lost
from plugins.dynamodb.tests.unit import two_stores
from plugins.dynamodb.tests.unit.two_stores import PART, SHARD, after, save, taken
from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Lease, Position, StartPosition
from streamkit.plugin import Claim, Exported, Foreign
from tests.conformance.context import PlainContext

PATIENT = DynamoDBSettings(retry_timeout="1s", table="leases")
BACK = Checkpoint(PART, StartPosition.at(Position(3)), epoch=1)


def run(test: Callable[[Service, Any, Any], Awaitable[None]]) -> None:
    """With two stores that try again what was lost."""
    two_stores.run(test, settings=PATIENT)


def kcl_takes(service: Service) -> None:
    """As the KCL does it: its columns, and ours stay as they are."""
    service.items[SHARD]["leaseOwner"] = {"S": "kcl-1"}
    kcl_renews(service)


def kcl_renews(service: Service) -> None:
    item = service.items[SHARD]
    item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}


def before_a_write(service: Service, what: Callable[[Service], None]) -> None:
    """It happens between what the next change reads and what it writes."""
    service.before = [lambda name: None, lambda name: what(service)]


# -- what an operator writes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_worker", [True, False], ids=["a worker that gives back", "the KCL that renews"])
def test_what_an_operator_sets_is_written_even_if_somebody_writes_at_the_same_moment(has_worker: bool) -> None:
    """A row that nobody owns is no proof that it is our own write that has freed it."""

    async def test(service: Service, a: Any, b: Any) -> None:
        claim = await taken(a)
        assert await save(a, after(9), claim.grant) == claim.grant
        await a.release([(PART, claim.grant)])
        if has_worker:
            (again,) = await a.take(await a.leases(), "a")
            held = service.items[SHARD]

            def release(service: Service) -> None:
                for name in ("leaseOwner", "streamkitGrant"):
                    del held[name]
                kcl_renews(service)

            assert isinstance(again, Claim)
            before_a_write(service, release)
        else:
            kcl_takes(service)
            before_a_write(service, kcl_renews)
        await b.overwrite(BACK)
        (lease,) = await b.leases()
        assert lease.checkpoint is not None
        assert (str(lease.checkpoint.at), lease.owner) == (str(BACK.at), "")

    run(test)


def test_what_an_operator_forgets_is_forgotten_even_if_somebody_writes_at_the_same_moment() -> None:
    async def test(service: Service, a: Any, b: Any) -> None:
        claim = await taken(a)
        assert await save(a, after(9), claim.grant) == claim.grant
        await a.release([(PART, claim.grant)])
        service.before = [lambda name: None, lambda name: None, lambda name: kcl_renews(service)]
        await b.delete([PART])
        assert await b.list() == []

    run(test)


def test_what_an_operator_sets_is_written_once_although_its_answer_was_lost() -> None:
    async def test(service: Service, a: Any, b: Any) -> None:
        await taken(a)
        service.after = [lambda name: None, lambda name: _fail()]
        await b.overwrite(BACK)
        assert service.items[SHARD]["leaseCounter"] == {"N": "2"}
        (lease,) = await b.leases()
        assert lease.checkpoint is not None
        assert (str(lease.checkpoint.at), lease.owner, lease.epoch) == (str(BACK.at), "", 2)

    run(test)


# -- what an owner writes -----------------------------------------------------------------------------------------------


def _fail() -> None:
    raise lost()


def _lost_and_taken(service: Service) -> Callable[[str], None]:
    def fail(name: str) -> None:
        kcl_takes(service)
        raise lost()

    return fail


def test_a_take_whose_answer_was_lost_is_not_ours_once_the_kcl_has_taken_it() -> None:
    """The KCL leaves our grant in the row: the owner tells."""

    async def test(service: Service, a: Any, b: Any) -> None:
        await a.create([Lease(PART)])
        leases = await a.leases()
        service.after = [_lost_and_taken(service)]
        (answer,) = await a.take(leases, "a")
        assert isinstance(answer, FencedError), answer

    run(test)


def test_a_claim_whose_answer_was_lost_is_made_again_once_the_kcl_has_taken_it() -> None:
    async def test(service: Service, a: Any, b: Any) -> None:
        await a.create([Lease(PART)])
        service.after = [lambda name: None, _lost_and_taken(service)]
        claim = await a.claim(PART, "a", 0)
        assert service.items[SHARD]["leaseOwner"] == {"S": "a"}
        assert await save(a, after(1), claim.grant) == claim.grant

    run(test)


def test_what_was_asked_of_an_owner_is_not_asked_of_the_kcl_that_has_taken_it() -> None:
    """It leaves our column as it is. Whoever has asked would take the lease by force, since nobody answers."""

    async def test(service: Service, a: Any, b: Any) -> None:
        await taken(a)
        (lease,) = await b.leases()
        assert await b.request_handover(lease, "b")
        assert [one.handover_to for one in await b.leases()] == ["b"]
        kcl_takes(service)
        assert [(one.owner, one.handover_to) for one in await b.leases()] == [("kcl-1", "")]
        (claim,) = await b.take(await b.leases(), "b")
        assert isinstance(claim, Claim)
        assert [(one.owner, one.handover_to) for one in await b.leases()] == [("b", "")]

    run(test)


# -- what is given back to the KCL --------------------------------------------------------------------------------------


def given(service: Service, place: StartPosition) -> Exported:
    """`checkpoints export --to kcl --table leases`."""

    async def write() -> Exported:
        context = PlainContext(broker="kinesis", group="g")
        context.streams = ("s",)
        exchange = KclExchange(DynamoDBSettings(), context, lambda settings, table: service)
        exchange._retries = Retries(time.monotonic, 10.0, pause=lambda seconds: None)
        try:
            return await exchange.write("leases", [Lease(PART, checkpoint=Checkpoint(PART, place))])
        finally:
            await exchange.close()

    return asyncio.run(write())


@pytest.mark.parametrize("is_there", [False, True], ids=["new row", "row of before"])
def test_a_row_that_was_given_to_the_kcl_is_not_somebody_elses_because_the_answer_was_lost(is_there: bool) -> None:
    service = Service()
    if is_there:
        given(service, StartPosition.after(Position(1)))
    service.after = [lambda name: None, lambda name: None, lambda name: _fail()]
    given(service, StartPosition.after(Position(2, 1)))
    assert (service.items[SHARD]["checkpoint"], service.items[SHARD]["checkpointSubSequenceNumber"]) == ({"S": "2"}, {"N": "1"})
    assert service.items[SHARD]["leaseCounter"] == {"N": "1" if is_there else "0"}


def test_a_row_that_the_kcl_has_taken_while_it_was_given_is_told() -> None:
    service = Service()
    given(service, StartPosition.after(Position(1)))
    service.before = [lambda name: None, lambda name: None, lambda name: kcl_takes(service)]
    with pytest.raises(FencedError, match="somebody has changed"):
        given(service, StartPosition.after(Position(2)))
    service.after = [lambda name: None, lambda name: None, _lost_and_taken(service)]
    with pytest.raises(FencedError, match="somebody has changed"):
        given(service, StartPosition.after(Position(2)))


def test_rows_that_stay_in_the_table_beside_what_is_given_are_named() -> None:
    """The KCL would read a shard again that streamkit has finished, and whose row it has removed."""
    service = Service()
    given(service, StartPosition.after(Position(1)))
    old, done = SHARD.replace("0", "8"), SHARD.replace("0", "9")
    service.items[old] = {**service.items[SHARD], "leaseKey": {"S": old}}
    service.items[done] = {**service.items[SHARD], "leaseKey": {"S": done}, "checkpoint": {"S": "SHARD_END"}}
    (remark,) = given(service, StartPosition.after(Position(2))).remarks
    assert remark.startswith(f"{old}: in the table, and not of this group any more")
    assert service.items[old]["checkpoint"] == {"S": "1"}


def test_what_streamkit_has_once_kept_in_that_table_does_not_count_again() -> None:
    """A start at a time is TRIM_HORIZON to the KCL, as any other one that it has no word for."""

    async def test(service: Service, a: Any, b: Any) -> None:
        await a.create([Lease(PART, checkpoint=Checkpoint(PART, StartPosition.at_time(datetime(2030, 1, 1, tzinfo=UTC))))])
        await asyncio.to_thread(given, service, StartPosition.EARLIEST)
        (lease,) = await b.leases()
        assert lease.checkpoint is not None
        assert lease.checkpoint.at == StartPosition.EARLIEST

    run(test)


def test_a_table_of_stopped_workers_may_be_listed_as_slowly_as_it_likes() -> None:
    """Nothing of it is removed meanwhile; and it may be larger than its read capacity."""
    service = Service()
    for number in range(5):
        key = f"shardId-{number:012}"
        service.items[key] = {"leaseKey": {"S": key}, "checkpoint": {"S": "1"}, "leaseCounter": {"N": "1"}}
    service.page = 2

    async def read() -> Foreign:
        context = PlainContext(broker="kinesis", group="g")
        context.streams = ("s",)
        exchange = KclExchange(DynamoDBSettings(), context, lambda settings, table: service)

        def slow(name: str) -> None:
            context.now += 30.0

        service.before = [slow] * 4
        try:
            return await exchange.read("leases", [PART], StartPosition.EARLIEST)
        finally:
            await exchange.close()

    assert len(asyncio.run(read()).checkpoints) == 5

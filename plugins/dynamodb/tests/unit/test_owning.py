"""Owners and those who would be: which of two is refused, what a call costs, and that none waits for another."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service
from plugins.dynamodb.tests.unit.two_stores import ARN, PART, SHARD, after, run, save, store_of, taken
from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Lease, Position
from streamkit.plugin import Claim, Grant


def test_a_sign_of_life_since_the_listing_refuses_a_take_and_a_removal() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        leases = await b.leases()
        await a.renew([(PART, claim.grant)])
        (answer,) = await b.take(leases, "b")
        assert isinstance(answer, FencedError)
        await b.remove(leases)
        assert await a.renew([(PART, claim.grant)]) == [claim.grant]

    run(test)


def test_of_two_processes_with_one_name_that_claim_at_once_one_is_the_owner() -> None:
    """Each has read the same counter, and would write the same epoch and the same name."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        theirs: list[Any] = []

        def meanwhile(name: str) -> None:
            if name == "GetItem":
                theirs.append(asyncio.run_coroutine_threadsafe(b.claim(PART, "same", 0), loop).result(10))

        loop = asyncio.get_running_loop()
        service.after = [meanwhile]
        ours = await a.claim(PART, "same", 0)
        (other,) = theirs
        assert ours.epoch == other.epoch + 1
        assert isinstance(await save(b, after(1), other.grant), FencedError)
        assert await save(a, after(1), ours.grant) == ours.grant

    run(test)


def test_a_save_beside_a_claim_of_the_same_worker_does_not_forget_what_the_claim_has_found() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        old = await a.claim(PART, "a", 0)
        new: list[Claim] = []

        def meanwhile(name: str) -> None:
            parts = a._parts
            assert parts is not None
            new.append(parts.claim(PART, "a", 0))

        service.before = [meanwhile]
        assert isinstance(await save(a, after(1), old.grant), FencedError)
        service.calls.clear()
        assert await save(a, after(1), new[0].grant) == new[0].grant
        assert [name for name, _ in service.calls] == ["BatchExecuteStatement"], "without reading it again"

    run(test)


def test_what_another_store_wrote_with_our_grant_is_found_out_by_the_counter() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        assert await save(a, after(1), claim.grant) == claim.grant
        for sequence in (2, 3):
            assert await save(b, after(sequence), claim.grant) == claim.grant
        assert isinstance(await save(a, after(2), claim.grant), CheckpointPositionError)
        assert await save(a, after(4), claim.grant) == claim.grant

    run(test)


def test_a_save_is_one_call_and_a_renewal_of_many_few() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        parts = [replace(PART, id=f"shardId-{n:012}") for n in range(60)]
        await a.create([Lease(part) for part in parts])
        leases = await a.leases()
        service.calls.clear()
        claims = await a.take(leases, "a")
        assert [name for name, _ in service.calls] == ["BatchExecuteStatement"] * 3
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True) if isinstance(claim, Claim)]
        service.calls.clear()
        assert await a.renew(held) == [grant for _, grant in held]
        assert [name for name, _ in service.calls] == ["BatchExecuteStatement"] * 3
        service.calls.clear()
        assert await save(a, after(1), held[0][1]) == held[0][1]
        assert [name for name, _ in service.calls] == ["BatchExecuteStatement"]

    run(test)


def test_a_renewal_sends_the_counter_alone() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        await save(a, after(1, pending=Position(2), pending_state=b"x" * 1000), claim.grant)
        await a.renew([(PART, claim.grant)])
        statement = service.calls[-1][1]["Statements"][0]["Statement"]
        assert statement.startswith('UPDATE "leases" SET "leaseCounter" = ? WHERE')

    run(test)


def test_throttled_renewals_are_their_own_answers_and_the_others_count() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        parts = [replace(PART, id=f"shardId-{n:012}") for n in range(3)]
        await a.create([Lease(part) for part in parts])
        leases = await a.leases()
        claims = [claim for claim in await a.take(leases, "a") if isinstance(claim, Claim)]
        service.each = lambda index: {"Code": "ThrottlingError", "Message": ""} if index == 1 else None
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
        answers = await a.renew(held)
        assert [isinstance(answer, StoreThrottledError) for answer in answers] == [False, True, False]
        with pytest.raises(StoreThrottledError):
            await a.release(held)
        service.each = lambda index: None
        assert [type(answer) for answer in await a.release(held)] == [FencedError, type(None), FencedError]

    run(test)


def test_a_stream_that_was_made_anew_is_refused_at_its_first_checkpoint_too() -> None:
    """With several streams the key says of which creation a row is, and a row of the KCL says nothing else."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await a.create([Lease(PART, checkpoint=after(1))])
        (key,) = service.items
        assert key == f"123456789012:s:1700000000:{SHARD}"
        item = service.items[key]
        for name in [name for name in item if name.startswith("streamkit")]:
            del item[name]
        (lease,) = await a.leases()
        (claim,) = await a.take([lease], "a")
        assert isinstance(claim, Claim)
        anew = replace(PART, incarnation=f"{ARN}@1800000000")
        answer = await save(a, replace(after(2), partition=anew), claim.grant)
        assert isinstance(answer, ConfigurationError)
        assert await save(a, after(2), claim.grant) == claim.grant
        await a.create([Lease(anew)])
        with pytest.raises(ConfigurationError, match="two leases"):
            await a.leases()

    run(test, streams=("s", "t"))


def test_a_listing_a_take_or_a_claim_that_hangs_holds_up_no_renewal_and_no_save() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        leases = await a.leases()
        other = replace(PART, id="shardId-000000000001")
        for slow in (a.leases, lambda: a.take(leases, "a"), lambda: a.claim(other, "a", 0), lambda: a.create([Lease(other)])):
            answered, asked = threading.Event(), threading.Event()

            def hang(name: str, answered: threading.Event = answered, asked: threading.Event = asked) -> None:
                asked.set()
                assert answered.wait(20)

            service.before = [hang]
            waiting = asyncio.create_task(slow())  # type: ignore[arg-type]
            await asyncio.to_thread(asked.wait, 20)
            if slow is not a.leases:  # what is taken meanwhile has another grant
                claim = replace(claim, grant=Grant((await b.leases())[0].epoch))
            assert list(await a.renew([(PART, claim.grant)])) == [claim.grant]
            assert not waiting.done()
            answered.set()
            await waiting

    run(test)


def test_nothing_is_asked_of_a_shard_without_a_row() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        with pytest.raises(Exception, match="no lease"):
            await a.ask(PART, "replay")
        assert service.items == {}, "a row would be a lease, of a shard that may be done"

    run(test)


def test_calls_before_the_start_and_after_the_end_say_so() -> None:
    async def test() -> None:
        store = store_of(Service())
        with pytest.raises(StoreUnavailableError):
            await store.leases()
        await store.close()

    asyncio.run(test())

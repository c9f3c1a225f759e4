"""Owners and those who would be: lost answers, late requests, the KCL beside us, and two processes with one name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from streamkit_dynamodb.rows import NEVER_CHECKPOINTED
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service, client_error, lost
from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, ParkedKey, Partition, Position, StartPosition
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


# -- lost answers -----------------------------------------------------------------------------------------------------


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


# -- the KCL beside us ------------------------------------------------------------------------------------------------


def kcl_take(service: Service, owner: str = "kcl") -> None:
    """`leaseCounter` as seen; owner, counter, owner switches; what it does not know stays."""
    item = service.items[SHARD]
    item["leaseOwner"] = {"S": owner}
    item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}
    item["ownerSwitchesSinceCheckpoint"] = {"N": str(int(item["ownerSwitchesSinceCheckpoint"]["N"]) + 1)}


def kcl_checkpoint(service: Service, sequence: int, sub: int = 0) -> None:
    item = service.items[SHARD]
    item["checkpoint"], item["checkpointSubSequenceNumber"] = {"S": str(sequence)}, {"N": str(sub)}
    item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}
    item["ownerSwitchesSinceCheckpoint"] = {"N": "0"}
    for name in [name for name in item if name.startswith("pending")]:
        del item[name]


def test_a_take_of_the_kcl_fences_us() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        claim = await taken(a)
        await save(a, after(5), claim.grant)
        kcl_take(service)
        (lease,) = await b.leases()
        assert (lease.owner, lease.epoch) == ("kcl", lease.version)
        assert lease.epoch > claim.epoch
        before = dict(service.items[SHARD])
        for (answer,) in (await a.renew([(PART, claim.grant)]), await a.save([(after(9), claim.grant)])):
            assert isinstance(answer, FencedError)
        (freed,) = await a.release([(PART, claim.grant)])
        assert isinstance(freed, FencedError)
        assert service.items[SHARD] == before

    run(test)


def test_the_counter_of_a_worker_of_the_kcl_is_a_grant_for_nobody() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await a.create([Lease(PART)])
        kcl_take(service)
        (lease,) = await a.leases()
        for (answer,) in (await a.renew([(PART, Grant(lease.epoch))]), await a.release([(PART, Grant(lease.epoch))])):
            assert isinstance(answer, FencedError)

    run(test)


def test_our_take_of_a_silent_kcl_raises_what_it_compares_and_goes_on_where_it_stood() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        first = await taken(a)
        await save(a, after(5, metadata="old", pending=Position(6)), first.grant)
        kcl_take(service)
        kcl_checkpoint(service, 8, 2)
        counter = service.items[SHARD]["leaseCounter"]["N"]
        (claim,) = await b.take(await b.leases(), "b")
        assert isinstance(claim, Claim)
        assert service.items[SHARD]["leaseCounter"] == {"N": str(int(counter) + 1)}, "the KCL's next write is refused"
        assert claim.epoch == int(counter) + 1 > first.epoch
        assert claim.checkpoint is not None
        assert claim.checkpoint.at == StartPosition.after(Position(8, 2))
        assert (claim.checkpoint.metadata, claim.checkpoint.pending) == ("", None)
        assert service.items[SHARD]["ownerSwitchesSinceCheckpoint"] == {"N": "1"}
        assert service.items[SHARD]["checkpoint"] == {"S": "8"}, "and it stays where it stands until we save"
        answer = await save(b, after(7), claim.grant)
        assert isinstance(answer, CheckpointPositionError), "forward only, from the KCL's place"
        assert await save(b, after(9), claim.grant) == claim.grant
        assert service.items[SHARD]["ownerSwitchesSinceCheckpoint"] == {"N": "0"}
        assert isinstance(await save(a, after(10), first.grant), FencedError)

    run(test)


def test_a_start_at_latest_that_the_kcl_left_is_a_time_from_the_take_on() -> None:
    """Whoever comes next, because the first owner died before its first checkpoint, skips nothing."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        for how in ("take", "claim"):
            await a.create([Lease(PART, checkpoint=after(1))])
            item = service.items[SHARD]
            for name in [name for name in item if name.startswith("streamkit")]:
                del item[name]
            item |= {"checkpoint": {"S": "LATEST"}, "checkpointSubSequenceNumber": {"N": "0"}}
            (lease,) = await a.leases()
            assert lease.checkpoint is not None
            assert lease.checkpoint.at == StartPosition.LATEST
            assert isinstance(a.context, PlainContext)
            assert (PART, NEVER_CHECKPOINTED, 1) in a.context.told, "nothing is skipped that nobody is told of"
            if how == "take":
                (claim,) = await a.take([lease], "a")
            else:
                claim = await a.claim(PART, "a", 0)
            assert isinstance(claim, Claim)
            assert claim.checkpoint is not None
            assert claim.checkpoint.at == StartPosition.at_time(datetime.fromtimestamp(1_700_000_000 - 60, UTC))
            assert isinstance(b.context, PlainContext)
            b.context.now += 5000
            (later,) = await b.take(await b.leases(), "b")
            assert isinstance(later, Claim)
            assert later.checkpoint == claim.checkpoint
            service.items.clear()

    run(test)


def test_an_expired_hand_over_of_a_kcl_3_is_taken_and_ended() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await a.create([Lease(PART, checkpoint=after(1))])
        service.items[SHARD] |= {"leaseOwner": {"S": "new"}, "checkpointOwner": {"S": "old"}}
        (lease,) = await a.leases()
        assert lease.owner == "new"
        service.items[SHARD]["checkpointOwner"] = {"S": "older"}
        (answer,) = await a.take([lease], "a")
        assert isinstance(answer, FencedError), "it has moved, and the counter does not say so"
        (claim,) = await a.take(await a.leases(), "a")
        assert isinstance(claim, Claim)
        assert "checkpointOwner" not in service.items[SHARD], "as the KCL's own take does"

    run(test)


def test_a_worker_of_the_kcl_is_asked_for_nothing() -> None:
    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        await taken(a)
        kcl_take(service)
        assert not await b.request_handover((await b.leases())[0], "b")
        assert "streamkitHandover" not in service.items[SHARD]

    run(test)


def test_rows_have_what_the_kcl_cannot_do_without() -> None:
    """KCL 3.1.3: a row without `ownerSwitchesSinceCheckpoint` stops a worker for ever."""

    async def test(service: Service, a: DynamoDBStore, b: DynamoDBStore) -> None:
        names = [f"shardId-{n:012}" for n in range(4)]
        parts = [replace(PART, id=name) for name in names]
        await a.create([Lease(parts[0])])
        await a.claim(parts[1], "a", 0)
        await a.overwrite(replace(after(1), partition=parts[2]))
        await a.claim(parts[3], "a", 7)
        await a.delete([parts[3]])
        for name in names:
            assert {"leaseKey", "leaseCounter", "checkpoint", "ownerSwitchesSinceCheckpoint"} <= service.items[name].keys()
            assert "checkpointOwner" not in service.items[name]
        assert "leaseOwner" not in service.items[names[0]]

    run(test)


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


# -- others -----------------------------------------------------------------------------------------------------------


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

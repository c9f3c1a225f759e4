"""The KCL beside us in one table: each is fenced by the other, and each goes on where the other stood."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from streamkit_dynamodb.rows import NEVER_CHECKPOINTED
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service
from plugins.dynamodb.tests.unit.two_stores import PART, SHARD, after, run, save, taken
from streamkit.errors import CheckpointPositionError, FencedError
from streamkit.model import Lease, Position, StartPosition
from streamkit.plugin import Claim, Grant
from tests.conformance.context import PlainContext


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

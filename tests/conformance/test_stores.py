"""What every checkpoint store with an epoch in its row promises: one body, three stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, ParkedKey, Position, StartPosition
from streamkit.plugin import Grant
from tests.conformance.stores import DYNAMODB, AnyStore, after, opened, partition, where_it_is

Test = Callable[[AnyStore, AnyStore], Awaitable[None]]


@pytest.fixture(params=["memory", "file", "sqlite", DYNAMODB])
def kind(request: pytest.FixtureRequest) -> str:
    return where_it_is(request)


@pytest.fixture
def run(kind: str, tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test with two stores open over the same rows, as two owners have them."""

    async def both(test: Test) -> None:
        async with opened(kind, tmp_path, worker="a") as a, opened(kind, tmp_path, worker="b") as b:
            await test(a, b)
        MemoryLog.forget(str(tmp_path))

    return lambda test: asyncio.run(both(test))


async def save(store: AnyStore, checkpoint: Checkpoint, grant: Grant) -> Grant | Exception:
    (answer,) = await store.save([(checkpoint, grant)])
    return answer


def test_a_claim_of_what_was_never_saved_is_proof_of_absence(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert (await a.claim(partition(), "a", 0)).checkpoint is None
        assert (await b.claim(partition(), "b", 0)).checkpoint is None, "a claim alone is no checkpoint"
        assert list(await a.list()) == []

    run(test)


def test_a_claim_raises_the_epoch_to_the_larger_of_the_two(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert (await a.claim(partition(), "a", 0)).epoch == 1
        assert (await b.claim(partition(), "b", 0)).epoch == 2
        assert (await b.claim(partition(), "b", 40)).epoch == 40
        assert (await a.claim(partition(), "a", 7)).epoch == 41
        assert (await a.claim(partition("1"), "a", 0)).epoch == 1, "each partition has its own"

    run(test)


def test_an_older_grant_is_refused_for_ever(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        old = await a.claim(partition(), "a", 0)
        assert await save(a, after(1), old.grant) == old.grant
        new = await b.claim(partition(), "b", 0)
        assert new.checkpoint == after(1)
        for sequence in (1, 2, 900):
            answer = await save(a, after(sequence), old.grant)
            assert isinstance(answer, FencedError)
            assert (answer.held, answer.current) == (old.epoch, new.epoch)
            assert new.epoch > old.epoch
        assert await save(b, after(5), new.grant) == new.grant
        assert isinstance(await save(a, after(6), old.grant), FencedError)
        assert list(await a.list()) == [after(5)]

    run(test)


def test_a_grant_that_no_claim_gave_is_refused(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert isinstance(await save(a, after(1), Grant(1)), FencedError)
        await a.claim(partition(), "a", 0)
        assert isinstance(await save(a, after(1), Grant(2)), FencedError)
        assert isinstance(await save(a, after(1), Grant("1")), FencedError)
        assert list(await b.list()) == []

    run(test)


def test_checkpoints_move_forward_only(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        grant = (await a.claim(partition(), "a", 0)).grant
        starts = [StartPosition.EARLIEST, StartPosition.at(Position(5)), StartPosition.after(Position(5))]
        starts += [StartPosition.after(Position(5, 1)), StartPosition.after(Position(10**56)), StartPosition.END]
        for index, start in enumerate(starts):
            assert await save(a, Checkpoint(partition(), start), grant) == grant
            for older in starts[:index]:
                answer = await save(a, Checkpoint(partition(), older), grant)
                assert isinstance(answer, CheckpointPositionError)
                assert (answer.position, answer.low) == (older, start)
            assert [checkpoint.at for checkpoint in await b.list()] == [start]

    run(test)


def test_a_position_that_cannot_be_compared_is_refused(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        grant = (await a.claim(partition(), "a", 0)).grant
        assert await save(a, after(5), grant) == grant
        unknown = Checkpoint(partition(), StartPosition.after(Position(None, token="4711")))
        assert isinstance(await save(a, unknown, grant), CheckpointPositionError)

    run(test)


def test_an_equal_save_succeeds_and_changes_nothing_while_other_content_at_that_position_is_kept(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        grant = (await a.claim(partition(), "a", 0)).grant
        for _ in range(2):
            assert await save(a, after(5, metadata="one"), grant) == grant
        assert await save(a, after(5, metadata="two"), grant) == grant
        assert [checkpoint.metadata for checkpoint in await b.list()] == ["two"]

    run(test)


def test_each_checkpoint_of_a_save_has_its_own_answer(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        claims = [await a.claim(partition(str(n)), "a", 0) for n in range(4)]
        await b.claim(partition("1"), "b", 0)
        await save(a, after(9, partition("2")), claims[2].grant)
        answers = await a.save([(after(3, partition(str(n))), claim.grant) for n, claim in enumerate(claims)])
        assert [type(answer) for answer in answers] == [int, FencedError, CheckpointPositionError, int]
        assert list(await b.list()) == [after(3, partition("0")), after(9, partition("2")), after(3, partition("3"))]
        assert list(await a.save([])) == []

    run(test)


def test_everything_in_a_checkpoint_comes_back(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        odd = replace(partition("shard/../%2E é", stream="A.b~c/日本"), extra={"leaseCounter": "7"})
        for metadata in ("é日本\n\0\"'😀", "x" * 4096, "日" * 4096):
            checkpoint = Checkpoint(
                odd,
                StartPosition.after(Position(7, 3, "tok:en")),
                metadata=metadata,
                record_time=datetime(2024, 2, 29, tzinfo=UTC),
                owner="löwe",
                epoch=3,
                partitions_at_start=8,
                pending=Position(9),
                pending_state=bytes(range(256)) * (min(1 << 20, a.capabilities.pending_bytes) // 256),
            )
            claim = await a.claim(odd, "a", 0)
            assert await save(a, checkpoint, claim.grant) == claim.grant
            (found,) = await b.list()
            assert found.to_text() == checkpoint.to_text()
            assert (await b.claim(odd, "b", 0)).checkpoint == checkpoint

    run(test)


def test_groups_brokers_streams_and_partitions_are_kept_apart(kind: str, tmp_path: Path) -> None:
    async def test() -> None:
        for index, (broker, group) in enumerate([("memory", "g"), ("memory", "G"), ("kafka", "g"), ("memory.g", ""), ("memory", ".g")]):
            async with opened(kind, tmp_path, broker=broker, group=group) as store:
                for other, (stream, name) in enumerate([("a", "b.c"), ("a.b", "c"), ("a", "b%2Ec"), ("a" * 300, "c"), ("a" * 301, "c")]):
                    claim = await store.claim(partition(name, stream=stream), "w", 0)
                    assert (claim.epoch, claim.checkpoint) == (1, None)
                    await save(store, after(index * 10 + other, partition(name, stream=stream)), claim.grant)
                sequences = [c.at.position.sequence or 0 for c in await store.list() if c.at.position]
                assert sorted(sequences) == [index * 10 + other for other in range(5)]

    asyncio.run(test())


def test_overwrite_puts_a_checkpoint_anywhere_and_refuses_every_grant(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        claim = await a.claim(partition(), "a", 0)
        await save(a, after(50), claim.grant)
        await b.overwrite(after(2))
        assert isinstance(await save(a, after(51), claim.grant), FencedError)
        again = await a.claim(partition(), "a", 0)
        assert again.checkpoint == after(2)
        assert again.epoch > claim.epoch
        await b.overwrite(after(1, partition("new")))
        assert len(await a.list()) == 2

    run(test)


def test_delete_leaves_proof_of_absence_and_no_grant_of_before_counts_again(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        claim = await a.claim(partition(), "a", 0)
        await save(a, after(50), claim.grant)
        await b.delete([partition(), partition("never there")])
        assert list(await b.list()) == []
        assert isinstance(await save(a, after(51), claim.grant), FencedError)
        again = await b.claim(partition(), "b", 0)
        assert again.checkpoint is None
        assert again.epoch > claim.epoch
        assert isinstance(await save(a, after(51), claim.grant), FencedError)

    run(test)


def test_claims_without_progress_are_counted(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert (await a.claim(partition(), "a", 0)).fruitless == 0
        claim = await b.claim(partition(), "b", 0)
        assert claim.fruitless == 1
        await save(b, Checkpoint(partition(), StartPosition.EARLIEST, owner="b"), claim.grant)
        claim = await a.claim(partition(), "a", 0)
        assert claim.fruitless == 2, "to know where to begin is no progress"
        await save(a, after(0), claim.grant)
        assert (await b.claim(partition(), "b", 0)).fruitless == 0, "a record is done"
        claim = await b.claim(partition(), "b", 0)
        await save(b, after(0), claim.grant)
        assert (await b.claim(partition(), "b", 0)).fruitless == 2, "the same again is no progress"
        claim = await b.claim(partition(), "b", 0)
        await save(b, replace(after(0), owner=""), claim.grant)
        assert (await b.claim(partition(), "b", 0)).fruitless == 0, "it was given back in order"
        await a.overwrite(after(0))
        assert (await b.claim(partition(), "b", 0)).fruitless == 0

    run(test)


def test_a_checkpoint_of_another_incarnation_is_refused_and_the_claim_changes_nothing(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        claim = await a.claim(partition(), "a", 0)
        await save(a, after(50), claim.grant)
        with pytest.raises(ConfigurationError, match=r"c/1.*c/2") as caught:
            await b.claim(partition(incarnation="c/2"), "b", 0)
        assert "streamkit checkpoints set" in caught.value.fix
        assert await save(a, after(51), claim.grant) == claim.grant, "the refused claim must not have taken the partition"
        assert (await b.claim(partition(incarnation=""), "b", 0)).checkpoint == after(51)

    run(test)


def test_a_request_waits_until_it_is_answered_and_a_newer_one_takes_its_place(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert await a.requests() == {}
        await a.ask(partition(), "one")
        await a.ask(partition("1"), "other")
        assert await b.requests() == {partition(): "one", partition("1"): "other"}
        await a.ask(partition(), "two")
        await b.answered(partition(), "one")
        assert (await b.requests())[partition()] == "two", "only what was read is answered"
        await b.answered(partition(), "two")
        await b.answered(partition(), "two")
        assert await a.requests() == {partition("1"): "other"}

    run(test)


def test_a_request_changes_neither_epoch_nor_checkpoint(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        claim = await a.claim(partition(), "a", 0)
        await save(a, after(1), claim.grant)
        before = list(await b.list())
        await b.ask(partition(), "please")
        assert list(await a.list()) == before
        assert not isinstance(await save(a, after(2), claim.grant), Exception)

    run(test)


def test_parked_keys_are_kept_with_the_checkpoint(run: Callable[[Test], None]) -> None:
    async def test(a: AnyStore, b: AnyStore) -> None:
        assert a.capabilities.parked_bytes
        names = [(), ("s/0/1.1",), ("s/0/1.2", "s/0/2.claimed")]  # none: it is not parked any more
        keys = {bytes([n, 255]): ParkedKey(f"s/0/{n}", names[n % 3]) for n in range(200)}
        claim = await a.claim(partition(), "a", 0)
        await save(a, replace(after(1), parked=keys, owner="a"), claim.grant)
        claim = await b.claim(partition(), "b", 0)
        assert claim.checkpoint is not None
        assert (claim.checkpoint.parked, claim.checkpoint.owner) == (keys, "a")
        await save(b, replace(claim.checkpoint, owner=""), claim.grant)
        found = (await a.claim(partition(), "c", 0)).checkpoint
        assert found is not None
        assert (found.parked, found.owner) == (keys, ""), "given back in order: no letter is unknown"

    run(test)

"""What every lease store promises of listings, takes and renewals, sentence by sentence of `LeaseStore`: one body, two stores."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamkit.builtin.memory import MemoryLog
from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, Lease, StartPosition
from streamkit.plugin import Claim, Grant, LeaseStore
from tests.conformance.leases import ODD, WHOLE, Run, fresh, listed, refuses, run_both, take, text
from tests.conformance.stores import DYNAMODB, after, opened, partition, where_it_is


@pytest.fixture(params=["memory", "sqlite", DYNAMODB])
def kind(request: pytest.FixtureRequest) -> str:
    return where_it_is(request)


@pytest.fixture
def run(kind: str, tmp_path: Path) -> Run:
    return run_both(kind, tmp_path)


def test_the_capabilities_say_so(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        assert a.capabilities.leases
        assert a.capabilities.fencing

    run(test)


# -- leases and create ----------------------------------------------------------------------------------------------------


def test_a_created_lease_is_free_and_listed_to_everybody_with_all_of_its_lineage(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(ODD), Lease(partition())])
        odd, plain = sorted(await b.leases(), key=lambda lease: lease.partition != ODD)
        assert text(odd) == text(Lease(ODD))
        assert text(plain) == text(Lease(partition()))
        assert list(await b.list()) == [], "a lease alone is no checkpoint"

    run(test)


def test_a_created_lease_carries_its_checkpoint(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        checkpoint = Checkpoint(ODD, StartPosition.EARLIEST, partitions_at_start=3)
        await a.create([Lease(ODD, checkpoint=checkpoint)])
        (found,) = await b.leases()
        assert text(found) == text(Lease(ODD, checkpoint=checkpoint))
        assert [c.to_text() for c in await b.list()] == [checkpoint.to_text()]
        assert (await take(b, found, "b")).checkpoint == checkpoint

    run(test)


def test_a_created_lease_is_free_whatever_it_looked_like(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(replace(partition(), ended=True), "a", 7, 8, "b", None, 9)])
        assert text(await listed(b)) == text(Lease(partition())), "whether it has ended, the checkpoint says"

    run(test)


def test_leases_that_exist_stay_as_they_are(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        (lease,) = await fresh(a)
        claim = await take(a, lease, "a")
        await a.save([(after(3), claim.grant)])
        before = await listed(a)
        other = Lease(replace(partition(), key_range=WHOLE), checkpoint=Checkpoint(partition(), StartPosition.EARLIEST))
        await b.create([other, Lease(partition("1"))])
        assert text(await listed(b)) == text(before)
        assert text(await listed(b, "1")) == text(Lease(partition("1"))), "its neighbour is made all the same"
        await b.create([])
        assert len(await b.leases()) == 2

    run(test)


def test_of_two_that_create_it_the_first_counts(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(partition(), checkpoint=after(1)), Lease(partition(), checkpoint=after(2))])
        await b.create([Lease(partition(), checkpoint=after(3))])
        assert (await listed(b)).checkpoint == after(1)

    run(test)


def test_what_is_only_claimed_is_listed_too(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.claim(ODD, "a", 4)
        (lease,) = await b.leases()
        unnamed = replace(ODD, children=())  # that is for its owner to say, when they have leases
        assert lease.version >= 1
        assert text(lease) == text(Lease(unnamed, "a", 4, lease.version, fruitless_claims=1))

    run(test)


def test_a_listing_changes_nothing(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await take(a, (await fresh(a, "0", "1"))[1], "a")
        assert list(map(text, await b.leases())) == list(map(text, await a.leases()))

    run(test)


def test_leases_of_other_brokers_and_groups_are_not_listed_not_taken_and_not_removed(kind: str, tmp_path: Path) -> None:
    async def test() -> None:
        for broker, group in [("memory", "g"), ("memory", "G"), ("kafka", "g"), ("memory.g", ""), ("", "memory.g")]:
            async with opened(kind, tmp_path, broker=broker, group=group) as store:
                assert isinstance(store, LeaseStore)
                assert list(await store.leases()) == []
                streams = [partition("0"), partition("0", stream="other"), partition("1")]
                await store.create([Lease(one) for one in streams])
                assert {lease.partition for lease in await store.leases()} == set(streams)
                claim = await take(store, await listed(store, "1"), "w")
                assert claim.epoch == 1
                await store.remove([lease for lease in await store.leases() if lease.partition.stream == "other"])
                assert {lease.partition for lease in await store.leases()} == {partition("0"), partition("1")}
        async with opened(kind, tmp_path) as store:
            assert isinstance(store, LeaseStore)
            assert {lease.partition for lease in await store.leases()} == {partition("0"), partition("1")}, "nobody has touched ours"

    asyncio.run(test())
    MemoryLog.forget(str(tmp_path))


# -- take -----------------------------------------------------------------------------------------------------------------


def test_a_free_lease_is_taken(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        (lease,) = await fresh(a)
        claim = await take(a, lease, "a")
        assert (claim.checkpoint, claim.epoch, claim.fruitless) == (None, 1, 0)
        assert text(await listed(b)) == text(Lease(partition(), "a", 1, 1, fruitless_claims=1))

    run(test)


def test_a_grant_of_a_take_is_one_for_save(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        assert list(await a.save([(after(5), claim.grant)])) == [claim.grant]
        (answer,) = await a.save([(after(4), claim.grant)])
        assert isinstance(answer, CheckpointPositionError)
        assert (await take(b, await listed(b), "b")).checkpoint == after(5)

    run(test)


def test_of_two_that_take_it_as_listed_one_is_refused_and_changes_nothing(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        (lease,) = await fresh(a)
        claim = await take(a, lease, "a")
        before = await listed(b)
        (answer,) = await b.take([lease], "b")
        assert isinstance(answer, FencedError)
        assert (answer.held, answer.current) == (0, 1)
        assert text(await listed(b)) == text(before)
        assert list(await a.renew([(partition(), claim.grant)])) == [claim.grant]

    run(test)


def test_every_sign_of_life_since_the_listing_refuses_a_take(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        grant = (await take(a, (await fresh(a))[0], "a")).grant
        signs: list[Callable[[], Awaitable[object]]] = [
            lambda: a.renew([(partition(), grant)]),
            lambda: a.save([(after(1), grant)]),
            lambda: a.save([(after(1), grant)]),  # the same again: nothing new, and still a sign of life
            lambda: a.name_children(partition(), grant, ["x"]),
            lambda: a.claim(partition(), "a", 0),
            lambda: a.overwrite(after(0)),
            lambda: a.delete([partition()]),
        ]
        for sign in signs:
            lease = await listed(b)
            await sign()
            assert (await listed(b)).version > lease.version
            (answer,) = await b.take([lease], "b")
            assert isinstance(answer, FencedError)

    run(test)


@pytest.mark.parametrize("change", [{"version": 2}, {"version": 0}, {"owner": ""}, {"owner": "b"}, {"epoch": 0}, {"epoch": 2}])
def test_version_owner_and_epoch_are_compared(run: Run, change: dict[str, int]) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await take(a, (await fresh(a))[0], "a")
        lease = await listed(b)
        (answer,) = await b.take([replace(lease, **change)], "b")  # type: ignore[arg-type]
        assert isinstance(answer, FencedError)
        assert (await take(b, lease, "b")).epoch == 2

    run(test)


def test_a_silent_owner_is_replaced_and_its_grant_is_refused_for_ever(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        old = await take(a, (await fresh(a))[0], "a")
        await a.save([(after(7), old.grant)])
        new = await take(b, await listed(b), "b")
        assert new.checkpoint == after(7)
        assert new.epoch > old.epoch
        await refuses(a, old.grant)
        await take(b, await listed(b), "c")
        await refuses(a, old.grant)
        await refuses(b, new.grant)

    run(test)


def test_each_lease_of_a_take_has_its_own_answer(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        leases = await fresh(a, "0", "1", "2")
        await take(b, leases[1], "b")
        answers = await a.take([*leases, Lease(partition("never there"))], "a")
        assert [type(answer) for answer in answers] == [Claim, FencedError, Claim, FencedError]
        assert [lease.owner for lease in await a.leases()] == ["a", "b", "a"], "and nothing came into being"
        assert list(await a.take([], "a")) == []

    run(test)


def test_a_take_of_another_incarnation_is_its_own_answer_and_changes_nothing(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(partition(), checkpoint=after(1)), Lease(partition("1"))])
        first, second = await a.leases()
        before = await listed(a)
        answers = await a.take([replace(first, partition=partition(incarnation="c/2")), second], "a")
        assert [type(answer) for answer in answers] == [ConfigurationError, Claim]
        assert text(await listed(b)) == text(before)
        assert (await take(b, replace(first, partition=partition(incarnation="")), "b")).epoch == 1
        assert (await listed(b)).partition.incarnation == "c/1", "what is not known stays as it was stored"

    run(test)


def test_a_take_adds_what_the_broker_knows_and_forgets_nothing(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.claim(partition(), "static", 0)
        known = replace(partition(), parents=("p",), key_range=WHOLE, extra={"a": "b"})
        grant = (await take(a, replace(await listed(a), partition=known), "a")).grant
        await a.name_children(partition(), grant, ["x", "y"])
        await take(b, replace(await listed(b), partition=partition()), "b")
        found = (await listed(b)).partition
        assert (found.parents, found.children, found.key_range, found.extra) == (("p",), ("x", "y"), WHOLE, {"a": "b"})

    run(test)


# -- renew ----------------------------------------------------------------------------------------------------------------


def test_a_renewal_raises_the_version_and_nothing_else(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(ODD, checkpoint=after(1, ODD))])
        (lease,) = await a.leases()
        claim = await take(a, lease, "a")
        (before,) = await b.leases()
        (grant,) = await a.renew([(ODD, claim.grant)])
        (found,) = await b.leases()
        assert text(found) == text(replace(before, version=before.version + 1))
        assert not isinstance(grant, Exception)
        assert list(await a.save([(after(2, ODD), grant)])) == [grant], "the grant to go on with"

    run(test)


def test_a_renewal_whose_answer_was_lost_is_repeated_with_the_same_grant(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        for _ in range(3):
            (grant,) = await a.renew([(partition(), claim.grant)])
            assert not isinstance(grant, Exception)
        assert (await listed(b)).version == 4

    run(test)


def test_each_renewal_has_its_own_answer(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        leases = await fresh(a, "0", "1", "2")
        claims = [await take(a, lease, "a") for lease in leases]
        await take(b, await listed(b, "1"), "b")
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
        answers = await a.renew([*held, (partition("never there"), Grant(1))])
        assert [isinstance(answer, FencedError) for answer in answers] == [False, True, False, True]
        assert [lease.version for lease in await b.leases()] == [2, 2, 2]
        assert list(await a.renew([])) == []

    run(test)


def test_a_grant_that_nobody_gave_is_refused(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        for invented in (0, 1, "0", None):
            await refuses(a, Grant(invented))
        claim = await take(a, await listed(a), "a")
        for invented in (0, 2, "1", None):
            await refuses(a, Grant(invented))
        await a.release([(partition(), claim.grant)])
        await refuses(a, Grant((await listed(a)).epoch))

    run(test)

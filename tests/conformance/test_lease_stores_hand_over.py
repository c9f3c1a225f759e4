"""What every lease store promises of leases that change hands, fail, or end: one body, two stores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Lease, Position, StartPosition
from streamkit.plugin import Claim, Grant, LeaseStore
from tests.conformance.leases import WHOLE, Run, fresh, listed, refuses, run_both, take, text
from tests.conformance.stores import DYNAMODB, after, partition, where_it_is


@pytest.fixture(params=["memory", "sqlite", DYNAMODB])
def kind(request: pytest.FixtureRequest) -> str:
    return where_it_is(request)


@pytest.fixture
def run(kind: str, tmp_path: Path) -> Run:
    return run_both(kind, tmp_path)


# -- hand-over and release ------------------------------------------------------------------------------------------------


def test_a_request_is_noted_and_is_no_sign_of_life(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        before = await listed(b)
        assert await b.request_handover(before, "b")
        assert text(await listed(a)) == text(replace(before, handover_to="b"))
        await a.renew([(partition(), claim.grant)])
        await a.save([(after(1), claim.grant)])
        assert (await listed(b)).handover_to == "b", "it stays until it is answered"

    run(test)


def test_a_request_to_another_owner_of_another_epoch_or_beside_another_is_not_noted(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        (free,) = await fresh(a)
        await take(a, free, "a")
        first = await listed(b)
        assert not await b.request_handover(free, "b")
        assert await b.request_handover(first, "b")
        assert not await b.request_handover(first, "c"), "one at a time"
        await take(a, await listed(a), "a")
        assert not await b.request_handover(first, "b"), "another epoch"
        assert not await b.request_handover(replace(await listed(b), owner="c"), "b")
        assert not await b.request_handover(Lease(partition("never there")), "b")
        assert text(await listed(b)) == text(Lease(partition(), "a", 2, 2, fruitless_claims=1))

    run(test)


def test_the_owner_may_renew_between_the_listing_and_the_request(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        lease = await listed(b)
        await a.renew([(partition(), claim.grant)])
        assert await b.request_handover(lease, "b")
        assert ((await listed(b)).handover_to, (await listed(b)).version) == ("b", 2)

    run(test)


def test_a_request_whose_answer_was_lost_is_noted_still(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await take(a, (await fresh(a))[0], "a")
        lease = await listed(b)
        assert await b.request_handover(lease, "b")
        assert await b.request_handover(lease, "b")

    run(test)


def test_the_owner_refuses_a_request(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        before = await listed(a)
        await b.request_handover(before, "b")
        assert await a.request_handover(await listed(a), "")
        assert text(await listed(b)) == text(before)
        assert list(await a.renew([(partition(), claim.grant)])) == [claim.grant]
        assert await b.request_handover(before, "c"), "and may be asked again"

    run(test)


def test_a_take_empties_the_request_and_may_be_by_force(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        old = await take(a, (await fresh(a))[0], "a")
        await b.request_handover(await listed(b), "b")
        await take(b, await listed(b), "b")
        assert ((await listed(b)).owner, (await listed(b)).handover_to) == ("b", "")
        await refuses(a, old.grant)

    run(test)


def test_a_release_frees_refuses_the_grant_and_keeps_for_whom(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(replace(partition(), key_range=WHOLE))])
        claim = await take(a, await listed(a), "a")
        await a.save([(after(5), claim.grant)])
        await b.request_handover(await listed(b), "b")
        before = await listed(b)
        assert list(await a.release([(partition(), claim.grant)])) == [None]
        free = await listed(b)
        assert text(free) == text(replace(before, owner="", epoch=free.epoch, version=before.version + 1))
        assert free.epoch > before.epoch
        assert (free.handover_to, free.checkpoint) == ("b", after(5))
        await refuses(a, claim.grant)
        assert (await take(b, free, "b")).epoch > free.epoch
        await refuses(a, claim.grant)

    run(test)


def test_each_release_has_its_own_answer_and_what_is_no_longer_ours_is_left_alone(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        leases = await fresh(a, "0", "1", "2")
        claims = [await take(a, lease, "a") for lease in leases]
        await take(b, await listed(b, "1"), "b")
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
        answers = await a.release([*held, (partition("never there"), Grant(1))])
        assert [isinstance(answer, FencedError) for answer in answers] == [False, True, False, True]
        assert [lease.owner for lease in await b.leases()] == ["", "b", ""]
        assert all(isinstance(answer, FencedError) for answer in await a.release(held)), "as good as given back"

    run(test)


# -- what a claim counts --------------------------------------------------------------------------------------------------


async def die(store: LeaseStore, owner: str) -> Claim:
    """Take, and never be heard of again."""
    return await take(store, await listed(store), owner)


def test_owners_without_progress_are_counted(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        assert [(await die(a, owner)).fruitless for owner in "abca"] == [0, 1, 2, 3]
        assert (await listed(b)).fruitless_claims == 4
        assert (await b.claim(partition(), "d", 0)).fruitless == 4, "a claim counts as well as a take"
        assert (await b.claim(partition(), "d", 0)).fruitless == 5

    run(test)


def test_a_record_that_is_done_ends_the_count(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        await die(a, "a")
        claim = await die(a, "b")
        await a.save([(after(1), claim.grant)])
        assert (await listed(b)).fruitless_claims == 0
        assert [(await die(a, owner)).fruitless for owner in "cd"] == [0, 1]

    run(test)


def test_a_resolved_start_a_save_of_the_same_and_a_renewal_are_no_progress(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        for count, start in enumerate([StartPosition.EARLIEST, StartPosition.at(Position(5))]):
            claim = await die(a, "ab"[count])
            assert claim.fruitless == count
            await a.save([(Checkpoint(partition(), start, owner="w"), claim.grant)])
        claim = await die(a, "c")
        await a.save([(after(5), claim.grant)])
        for count, metadata in enumerate("xxy"):
            claim = await die(a, "de"[count % 2])
            assert claim.fruitless == count
            await a.save([(after(5, metadata=metadata), claim.grant)])
            await a.renew([(partition(), claim.grant)])

    run(test)


def test_an_owner_that_gave_back_in_order_is_not_counted(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        await die(a, "a")
        claim = await die(a, "b")
        await a.release([(partition(), claim.grant)])
        assert (await listed(b)).fruitless_claims == 0
        assert (await die(b, "c")).fruitless == 0

    run(test)


def test_a_take_again_because_the_answer_was_lost_is_no_further_owner(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        await die(a, "a")
        lost = await die(b, "b")
        again = await die(b, "b")
        assert (lost.fruitless, again.fruitless) == (1, 1)
        assert again.epoch == lost.epoch + 1
        await refuses(b, lost.grant)

    run(test)


# -- ends -----------------------------------------------------------------------------------------------------------------


def test_children_are_named_in_the_parents_row_and_stay_there(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        before = await listed(b)
        await a.name_children(partition(), claim.grant, ["x", "y é"])
        found = await listed(b)
        assert found.partition.children == ("x", "y é")
        assert text(found) == text(replace(before, version=2, partition=replace(partition(), children=("x", "y é"))))
        grant = await a.name_children(partition(), claim.grant, ["x", "y é"])  # an answer was lost
        (saved,) = await a.save([(Checkpoint(partition(), StartPosition.END), grant)])
        assert not isinstance(saved, Exception), "what is named last gives the grant to go on with"
        assert await a.release([(partition(), saved)]) == [None]
        claim = await take(b, await listed(b), "b")
        await b.claim(partition(), "b", 0)
        await b.overwrite(after(1))
        await b.delete([partition()])
        assert (await listed(b)).partition.children == ("x", "y é")

    run(test)


def test_an_ended_lease_shows_it(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a))[0], "a")
        assert not (await listed(b)).is_ended
        await a.save([(Checkpoint(partition(), StartPosition.END), claim.grant)])
        assert (await listed(b)).is_ended

    run(test)


def test_a_removed_lease_is_gone_epochs_included(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        claim = await take(a, (await fresh(a, "0", "1"))[0], "a")
        await a.save([(Checkpoint(partition(), StartPosition.END), claim.grant)])
        lease = await listed(a)
        await b.remove([lease])
        assert [lease.partition.id for lease in await a.leases()] == ["1"]
        assert list(await a.list()) == []
        for (answer,) in (await a.renew([(partition(), claim.grant)]), await a.take([lease], "a")):
            assert isinstance(answer, FencedError)
        await b.remove([lease, await listed(b, "1")])
        assert list(await b.leases()) == []
        await b.remove([])
        assert text((await fresh(b))[0]) == text(Lease(partition())), "nothing of it is left"

    run(test)


def test_what_has_changed_since_it_was_listed_is_not_removed(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await fresh(a)
        lease = await listed(b)
        claim = await take(a, lease, "a")
        await b.remove([lease])
        lease = await listed(b)
        await a.renew([(partition(), claim.grant)])
        await b.remove([lease])
        lease = await listed(b)
        await a.overwrite(after(0))
        await b.remove([lease])
        assert (await listed(a)).checkpoint == after(0)

    run(test)


# -- an operator, and those who claim without leases ------------------------------------------------------------------------


def test_an_operator_frees_a_lease_and_refuses_its_grant(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        whole = replace(partition(), key_range=WHOLE, parents=("p",))
        await a.create([Lease(whole)])
        for checkpoint, act in ((after(1), lambda: b.overwrite(after(1))), (None, lambda: b.delete([partition()]))):
            claim = await take(a, await listed(a), "a")
            await a.save([(after(50), claim.grant)])
            await b.request_handover(await listed(b), "b")
            before = await listed(b)
            await act()
            found = await listed(a)
            assert found.epoch > before.epoch
            assert text(found) == text(Lease(whole, "", found.epoch, before.version + 1, checkpoint=checkpoint))
            await refuses(a, claim.grant)

    run(test)


def test_a_claim_takes_a_lease_from_its_owner_and_keeps_its_lineage(run: Run) -> None:
    async def test(a: LeaseStore, b: LeaseStore) -> None:
        await a.create([Lease(replace(partition(), key_range=WHOLE, parents=("p",)))])
        old = await take(a, await listed(a), "a")
        await b.request_handover(await listed(b), "b")
        before = await listed(b)
        claim = await b.claim(partition(), "static", 0)
        expected = replace(before, owner="static", epoch=2, version=before.version + 1, handover_to="", fruitless_claims=2)
        assert text(await listed(b)) == text(expected)
        await refuses(a, old.grant)
        assert list(await b.save([(after(1), claim.grant)])) == [claim.grant]

    run(test)

"""Rules about leases that change hands, fail, or end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Lease, Position, StartPosition
from streamkit.plugin import Claim, Grant, LeaseStore
from streamkit.testing.conformance.leases import WHOLE, fresh, listed, refuses, take, text
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition

rule = Rule[StoreBench].of


async def die(store: LeaseStore, owner: str) -> Claim:
    """Take, and never be heard of again."""
    return await take(store, await listed(store), owner)


@rule("L30", "a request for hand-over is noted, and is no sign of life", declares=("leases",))
async def request_is_noted(bench: StoreBench) -> None:
    """A request that raised the version would keep a dead owner alive, as long as others ask."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    before = await listed(b)
    assert await b.request_handover(before, "b")
    assert text(await listed(a)) == text(replace(before, handover_to="b"))
    await a.renew([(partition(), claim.grant)])
    await a.save([(after(1), claim.grant)])
    assert (await listed(b)).handover_to == "b", "it stays until it is answered"


@rule("L31", "a request to another owner, of another epoch or beside another is not noted", declares=("leases",))
async def request_is_compared(bench: StoreBench) -> None:
    """It was meant for the owner that was listed. Two that ask at once would both wait for the same lease."""
    a, b = bench.leases
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


@rule("L32", "the owner may renew between the listing and the request", declares=("leases",))
async def request_after_a_renewal(bench: StoreBench) -> None:
    """Owners renew several times in a lease; a request that compared the version would hardly ever be noted."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    lease = await listed(b)
    await a.renew([(partition(), claim.grant)])
    assert await b.request_handover(lease, "b")
    assert ((await listed(b)).handover_to, (await listed(b)).version) == ("b", 2)


@rule("L33", "a request whose answer was lost is noted still", declares=("leases",))
async def request_again(bench: StoreBench) -> None:
    """It is sent again, and is the same request."""
    a, b = bench.leases
    await take(a, (await fresh(a))[0], "a")
    lease = await listed(b)
    assert await b.request_handover(lease, "b")
    assert await b.request_handover(lease, "b")


@rule("L34", "the owner refuses a request", declares=("leases",))
async def request_is_refused(bench: StoreBench) -> None:
    """Then it may be asked again, by anybody."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    before = await listed(a)
    await b.request_handover(before, "b")
    assert await a.request_handover(await listed(a), "")
    assert text(await listed(b)) == text(before)
    assert list(await a.renew([(partition(), claim.grant)])) == [claim.grant]
    assert await b.request_handover(before, "c"), "and may be asked again"


@rule("L35", "a take empties the request, and may be by force", declares=("leases",))
async def take_empties(bench: StoreBench) -> None:
    """An owner that does not answer is replaced; the request was for the owner before."""
    a, b = bench.leases
    old = await take(a, (await fresh(a))[0], "a")
    await b.request_handover(await listed(b), "b")
    await take(b, await listed(b), "b")
    assert ((await listed(b)).owner, (await listed(b)).handover_to) == ("b", "")
    await refuses(a, old.grant)


@rule("L36", "a release frees, refuses the grant, and keeps for whom", declares=("leases",))
async def releases(bench: StoreBench) -> None:
    """Whoever gives back must not save afterwards; and the lease goes to the one who asked, not to whoever looks first."""
    a, b = bench.leases
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


@rule("L37", "each release has its own answer, and what is no longer ours is left alone", declares=("leases",))
async def release_answers(bench: StoreBench) -> None:
    """A worker that shuts down gives back everything it believes to have."""
    a, b = bench.leases
    leases = await fresh(a, "0", "1", "2")
    claims = [await take(a, lease, "a") for lease in leases]
    await take(b, await listed(b, "1"), "b")
    held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
    answers = await a.release([*held, (partition("never there"), Grant(1))])
    assert [isinstance(answer, FencedError) for answer in answers] == [False, True, False, True]
    assert [lease.owner for lease in await b.leases()] == ["", "b", ""]
    assert all(isinstance(answer, FencedError) for answer in await a.release(held)), "as good as given back"


@rule("L40", "owners without progress are counted", declares=("leases",))
async def counts_owners(bench: StoreBench) -> None:
    """A record that kills its process is known by the owners that died of it."""
    a, b = bench.leases
    await fresh(a)
    assert [(await die(a, owner)).fruitless for owner in "abca"] == [0, 1, 2, 3]
    assert (await listed(b)).fruitless_claims == 4
    assert (await b.claim(partition(), "d", 0)).fruitless == 4, "a claim counts as well as a take"
    assert (await b.claim(partition(), "d", 0)).fruitless == 4, "who claims again, because an answer was lost, is no further owner"


@rule("L41", "a record that is done ends the count", declares=("leases",))
async def done_ends_the_count(bench: StoreBench) -> None:
    """Progress shows that it was not this record."""
    a, b = bench.leases
    await fresh(a)
    await die(a, "a")
    claim = await die(a, "b")
    await a.save([(after(1), claim.grant)])
    assert (await listed(b)).fruitless_claims == 0
    assert [(await die(a, owner)).fruitless for owner in "cd"] == [0, 1]


@rule("L42", "a resolved start, a save of the same and a renewal are no progress", declares=("leases",))
async def no_progress(bench: StoreBench) -> None:
    """An owner does all of these before it dies of the first record."""
    a, _ = bench.leases
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


@rule("L43", "an owner that gave back in order is not counted", declares=("leases",))
async def in_order_is_not_counted(bench: StoreBench) -> None:
    """A deployment restarts every worker; nobody has died."""
    a, b = bench.leases
    await fresh(a)
    await die(a, "a")
    claim = await die(a, "b")
    await a.release([(partition(), claim.grant)])
    assert (await listed(b)).fruitless_claims == 0
    assert (await die(b, "c")).fruitless == 0


@rule("L44", "a take again because the answer was lost is no further owner", declares=("leases",))
async def take_again(bench: StoreBench) -> None:
    """The same worker takes what is its own already: with a new epoch, and as the same owner."""
    a, b = bench.leases
    await fresh(a)
    await die(a, "a")
    lost = await die(b, "b")
    again = await die(b, "b")
    assert (lost.fruitless, again.fruitless) == (1, 1)
    assert again.epoch == lost.epoch + 1
    await refuses(b, lost.grant)


@rule("L50", "children are named in the row of their parent, and stay there", declares=("leases",))
async def names_children(bench: StoreBench) -> None:
    """They are named before END is saved. A crash in between must not make a partition that ended without children."""
    a, b = bench.leases
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


@rule("L51", "an ended lease shows it", declares=("leases",))
async def shows_the_end(bench: StoreBench) -> None:
    """Children wait for it."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    assert not (await listed(b)).is_ended
    await a.save([(Checkpoint(partition(), StartPosition.END), claim.grant)])
    assert (await listed(b)).is_ended


@rule("L52", "a removed lease is gone, epochs included", declares=("leases",))
async def removes(bench: StoreBench) -> None:
    """Ended leases would pile up for ever; ids of partitions are never used again."""
    a, b = bench.leases
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


@rule("L53", "what has changed since it was listed is not removed", declares=("leases",))
async def removes_unchanged_only(bench: StoreBench) -> None:
    """Somebody may have set it back to have it read again."""
    a, b = bench.leases
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


@rule("L60", "an operator frees a lease, and refuses its grant", declares=("leases",))
async def operator_frees(bench: StoreBench) -> None:
    """`checkpoints set` and `delete` work on leases too; lineage stays."""
    a, b = bench.leases
    whole = replace(partition(), key_range=WHOLE, parents=("p",))
    await a.create([Lease(whole)])
    acts: list[tuple[Checkpoint | None, Callable[[], Awaitable[None]]]] = [
        (after(1), lambda: b.overwrite(after(1))),
        (None, lambda: b.delete([partition()])),
    ]
    for checkpoint, act in acts:
        claim = await take(a, await listed(a), "a")
        await a.save([(after(50), claim.grant)])
        await b.request_handover(await listed(b), "b")
        before = await listed(b)
        await act()
        found = await listed(a)
        assert found.epoch > before.epoch
        assert text(found) == text(Lease(whole, "", found.epoch, before.version + 1, checkpoint=checkpoint))
        await refuses(a, claim.grant)


@rule("L61", "a claim takes a lease from its owner, and keeps its lineage", declares=("leases",))
async def claim_takes(bench: StoreBench) -> None:
    """Static ownership over the same store: the leases' owner is fenced, and sees it."""
    a, b = bench.leases
    await a.create([Lease(replace(partition(), key_range=WHOLE, parents=("p",)))])
    old = await take(a, await listed(a), "a")
    await b.request_handover(await listed(b), "b")
    before = await listed(b)
    claim = await b.claim(partition(), "static", 0)
    expected = replace(before, owner="static", epoch=2, version=before.version + 1, handover_to="", fruitless_claims=2)
    assert text(await listed(b)) == text(expected)
    await refuses(a, old.grant)
    assert list(await b.save([(after(1), claim.grant)])) == [claim.grant]

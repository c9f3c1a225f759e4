"""Rules about leases: listings, takes and renewals, sentence by sentence of `LeaseStore`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, Lease, StartPosition
from streamkit.plugin import Claim, Grant, LeaseStore
from streamkit.testing.conformance.leases import ODD, WHOLE, fresh, listed, refuses, take, text
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition

rule = Rule[StoreBench].of


@rule("L01", "a created lease is free, and listed to everybody with all of its lineage", declares=("leases",))
async def created_is_free(bench: StoreBench) -> None:
    """Lineage is known to whoever made the lease, and needed by whoever takes it: parents come first."""
    a, b = bench.leases
    await a.create([Lease(ODD), Lease(partition())])
    odd, plain = sorted(await b.leases(), key=lambda lease: lease.partition != ODD)
    assert text(odd) == text(Lease(ODD))
    assert text(plain) == text(Lease(partition()))
    assert list(await b.list()) == [], "a lease alone is no checkpoint"


@rule("L02", "a created lease carries its checkpoint", declares=("leases",))
async def carries_its_checkpoint(bench: StoreBench) -> None:
    """The first worker of a group resolves the start for all partitions; the others must not resolve it once more, later."""
    a, b = bench.leases
    checkpoint = Checkpoint(ODD, StartPosition.EARLIEST, partitions_at_start=3)
    await a.create([Lease(ODD, checkpoint=checkpoint)])
    (found,) = await b.leases()
    assert text(found) == text(Lease(ODD, checkpoint=checkpoint))
    assert [c.to_text() for c in await b.list()] == [checkpoint.to_text()]
    assert (await take(b, found, "b")).checkpoint == checkpoint


@rule("L03", "a created lease is free, whatever it looked like", declares=("leases",))
async def free_whatever(bench: StoreBench) -> None:
    """Only a take makes an owner."""
    a, b = bench.leases
    await a.create([Lease(replace(partition(), ended=True), "a", 7, 8, "b", None, 9)])
    assert text(await listed(b)) == text(Lease(partition())), "whether it has ended, the checkpoint says"


@rule("L04", "leases that exist stay as they are", declares=("leases",))
async def existing_stay(bench: StoreBench) -> None:
    """Every worker creates what it finds. A lease that was made again would lose its owner and its checkpoint."""
    a, b = bench.leases
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


@rule("L05", "of two that create it the first counts", declares=("leases",))
async def first_creation_counts(bench: StoreBench) -> None:
    """Two workers that start together have resolved two different starts; the later one would skip what lies between."""
    a, b = bench.leases
    await a.create([Lease(partition(), checkpoint=after(1)), Lease(partition(), checkpoint=after(2))])
    await b.create([Lease(partition(), checkpoint=after(3))])
    assert (await listed(b)).checkpoint == after(1)


@rule("L06", "what is only claimed is listed too", declares=("leases",))
async def claimed_is_listed(bench: StoreBench) -> None:
    """Somebody reads it under static ownership. Who does not see that would take it for missing."""
    a, b = bench.leases
    await a.claim(ODD, "a", 4)
    (lease,) = await b.leases()
    unnamed = replace(ODD, children=())  # that is for its owner to say, when they have leases
    assert lease.version >= 1
    assert text(lease) == text(Lease(unnamed, "a", 4, lease.version, fruitless_claims=1))


@rule("L07", "a listing changes nothing", declares=("leases",))
async def listing_changes_nothing(bench: StoreBench) -> None:
    """Every worker lists at every poll; a sign of life must come from the owner alone."""
    a, b = bench.leases
    await take(a, (await fresh(a, "0", "1"))[1], "a")
    assert list(map(text, await b.leases())) == list(map(text, await a.leases()))


@rule("L08", "leases of other brokers and groups are not listed, not taken and not removed", declares=("leases",))
async def leases_kept_apart(bench: StoreBench) -> None:
    """As S31: one store serves many groups."""
    for broker, group in [("kit", "g"), ("kit", "G"), ("kafka", "g"), ("kit.g", ""), ("", "kit.g")]:
        async with bench.opened(broker=broker, group=group) as store:
            assert isinstance(store, LeaseStore)
            assert list(await store.leases()) == []
            streams = [partition("0"), partition("0", stream="other"), partition("1")]
            await store.create([Lease(one) for one in streams])
            assert {lease.partition for lease in await store.leases()} == set(streams)
            claim = await take(store, await listed(store, "1"), "w")
            assert claim.epoch == 1
            await store.remove([lease for lease in await store.leases() if lease.partition.stream == "other"])
            assert {lease.partition for lease in await store.leases()} == {partition("0"), partition("1")}
    async with bench.opened() as store:
        assert isinstance(store, LeaseStore)
        assert {lease.partition for lease in await store.leases()} == {partition("0"), partition("1")}, "nobody has touched ours"


@rule("L10", "a free lease is taken", declares=("leases",))
async def takes_free(bench: StoreBench) -> None:
    """Owner, a larger epoch, a larger version; and the claim says where to go on."""
    a, b = bench.leases
    (lease,) = await fresh(a)
    claim = await take(a, lease, "a")
    assert (claim.checkpoint, claim.epoch, claim.fruitless) == (None, 1, 0)
    assert text(await listed(b)) == text(Lease(partition(), "a", 1, 1, fruitless_claims=1))


@rule("L11", "a grant of a take is one for save", declares=("leases",))
async def grant_saves(bench: StoreBench) -> None:
    """Lease and checkpoint are one row: whoever holds the one may move the other, and nobody else."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    assert list(await a.save([(after(5), claim.grant)])) == [claim.grant]
    (answer,) = await a.save([(after(4), claim.grant)])
    assert isinstance(answer, CheckpointPositionError)
    assert (await take(b, await listed(b), "b")).checkpoint == after(5)


@rule("L12", "of two that take it as listed one is refused, and changes nothing", declares=("leases",))
async def one_wins(bench: StoreBench) -> None:
    """Two workers see the same free lease. If both got it, both would read it."""
    a, b = bench.leases
    (lease,) = await fresh(a)
    claim = await take(a, lease, "a")
    before = await listed(b)
    (answer,) = await b.take([lease], "b")
    assert isinstance(answer, FencedError)
    assert (answer.held, answer.current) == (0, 1)
    assert text(await listed(b)) == text(before)
    assert list(await a.renew([(partition(), claim.grant)])) == [claim.grant]


@rule("L13", "every sign of life since the listing refuses a take", declares=("leases",))
async def signs_of_life(bench: StoreBench) -> None:
    """A lease is taken from an owner that looks dead. If it has moved since, it lives."""
    a, b = bench.leases
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


@rule("L14", "version, owner and epoch are compared", declares=("leases",))
async def compares(bench: StoreBench) -> None:
    """A take says what it has seen. Each of the three may have changed by itself: by a renewal, by an operator, or by another take."""
    a, b = bench.leases
    await take(a, (await fresh(a))[0], "a")
    lease = await listed(b)
    others = [replace(lease, version=2), replace(lease, version=0), replace(lease, owner=""), replace(lease, owner="b")]
    for other in [*others, replace(lease, epoch=0), replace(lease, epoch=2)]:
        (answer,) = await b.take([other], "b")
        assert isinstance(answer, FencedError)
    assert (await take(b, lease, "b")).epoch == 2


@rule("L15", "a silent owner is replaced, and its grant is refused for ever", declares=("leases",))
async def replaced_for_ever(bench: StoreBench) -> None:
    """Promise 4, for leases: renewals, saves, releases and names of children."""
    a, b = bench.leases
    old = await take(a, (await fresh(a))[0], "a")
    await a.save([(after(7), old.grant)])
    new = await take(b, await listed(b), "b")
    assert new.checkpoint == after(7)
    assert new.epoch > old.epoch
    await refuses(a, old.grant)
    await take(b, await listed(b), "c")
    await refuses(a, old.grant)
    await refuses(b, new.grant)


@rule("L16", "each lease of a take has its own answer", declares=("leases",))
async def take_answers(bench: StoreBench) -> None:
    """A worker takes several at once; what it did not get is not there for it, and does not come into being."""
    a, b = bench.leases
    leases = await fresh(a, "0", "1", "2")
    await take(b, leases[1], "b")
    answers = await a.take([*leases, Lease(partition("never there"))], "a")
    assert [type(answer) for answer in answers] == [Claim, FencedError, Claim, FencedError]
    assert [lease.owner for lease in await a.leases()] == ["a", "b", "a"], "and nothing came into being"
    assert list(await a.take([], "a")) == []


@rule("L17", "a take of another incarnation is its own answer, and changes nothing", declares=("leases",))
async def take_of_another_incarnation(bench: StoreBench) -> None:
    """As S19; the other leases of the take are taken all the same."""
    a, b = bench.leases
    await a.create([Lease(partition(), checkpoint=after(1)), Lease(partition("1"))])
    first, second = await a.leases()
    before = await listed(a)
    answers = await a.take([replace(first, partition=partition(incarnation="c/2")), second], "a")
    assert [type(answer) for answer in answers] == [ConfigurationError, Claim]
    assert text(await listed(b)) == text(before)
    assert (await take(b, replace(first, partition=partition(incarnation="")), "b")).epoch == 1
    assert (await listed(b)).partition.incarnation == "c/1", "what is not known stays as it was stored"


@rule("L18", "a take adds what the broker knows, and forgets nothing", declares=("leases",))
async def adds_and_forgets_nothing(bench: StoreBench) -> None:
    """What is said of a partition comes from several sides. Children that were named have leases, whatever the broker lists."""
    a, b = bench.leases
    await a.claim(partition(), "static", 0)
    known = replace(partition(), parents=("p",), key_range=WHOLE, extra={"a": "b"})
    grant = (await take(a, replace(await listed(a), partition=known), "a")).grant
    await a.name_children(partition(), grant, ["x", "y"])
    await take(b, replace(await listed(b), partition=partition()), "b")
    found = (await listed(b)).partition
    assert (found.parents, found.children, found.key_range, found.extra) == (("p",), ("x", "y"), WHOLE, {"a": "b"})


@rule("L20", "a renewal raises the version, and nothing else", declares=("leases",))
async def renews(bench: StoreBench) -> None:
    """It is the sign of life. It must not touch what others have written: a request, or a checkpoint."""
    a, b = bench.leases
    await a.create([Lease(ODD, checkpoint=after(1, ODD))])
    (lease,) = await a.leases()
    claim = await take(a, lease, "a")
    (before,) = await b.leases()
    (grant,) = await a.renew([(ODD, claim.grant)])
    (found,) = await b.leases()
    assert text(found) == text(replace(before, version=before.version + 1))
    assert not isinstance(grant, Exception)
    assert list(await a.save([(after(2, ODD), grant)])) == [grant], "the grant to go on with"


@rule("L21", "a renewal whose answer was lost is repeated with the same grant", declares=("leases",))
async def renews_again(bench: StoreBench) -> None:
    """The owner does not know whether it was written. If its own renewal fenced it, every lost answer would cost a partition."""
    a, b = bench.leases
    claim = await take(a, (await fresh(a))[0], "a")
    for _ in range(3):
        (grant,) = await a.renew([(partition(), claim.grant)])
        assert not isinstance(grant, Exception)
    assert (await listed(b)).version == 4


@rule("L22", "each renewal has its own answer", declares=("leases",))
async def renewal_answers(bench: StoreBench) -> None:
    """As S17."""
    a, b = bench.leases
    leases = await fresh(a, "0", "1", "2")
    claims = [await take(a, lease, "a") for lease in leases]
    await take(b, await listed(b, "1"), "b")
    held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
    answers = await a.renew([*held, (partition("never there"), Grant(1))])
    assert [isinstance(answer, FencedError) for answer in answers] == [False, True, False, True]
    assert [lease.version for lease in await b.leases()] == [2, 2, 2]
    assert list(await a.renew([])) == []


@rule("L23", "a grant that nobody gave is refused", declares=("leases",))
async def invented_grants(bench: StoreBench) -> None:
    """As S13: neither of a free lease, nor of one that is held, nor of one that was given back."""
    a, _ = bench.leases
    await fresh(a)
    for invented in (0, 1, "0", None):
        await refuses(a, Grant(invented))
    claim = await take(a, await listed(a), "a")
    for invented in (0, 2, "1", None):
        await refuses(a, Grant(invented))
    await a.release([(partition(), claim.grant)])
    await refuses(a, Grant((await listed(a)).epoch))

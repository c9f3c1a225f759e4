"""Rules about what a store keeps, and for whom: content, names, and what operators do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from streamkit.errors import CheckpointError, FencedError
from streamkit.model import Checkpoint, ParkedKey, Position, StartPosition
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition, save

rule = Rule[StoreBench].of


@rule("S30", "everything in a checkpoint comes back, with metadata of any alphabet and 4 KiB")
async def everything_comes_back(bench: StoreBench) -> None:
    """Names with every sign, positions with tokens, times, owners, and as much metadata and pending state as is declared."""
    a, b = bench.a, bench.b
    odd = replace(partition("shard/../%2E é", stream="A.b~c/日本"), extra={"leaseCounter": "7"})
    capabilities, size = a.capabilities, min(4096, a.capabilities.metadata_characters)
    for metadata in ("é日本\n\0\"'😀"[:size], "x" * size, "日" * size):
        checkpoint = Checkpoint(
            odd,
            StartPosition.after(Position(7, 3, "tok:en")),
            metadata=metadata,
            record_time=datetime(2024, 2, 29, tzinfo=UTC),
            owner="löwe",
            epoch=3,
            partitions_at_start=8,
            pending=Position(9) if capabilities.pending_bytes else None,
            pending_state=bytes(range(256)) * (min(1 << 20, capabilities.pending_bytes) // 256),
        )
        claim = await a.claim(odd, "a", 0)
        assert await save(a, checkpoint, claim.grant) == claim.grant
        (found,) = await b.list()
        assert found.to_text() == checkpoint.to_text()
        assert (await b.claim(odd, "b", 0)).checkpoint == checkpoint


@rule("S31", "groups, brokers, streams and partitions are kept apart, whatever their names")
async def kept_apart(bench: StoreBench) -> None:
    """Keys are made of names. Two groups whose rows meet would move each other's checkpoints, and skip records."""
    for index, (broker, group) in enumerate([("kit", "g"), ("kit", "G"), ("kafka", "g"), ("kit.g", ""), ("kit", ".g")]):
        async with bench.opened(broker=broker, group=group) as store:
            for other, (stream, name) in enumerate([("a", "b.c"), ("a.b", "c"), ("a", "b%2Ec"), ("a" * 300, "c"), ("a" * 301, "c")]):
                claim = await store.claim(partition(name, stream=stream), "w", 0)
                assert claim.checkpoint is None, "another one's"
                await save(store, after(index * 10 + other, partition(name, stream=stream)), claim.grant)
            sequences = [c.at.position.sequence or 0 for c in await store.list() if c.at.position]
            assert sorted(sequences) == [index * 10 + other for other in range(5)]


@rule("S32", "overwrite puts a checkpoint anywhere, and refuses every grant", declares=("fencing",))
async def overwrites(bench: StoreBench) -> None:
    """`streamkit checkpoints set` is the one way back. A worker that still runs must not move what an operator has set."""
    a, b = bench.a, bench.b
    claim = await a.claim(partition(), "a", 0)
    await save(a, after(50), claim.grant)
    await b.overwrite(after(2))
    assert isinstance(await save(a, after(51), claim.grant), FencedError)
    again = await a.claim(partition(), "a", 0)
    assert again.checkpoint == after(2)
    assert again.epoch > claim.epoch
    await b.overwrite(after(1, partition("new")))
    assert len(await a.list()) == 2


@rule("S33", "delete leaves proof of absence, and no grant of before counts again")
async def deletes(bench: StoreBench) -> None:
    """The epoch must not begin anew: a grant of long ago would count once more."""
    a, b = bench.a, bench.b
    claim = await a.claim(partition(), "a", 0)
    await save(a, after(50), claim.grant)
    await b.delete([partition(), partition("never there")])
    assert list(await b.list()) == []
    assert isinstance(await save(a, after(51), claim.grant), FencedError)
    again = await b.claim(partition(), "b", 0)
    assert again.checkpoint is None
    assert again.epoch > claim.epoch
    assert isinstance(await save(a, after(51), claim.grant), FencedError)


@rule("S34", "a request waits until it is answered, and a newer one takes its place", declares=("parked_bytes",))
async def requests_wait(bench: StoreBench) -> None:
    """`streamkit dead-letters replay` asks the owner. Only what the owner has read is answered; what was asked since then is not."""
    a, b = bench.a, bench.b
    assert await a.requests() == {}
    await a.ask(partition(), "one")
    await a.ask(partition("1"), "other")
    assert await b.requests() == {partition(): "one", partition("1"): "other"}
    await a.ask(partition(), "two")
    await b.answered(partition(), "one")
    assert (await b.requests()).get(partition()) == "two", "only what was read is answered"
    await b.answered(partition(), "two")
    await b.answered(partition(), "two")
    assert await a.requests() == {partition("1"): "other"}


@rule("S35", "a request changes neither epoch nor checkpoint", declares=("parked_bytes",))
async def requests_change_nothing(bench: StoreBench) -> None:
    """An operator who asks must not take the partition from its owner."""
    a, b = bench.a, bench.b
    claim = await a.claim(partition(), "a", 0)
    await save(a, after(1), claim.grant)
    before = list(await b.list())
    await b.ask(partition(), "please")
    assert list(await a.list()) == before
    assert not isinstance(await save(a, after(2), claim.grant), Exception)


@rule("S36", "parked keys are kept with the checkpoint", declares=("parked_bytes",))
async def keeps_parked_keys(bench: StoreBench) -> None:
    """A key that is parked and forgotten would be processed out of order."""
    a, b = bench.a, bench.b
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


@rule("S37", "metadata that is longer than declared is kept whole, or refused")
async def never_cut(bench: StoreBench) -> None:
    """Cut in silence, it would be another text. The engine refuses it before it is saved; a store that is asked all the same says so."""
    a = bench.a
    grant = (await a.claim(partition(), "a", 0)).grant
    metadata = "日" * (a.capabilities.metadata_characters + 1)
    try:
        answer = await save(a, after(1, metadata=metadata), grant)
    except CheckpointError:
        return
    if not isinstance(answer, Exception):
        assert [checkpoint.metadata for checkpoint in await bench.b.list()] == [metadata]


@rule("S38", "what was saved is there when the store is opened again")
async def opened_again(bench: StoreBench) -> None:
    """A worker that restarts in the same process has a new store. Nothing may wait in the old one to be written."""
    async with bench.opened(worker="before") as store:
        claim = await store.claim(partition(), "before", 0)
        assert await save(store, after(7, metadata="m"), claim.grant) == claim.grant
    async with bench.opened(worker="next") as store:
        assert list(await store.list()) == [after(7, metadata="m")]
        again = await store.claim(partition(), "next", 0)
        assert again.checkpoint == after(7, metadata="m")
        assert again.epoch > claim.epoch or not again.epoch


@rule("S39", "clocks that are wrong change nothing", declares=("fencing",))
async def clocks(bench: StoreBench) -> None:
    """Hosts disagree about the time. Whoever claims last owns it, whatever its clock says; and nothing expires by a clock."""
    day = 86_400.0
    last = None
    for number, fast_seconds in enumerate((0.0, day, -day, 365 * day, -365 * day, 0.0)):
        async with bench.opened(worker=f"w{number}", fast_seconds=fast_seconds) as store:
            claim = await store.claim(partition(), f"w{number}", 0)
            if last is not None:
                assert claim.epoch > last.epoch, "an epoch that follows the clock goes back with it"
                assert claim.checkpoint == after(number - 1)
                assert isinstance(await save(store, after(number), last.grant), FencedError)
            assert await save(store, after(number), claim.grant) == claim.grant
            last = claim

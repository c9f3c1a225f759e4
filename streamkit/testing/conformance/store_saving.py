"""Rules about claims and saves: who may move a checkpoint, and where to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamkit.errors import CheckpointPositionError, ConfigurationError, FencedError
from streamkit.model import Checkpoint, Position, StartPosition
from streamkit.plugin import Grant
from streamkit.testing.conformance.rule import Rule
from streamkit.testing.conformance.store_bench import StoreBench, after, partition, save

rule = Rule[StoreBench].of


@rule("S10", "a claim of what was never saved is proof of absence")
async def proof_of_absence(bench: StoreBench) -> None:
    """Without a checkpoint the engine resolves the start anew. If «none» could also mean «I could not look», records would be skipped."""
    a, b = bench.a, bench.b
    assert (await a.claim(partition(), "a", 0)).checkpoint is None
    assert (await b.claim(partition(), "b", 0)).checkpoint is None, "a claim alone is no checkpoint"
    assert list(await a.list()) == []


@rule("S11", "a claim raises the epoch to the larger of the two", declares=("fencing",))
async def raises_the_epoch(bench: StoreBench) -> None:
    """The epoch is what tells an old owner from a new one. It rises with every claim, by itself, and never falls below what the owner says:
    a group's generation, or what the broker has seen."""
    a, b = bench.a, bench.b
    first = (await a.claim(partition(), "a", 0)).epoch
    second = (await b.claim(partition(), "b", 0)).epoch
    assert second > first
    assert (await b.claim(partition(), "b", second + 40)).epoch >= second + 40
    assert (await a.claim(partition(), "a", first)).epoch > second + 40
    other = (await a.claim(partition("1"), "a", 0)).epoch
    assert other < second + 40, "each partition has its own"


@rule("S12", "an older grant is refused for ever", declares=("fencing",))
async def refuses_older_grants(bench: StoreBench) -> None:
    """Promise 4. A worker that was paused for an hour wakes up and saves: whatever it says, the newer owner's checkpoint stays."""
    a, b = bench.a, bench.b
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


@rule("S13", "a grant that no claim gave is refused", declares=("fencing",))
async def refuses_invented_grants(bench: StoreBench) -> None:
    """Whoever has not claimed owns nothing. A grant of another type is no grant of this store."""
    a, b = bench.a, bench.b
    assert isinstance(await save(a, after(1), Grant(1)), FencedError)
    await a.claim(partition(), "a", 0)
    assert isinstance(await save(a, after(1), Grant(2)), FencedError)
    assert isinstance(await save(a, after(1), Grant("1")), FencedError)
    assert list(await b.list()) == []


@rule("S14", "checkpoints move forward only")
async def forward_only(bench: StoreBench) -> None:
    """Promise 5. In the order EARLIEST, at a record, after it, inside an aggregate, END. Going back would process records again that
    somebody relies on as done; the error says what is stored."""
    a, b = bench.a, bench.b
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


@rule("S15", "a position that cannot be compared is refused")
async def refuses_what_cannot_be_compared(bench: StoreBench) -> None:
    """A position without a sequence may lie before or behind the stored one. In doubt nothing moves."""
    a = bench.a
    grant = (await a.claim(partition(), "a", 0)).grant
    assert await save(a, after(5), grant) == grant
    unknown = Checkpoint(partition(), StartPosition.after(Position(None, 0, "4711")))
    assert isinstance(await save(a, unknown, grant), CheckpointPositionError)


@rule("S16", "an equal save succeeds, and other content at the same position is kept")
async def equal_saves(bench: StoreBench) -> None:
    """The engine saves again after an answer that was lost, and users write metadata at a position that has not moved."""
    a, b = bench.a, bench.b
    grant = (await a.claim(partition(), "a", 0)).grant
    for _ in range(2):
        assert await save(a, after(5, metadata="one"), grant) == grant
    assert await save(a, after(5, metadata="two"), grant) == grant
    assert [checkpoint.metadata for checkpoint in await b.list()] == ["two"]


@rule("S17", "each checkpoint of a save has its own answer")
async def own_answers(bench: StoreBench) -> None:
    """One partition that was lost must not keep the others of this worker from being saved, nor pass for saved."""
    a, b = bench.a, bench.b
    claims = [await a.claim(partition(str(n)), "a", 0) for n in range(4)]
    await b.claim(partition("1"), "b", 0)
    await save(a, after(9, partition("2")), claims[2].grant)
    answers = await a.save([(after(3, partition(str(n))), claim.grant) for n, claim in enumerate(claims)])
    assert [type(answer) for answer in answers] == [int, FencedError, CheckpointPositionError, int]
    assert list(await b.list()) == [after(3, partition("0")), after(9, partition("2")), after(3, partition("3"))]
    assert list(await a.save([])) == []


@rule("S18", "claims without progress are counted, or not at all")
async def counts_claims(bench: StoreBench) -> None:
    """A record that kills its process is found by owners that die without progress. A store that does not count says 0 always."""
    a, b = bench.a, bench.b
    assert (await a.claim(partition(), "a", 0)).fruitless == 0
    claim = await b.claim(partition(), "b", 0)
    if not claim.fruitless:
        return  # it does not count
    assert claim.fruitless == 1
    claim = await b.claim(partition(), "b", 0)
    assert claim.fruitless == 1, "who claims again, because an answer was lost, is no further owner"
    await save(b, Checkpoint(partition(), StartPosition.EARLIEST, owner="b"), claim.grant)
    claim = await a.claim(partition(), "a", 0)
    assert claim.fruitless == 2, "to know where to begin is no progress"
    await save(a, after(0), claim.grant)
    assert (await b.claim(partition(), "b", 0)).fruitless == 0, "a record is done"
    claim = await b.claim(partition(), "c", 0)
    await save(b, after(0), claim.grant)
    assert (await b.claim(partition(), "d", 0)).fruitless == 2, "the same again is no progress"
    claim = await b.claim(partition(), "e", 0)
    await save(b, replace(after(0), owner=""), claim.grant)
    assert (await b.claim(partition(), "e", 0)).fruitless == 0, "it was given back in order"
    assert (await b.claim(partition(), "f", 0)).fruitless == 1, "who had it then counts, though it had it before"
    await a.overwrite(after(0))
    assert (await b.claim(partition(), "b", 0)).fruitless == 0


@rule("S19", "a checkpoint of another incarnation is refused, and the claim changes nothing")
async def refuses_other_incarnations(bench: StoreBench) -> None:
    """The stream was made anew, or the cluster is another one: the stored position means nothing there. Who owns it goes on."""
    a, b = bench.a, bench.b
    claim = await a.claim(partition(), "a", 0)
    await save(a, after(50), claim.grant)
    with pytest.raises(ConfigurationError, match=r"c/1.*c/2") as caught:
        await b.claim(partition(incarnation="c/2"), "b", 0)
    assert "streamkit checkpoints set" in caught.value.fix
    assert await save(a, after(51), claim.grant) == claim.grant, "the refused claim must not have taken the partition"
    assert (await b.claim(partition(incarnation=""), "b", 0)).checkpoint == after(51)

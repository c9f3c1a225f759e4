"""Rules about brokers that deal out partitions themselves: `GroupBroker.join`, and the store that the group may have."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.member import Member, joined, settle
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


def new_group() -> str:
    return f"g-{uuid.uuid4().hex[:8]}"


async def written(bench: BrokerBench, partitions: Sequence[Partition], count: int, first: int = 0) -> set[bytes | None]:
    """So many records for each partition, all different."""
    values: set[bytes | None] = set()
    for number, partition in enumerate(partitions):
        values.update(await bench.write(partition, numbered(count, first=first + number * 1000)))
    return values


async def alone(bench: BrokerBench, partitions: Sequence[Partition], group: str) -> Member:
    """A member that owns all of them and has read what was there."""
    values = await written(bench, partitions, 10)
    member = await joined(bench, partitions[0].stream, group, "a")
    await settle(lambda: member.values() >= values, "a lone member reads everything", member)
    return member


async def shared(bench: BrokerBench, partitions: Sequence[Partition]) -> tuple[Member, Member]:
    """Two members, of which the first had everything before the second came."""
    group = new_group()
    first = await alone(bench, partitions, group)
    second = await joined(bench, partitions[0].stream, group, "b")
    await settle(
        lambda: second.owned and len(first.owned) + len(second.owned) == len(partitions), "the partitions are shared", first, second
    )
    return first, second


@rule("B07", "a revoked partition receives no further records", declares=("group",))
async def nothing_after_a_revoke(bench: BrokerBench) -> None:
    """Promise 4. Whoever has it now reads on from the checkpoint that was saved when it was given back; a record that still came to the
    member before would be processed twice, and beside its successor."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    moved = set(second.owned)
    before = {partition: len(first.lane.records(partition)) for partition in moved}
    more = await written(bench, partitions, 10, first=100)
    await settle(lambda: first.values() | second.values() >= more, "what was written later is read", first, second)
    assert first.revoked, "the partitions have moved, and the member before was not told"
    assert first.stray == [], "records of a partition that is not, or no longer, ours"
    assert second.stray == []
    for partition in moved:
        assert len(first.lane.records(partition)) == before[partition], f"{partition} was revoked, and its records still came"


@rule("B08", "each partition is one member's at a time", declares=("group",))
async def one_owner(bench: BrokerBench) -> None:
    """Promise 4. Two members that both believe to own a partition would both process it."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    assert not set(first.owned) & set(second.owned)
    assert set(first.owned) | set(second.owned) == set(partitions)


@rule("B09", "a member that leaves makes room at once", declares=("group",))
async def leaves(bench: BrokerBench) -> None:
    """A rolling restart waits for nobody's session to run out."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    await first.leave()
    await settle(lambda: set(second.owned) == set(partitions), "the other one takes over", second)
    more = await written(bench, partitions, 3, first=500)
    await settle(lambda: second.values() >= more, "and reads on", second)


@rule("B10", "a revoke has time, and `done` may be called twice", declares=("group",))
async def revokes_with_a_deadline(bench: BrokerBench) -> None:
    """The engine drains, flushes and saves before it gives a partition back; afterwards it may learn of the end twice."""
    first, _ = await shared(bench, await bench.stream(4))
    for revoked in first.revoked:
        assert revoked.partitions
        assert revoked.deadline_seconds > 0
        revoked.done()


@rule("B11", "the next owner goes on where the one before has saved", declares=("group",))
async def goes_on(bench: BrokerBench) -> None:
    """A checkpoint says that its record and all before it are done. One that came back as «at» instead of «after», or one further on,
    would repeat a record or skip one. Only where the group keeps its own checkpoints."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    if first.membership.checkpoints is None:
        return
    assert first.refused == [], "what was saved before it was given back was refused"
    await written(bench, partitions, 5, first=100)
    for number, partition in enumerate(partitions):
        if partition in second.owned:
            found = second.found[partition]
            assert found is not None
            assert found.at == StartPosition.after(first.done[partition])
            expected = set(numbered(5, first=100 + number * 1000))
            await settle(lambda p=partition: len(second.lane.values(p)) >= 5, "what came after is read", first, second)  # type: ignore[misc]
            assert set(second.lane.values(partition)) == expected, "neither a record twice, nor one left out"


@rule("B12", "a save with the grant of a partition that was given back is refused", declares=("group", "fencing"))
async def fenced(bench: BrokerBench) -> None:
    """Promise 4: a worker that has lost a partition cannot move its checkpoint. A group's coordinator lets a live member write any
    partition, so the adapter has to look."""
    first, second = await shared(bench, await bench.stream(4))
    assert first.membership.checkpoints is not None, "fencing is declared, and the group has no store"
    for partition in second.owned:
        grant, checkpoint = first.old[partition], first.at(partition)
        assert grant is not None
        assert checkpoint is not None
        (answer,) = await first.lane.run(first.store.save([(checkpoint, grant)]))
        assert isinstance(answer, FencedError), f"{partition} is another member's, and the save was answered with {answer!r}"


@rule("B13", "a member that falls silent loses its partitions, and is told", declares=("group",))
async def falls_silent(bench: BrokerBench) -> None:
    """A worker that hangs must not hold up its partitions for ever; when it wakes up, it must learn that they are not its own any more
    before it saves anything. The kit sets a short session."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    await settle(lambda: set(second.owned) == set(partitions), "the silent one's partitions go to the other", second)
    before = {partition: len(first.lane.records(partition)) for partition in partitions}
    await settle(lambda: not first.owned, "the silent one learns of it", first)
    assert first.stray == []
    assert all(len(first.lane.records(p)) == before[p] for p in partitions if p in second.owned), "records of what it has lost"


@rule("B14", "a group's checkpoint comes back with its metadata", declares=("group", "metadata_characters"))
async def keeps_metadata(bench: BrokerBench) -> None:
    """`context.checkpoint(metadata=…)` is for the next owner. As many characters as are declared, of any alphabet."""
    partition = await bench.partition()
    group = new_group()
    first = await alone(bench, [partition], group)
    text = "é日😀"
    metadata = text * (first.store.capabilities.metadata_characters // len(text))
    (answer,) = await first.lane.run(first.save([partition], metadata))
    assert not isinstance(answer, Exception), answer
    await first.lane.run(first.membership.remove([partition]))
    first.owned.clear()  # so that leaving saves nothing more
    await first.leave()
    second = await joined(bench, partition.stream, group, "b")
    await settle(lambda: second.owned, "the next member owns it", second)
    found = second.found[partition]
    assert isinstance(found, Checkpoint)
    assert (found.at, found.metadata) == (StartPosition.after(first.done[partition]), metadata)


@rule("B15", "what the group's store lists are the checkpoints that were saved", declares=("group", "fencing"))
async def lists(bench: BrokerBench) -> None:
    """`streamkit partitions` shows them, and a partition without a checkpoint is claimed only after a look at all of them."""
    partitions = await bench.stream(2)
    member = await alone(bench, partitions, new_group())
    assert all(not isinstance(answer, Exception) for answer in await member.lane.run(member.save(partitions)))
    listed = {one.partition: one.at for one in await member.lane.run(member.store.list())}
    assert listed == {partition: StartPosition.after(member.done[partition]) for partition in partitions}

"""Rules about brokers that deal out partitions themselves: `GroupBroker.join`, and the store that the group may have."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Mapping, Sequence

from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Partition, StartPosition
from streamkit.plugin import Grant
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.broker_control import not_after_remove, nothing_lost_by_pauses, witnessed
from streamkit.testing.conformance.member import Member, joined, settle
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of

_DRAIN_SECONDS = 1.0
_EXTRA_POLLS = 5


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


async def waiting(bench: BrokerBench, partitions: Sequence[Partition]) -> Member:
    """A member that owns all of them and has added none."""
    member = await joined(bench, partitions[0].stream, new_group(), "a", adds=False)
    await settle(lambda: set(member.owned) == set(partitions), "a lone member owns everything", member)
    return member


async def shared(bench: BrokerBench, partitions: Sequence[Partition], drain_seconds: float = 0.0) -> tuple[Member, Member]:
    """Two members, of which the first had everything before the second came."""
    group = new_group()
    first = await alone(bench, partitions, group)
    first.drain_seconds = drain_seconds
    second = await joined(bench, partitions[0].stream, group, "b")
    await settle(
        lambda: second.owned and len(first.owned) + len(second.owned) == len(partitions), "the partitions are shared", first, second
    )
    return first, second


async def refuses(member: Member, old: Mapping[Partition, Grant | None], whose: str) -> None:
    """Nothing is saved with these grants."""
    for partition, grant in old.items():
        checkpoint = member.at(partition)
        assert grant is not None
        assert checkpoint is not None
        (answer,) = await member.lane.run(member.store.save([(checkpoint, grant)]))
        assert isinstance(answer, FencedError), f"{partition} {whose}, and the save was answered with {answer!r}"


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
    """A rolling restart waits for nobody's session to run out: the kit's `leave_seconds` are less. Whoever leaves has given back already,
    and is asked for nothing more."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    asked = len(first.revoked)
    await first.leave()
    left = time.monotonic()
    assert len(first.revoked) == asked, "whoever leaves is not asked to give back"
    await settle(lambda: set(second.owned) == set(partitions), "the other one takes over", second)
    assert time.monotonic() - left < bench.kit.leave_seconds, "so long the others waited for what was left to them"
    more = await written(bench, partitions, 3, first=500)
    await settle(lambda: second.values() >= more, "and reads on", second)


@rule("B10", "a revoke has time, and `done` may be called twice", declares=("group",))
async def revokes_with_a_deadline(bench: BrokerBench) -> None:
    """The engine drains, flushes and saves before it gives a partition back, and until then nobody else is given it; afterwards it may
    learn of the end twice."""
    drain_seconds = min(_DRAIN_SECONDS, bench.kit.leave_seconds / 2)  # less than the session
    first, second = await shared(bench, await bench.stream(4), drain_seconds)
    for partition in second.owned:
        given_back = first.given_back_at.get(partition, math.inf)
        assert second.given_at[partition] >= given_back, f"{partition} was given away before it was given back"
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
    await refuses(first, {partition: first.old[partition] for partition in second.owned}, "is another member's")


@rule("B13", "a member that falls silent loses its partitions, and is told", declares=("group",))
async def falls_silent(bench: BrokerBench) -> None:
    """A worker that hangs must not hold up its partitions for ever; when it wakes up, it must learn that they are not its own any more
    before it saves anything. Where fencing is declared, the grants of before stay refused, also for what it is given again. The kit
    sets a short session."""
    partitions = await bench.stream(4)
    first, second = await shared(bench, partitions)
    await settle(lambda: set(second.owned) == set(partitions), "the silent one's partitions go to the other", second)
    before = {partition: len(first.lane.records(partition)) for partition in partitions}
    await settle(lambda: not first.owned, "the silent one learns of it", first)
    assert first.stray == []
    assert all(len(first.lane.records(p)) == before[p] for p in partitions if p in second.owned), "records of what it has lost"
    if first.membership.checkpoints is None or not (await bench.capabilities()).fencing:
        return
    old = dict(first.old)
    await refuses(first, old, "was lost")
    await settle(lambda: first.owned and len(first.owned) + len(second.owned) == len(partitions), "it has a share again", first, second)
    await refuses(first, old, "was lost, whoever has it now")


@rule("B14", "a group's checkpoint comes back with its metadata", declares=("group",))
async def keeps_metadata(bench: BrokerBench) -> None:
    """`context.checkpoint(metadata=…)` is for the next owner, who goes on behind it. As many characters as the group's store declares, of
    any alphabet. Only where the group keeps its own checkpoints."""
    partition = await bench.partition()
    group = new_group()
    first = await alone(bench, [partition], group)
    if first.membership.checkpoints is None:
        return
    most = first.store.capabilities.metadata_characters
    metadata = ("é日😀" + "日" * (most - 4))[:most]  # where characters are counted in UTF-16, one of these is two
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
    later = await written(bench, [partition], 3, first=100)
    await settle(lambda: second.values() >= later, "what comes later is read", second)
    assert second.values() == later, "and nothing that was done"


@rule("B15", "what the group's store lists are the checkpoints that were saved", declares=("group", "fencing"))
async def lists(bench: BrokerBench) -> None:
    """`streamkit partitions` shows them, and a partition without a checkpoint is claimed only after a look at all of them."""
    partitions = await bench.stream(2)
    member = await alone(bench, partitions, new_group())
    assert all(not isinstance(answer, Exception) for answer in await member.lane.run(member.save(partitions)))
    listed = {one.partition: one.at for one in await member.lane.run(member.store.list())}
    assert listed == {partition: StartPosition.after(member.done[partition]) for partition in partitions}


@rule("B17", "a member reads nothing before `add`, and then from exactly there", declares=("group",))
async def begins_where_added(bench: BrokerBench) -> None:
    """The engine claims what it is given, and resolves a start, before it adds. A member that reads at once begins where nobody has
    said; and one that is added again goes on from our own position."""
    partitions = await bench.stream(2)
    partition, other = partitions
    values = await bench.write(partition, numbered(10))
    await written(bench, [other], 10, first=100)
    member = await waiting(bench, partitions)
    for _ in range(_EXTRA_POLLS):
        await member.poll()
    assert member.lane.batches() == [], "records of what was not added"
    await member.lane.add(partition)
    assert await member.lane.read(partition, 10) == values
    done = member.lane.records(partition)[3]
    await member.lane.pause(partition)
    await member.lane.remove(partition)
    member.lane.events.clear()
    await member.lane.add(partition, StartPosition.after(done.position))
    assert await member.lane.read(partition, 6) == values[4:]
    await asyncio.sleep(bench.kit.latest_seconds)
    await member.lane.add(other, await bench.resolved(other, StartPosition.LATEST))
    later = await bench.write(other, numbered(3, first=500))
    assert await member.lane.read(other, 3) == later


@rule("B18", "what a member is given is paused, resumed and removed as by any reader", declares=("group",))
async def controlled(bench: BrokerBench) -> None:
    """As B50, B51 and B52: a reader that a group deals out to is often another one than that which is told what to read."""
    partitions = await bench.stream(2)
    partition, witness = partitions
    values = await bench.write(partition, numbered(40))
    lane = (await waiting(bench, partitions)).lane
    await lane.add(partition)
    await lane.pause(partition)
    await lane.add(witness)
    await witnessed(bench, lane, witness, 1000)
    assert lane.values(partition) == [], "records of a paused partition"
    await lane.resume(partition)
    await nothing_lost_by_pauses(bench, lane, partition, witness, values)
    await not_after_remove(bench, lane, partition, witness)

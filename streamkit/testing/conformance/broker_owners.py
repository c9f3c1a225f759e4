"""Rules about two owners at once: the reader of one that has lost a partition and does not know it, and that of the next."""

from __future__ import annotations

from streamkit.model import Batch
from streamkit.plugin import Ended, Lost
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


@rule("B16", "the reader of a newer owner gets everything; an older one goes on, or says Lost and then nothing", declares=("static",))
async def two_owners(bench: BrokerBench) -> None:
    """A worker that was paused wakes up beside its successor. Brokers that know owner levels cut off the reader with the smaller epoch,
    which says `Lost`; others let both read, and the store refuses the old one's saves. What must not happen is that the old one keeps
    the new one from reading, or takes its being cut off for the end."""
    partition = await bench.partition()
    written = await bench.write(partition, numbered(10))
    older = await bench.lane()
    await older.add(partition, epoch=1)
    await older.read(partition, 10)
    newer = await bench.lane(await bench.opened())
    await newer.add(partition, epoch=2)
    assert await newer.read(partition, 10) == written
    for round_ in range(3):
        written += await bench.write(partition, numbered(3, first=100 + 10 * round_))
        await older.poll()
        assert await newer.read(partition, len(written)) == written
    assert not [event for event in newer.events if isinstance(event, Lost)], "the newer owner was cut off"
    assert newer.failed() == []
    assert not [event for event in older.events if isinstance(event, Ended)]
    lost = [number for number, event in enumerate(older.events) if isinstance(event, Lost)]
    if lost:
        assert [event for event in older.events[lost[0] :] if isinstance(event, Batch)] == [], "records after Lost"

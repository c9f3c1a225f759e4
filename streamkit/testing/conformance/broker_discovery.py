"""Rules about which partitions there are, and about what a broker declares."""

from __future__ import annotations

import re

import pytest

from streamkit.errors import BrokerError, StreamGoneError, UnsupportedError
from streamkit.model import StartPosition
from streamkit.plugin import GroupBroker, Membership, Reader
from streamkit.testing.conformance.broker_bench import BrokerBench, numbered
from streamkit.testing.conformance.lane import Lane
from streamkit.testing.conformance.rule import Rule

rule = Rule[BrokerBench].of


@rule("B20", "every partition of a stream is found, and looks the same each time")
async def finds_all(bench: BrokerBench) -> None:
    """A partition that is not listed is not read. Its stream, id and incarnation are its name in the store: if they changed, the
    checkpoint would not be found again."""
    name = await bench.create(3)
    found = await bench.discovered(name)
    again = await bench.discovered(name)
    assert len({partition.id for partition in found}) == len(found) == 3
    assert {partition.stream for partition in found} == {name}
    assert all(partition.id for partition in found)
    seen = [{(p.id, p.incarnation) for p in listing} for listing in (found, again)]
    assert seen[0] == seen[1]


@rule("B21", "a stream that does not exist is StreamGoneError, never «no partitions»")
async def unknown_stream(bench: BrokerBench) -> None:
    """Else a misspelt name would be a worker that has nothing to do, and says nothing."""
    name = f"{await bench.create()}-not-there"
    broker = await bench.broker()
    with pytest.raises(StreamGoneError):
        await bench.patiently(lambda: broker.discover([name], StartPosition.EARLIEST))


@rule("B22", "several streams are listed together, and one that is named twice once")
async def several_streams(bench: BrokerBench) -> None:
    """`STREAMKIT_STREAM` is a list, in which a name and a pattern may meet."""
    names = [await bench.create(1 if bench.kit.one_partition else 2), await bench.create(1)]
    found = await bench.discovered(*names, names[0])
    assert len(found) == len({(p.stream, p.id) for p in found}) == (2 if bench.kit.one_partition else 3)
    assert {p.stream for p in found} == set(names)


@rule("B23", "a leading ^ is a regular expression, or is refused as unsupported")
async def patterns(bench: BrokerBench) -> None:
    """Taken as a name, it would be a stream that does not exist; taken as one that matches nothing, a worker without work."""
    names = [await bench.create(), await bench.create()]
    broker = await bench.broker()
    pattern = "^(" + "|".join(map(re.escape, names)) + ")$"
    try:
        found = await bench.patiently(lambda: broker.discover([pattern], StartPosition.EARLIEST))
    except UnsupportedError:
        return
    assert sorted(p.stream for p in found) == sorted(names)
    with pytest.raises(StreamGoneError):
        await bench.patiently(lambda: broker.discover(["^nothing-has-this-name-"], StartPosition.EARLIEST))


@rule("B24", "`group` is declared if, and only if, it can be joined")
async def declares_group(bench: BrokerBench) -> None:
    """Capabilities are compared with the settings before anything starts. One that is declared and missing fails later, in the middle;
    one that is there and not declared nobody can use."""
    stream = await bench.create()
    broker = await bench.opened(bench.context(streams=[stream]))
    if broker.capabilities.group:
        assert isinstance(broker, GroupBroker), f"{type(broker).__name__} declares group, and is no GroupBroker"
        membership = broker.join([stream], "g", lambda revoked: None)
        assert isinstance(membership, Membership)
        await Lane(membership, "member", bench.kit.patience_seconds).close()
    elif isinstance(broker, GroupBroker):
        with pytest.raises(UnsupportedError):
            broker.join([stream], "g", lambda revoked: None)


@rule("B25", "`static` is declared if, and only if, there is a reader")
async def declares_static(bench: BrokerBench) -> None:
    """As B24. A broker that can neither be joined nor read partition by partition is of no use."""
    broker = await bench.broker()
    assert broker.capabilities.static or broker.capabilities.group, "it declares neither group nor static"
    if broker.capabilities.static:
        lane = await bench.lane()
        assert isinstance(lane.reader, Reader)
        assert not isinstance(lane.reader, Membership), "a reader that deals out partitions is a Membership, and comes from join"
    else:
        with pytest.raises(UnsupportedError):
            broker.reader()


@rule("B26", "the tip is that of the newest record, and None of an empty partition; or not known", declares=("static",))
async def tips(bench: BrokerBench) -> None:
    """`STREAMKIT_STOP=at_end` stops there. A tip before the newest record would leave records unread; one of another partition, if the
    order of the answers were another, too. `Position(None)` says that the broker does not tell."""
    empty, full = await bench.partitions(2)
    await bench.write(full, numbered(5))
    lane = await bench.reading(full)
    await lane.read(full, 5)
    broker = await bench.broker()
    answers = await bench.patiently(lambda: broker.tips([full, empty]))
    assert len(answers) == 2
    newest, nothing = answers
    assert newest is not None, "there are records, and the tip says that there are none"
    if newest.sequence is not None:
        assert newest >= lane.records(full)[-1].position
        assert nothing is None, f"the partition is empty, and its tip is {nothing}"


@rule("B27", "a stream that was deleted is StreamGoneError", kit=("delete",))
async def deleted_stream(bench: BrokerBench) -> None:
    """Never «no partitions», and never made again by asking for it: its records would be gone, and nobody would know."""
    name = await bench.create()
    await bench.discovered(name)
    await bench.delete(name)
    broker = await bench.broker()

    async def gone() -> bool:
        try:
            found = await bench.patiently(lambda: broker.discover([name], StartPosition.EARLIEST))
        except StreamGoneError:
            return True
        except BrokerError as error:
            raise AssertionError(f"the stream was deleted, and {type(error).__name__} says so: {error}") from error
        assert found, "the stream was deleted, and has no partitions"
        return False

    await bench.eventually(gone, "a deleted stream is gone")

"""The memory broker's and producer's answers, and failures on request."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from importlib import import_module

import pytest

from streamkit.builtin.memory import MemoryStore
from streamkit.errors import BrokerUnavailableError, FencedError, StoreUnavailableError, StreamGoneError, UnsupportedError
from streamkit.model import StartPosition
from streamkit.plugin import Adapter
from tests.conformance.context import PlainContext
from tests.conformance.stores import after, partition
from tests.unit.builtin.memory_rig import ALL, Rig, at_once


@pytest.mark.parametrize("name", ["memory", "file", "sqlite"])
def test_what_a_plugin_names_can_be_imported(name: str) -> None:
    module = import_module(f"streamkit.builtin.{name}")
    plugin = module.streamkit_plugin()
    assert plugin.name == name
    assert plugin.settings.model_config["extra"] == "forbid"
    assert all(field.description for field in plugin.settings.model_fields.values())
    for factory in filter(None, (plugin.broker, plugin.store, plugin.producer)):
        where, _, what = factory.partition(":")
        assert issubclass(getattr(import_module(where), what), Adapter)


def test_discover_makes_a_stream_on_first_use_and_matches_expressions() -> None:
    rig = Rig()
    assert len(at_once(rig.broker.discover(["orders"], StartPosition.EARLIEST))) == 4
    rig.log.create("orders-eu", 2)
    rig.log.create("payments", 1)
    found = at_once(rig.broker.discover(["^orders", "payments", "orders"], StartPosition.EARLIEST))
    assert [str(p) for p in found] == [f"orders/{n}" for n in range(4)] + ["orders-eu/0", "orders-eu/1", "payments/0"]


def test_a_deleted_stream_is_not_made_again_on_use() -> None:
    rig = Rig()
    at_once(rig.broker.discover(["s"], StartPosition.EARLIEST))
    rig.log.delete("s")
    with pytest.raises(StreamGoneError, match="deleted"):
        at_once(rig.broker.discover(["s"], StartPosition.EARLIEST))


def test_discover_returns_the_partitions_that_can_be_reached_from_the_start() -> None:
    rig = Rig(kinesis=True)
    (a,) = rig.log.create("s", 1, "kinesis")
    rig.write(1, partition=a.id)
    b, c = rig.log.split("s", a.id)
    rig.context.now = 2000
    rig.write(1, partition=b.id)
    d, e = rig.log.split("s", b.id)

    def found(start: StartPosition) -> list[str]:
        return [p.id for p in at_once(rig.broker.discover(["s"], start))]

    assert found(StartPosition.EARLIEST) == [a.id, b.id, c.id, d.id, e.id]
    assert found(StartPosition.LATEST) == [c.id, d.id, e.id]
    assert found(StartPosition.at_time(datetime.fromtimestamp(1500, UTC))) == [b.id, c.id, d.id, e.id]


def test_tips_are_the_newest_records_and_none_where_there_is_none() -> None:
    rig = Rig()
    partitions = rig.log.create("s", 3)
    rig.write(3, partition="0")
    rig.write(2, partition="2")
    rig.log.trim("s", "2", 2)
    assert [str(tip) for tip in at_once(rig.broker.tips(partitions))] == ["2", "None", "None"]


def test_the_shape_says_what_the_broker_can_do() -> None:
    assert Rig().broker.capabilities.group
    kinesis = Rig(kinesis=True).broker
    assert (kinesis.capabilities.group, kinesis.capabilities.lineage) == (False, True)
    with pytest.raises(UnsupportedError, match="STREAMKIT_MEMORY__SHAPE"):
        kinesis.join(["s"], "g", lambda revoked: None)


def test_a_fault_strikes_as_often_as_asked_and_only_the_worker_that_was_named() -> None:
    rig = Rig()
    reader = rig.broker.reader()
    rig.log.faults.fail("poll", BrokerUnavailableError("lunch"), times=2)
    rig.log.faults.fail("poll", BrokerUnavailableError("not for us"), worker="other")
    rig.log.faults.fail("discover", BrokerUnavailableError("lunch"))
    for _ in range(2):
        with pytest.raises(BrokerUnavailableError, match="lunch"):
            at_once(reader.poll(ALL))
    at_once(reader.poll(ALL))
    with pytest.raises(BrokerUnavailableError):
        at_once(rig.broker.discover(["s"], StartPosition.EARLIEST))
    with pytest.raises(ValueError, match="'pol' is none of"):
        rig.log.faults.fail("pol", ValueError())  # type: ignore[arg-type]
    rig.log.faults.fail("poll", BrokerUnavailableError("never mind"))
    rig.log.faults.clear()
    at_once(reader.poll(ALL))


def test_a_save_can_fail_before_it_is_written_after_it_or_in_its_answer() -> None:
    rig = Rig()
    store = MemoryStore(rig.settings, rig.context)
    grant = at_once(store.claim(partition(), "w", 0)).grant
    rig.log.faults.fail("save", StoreUnavailableError("before"))
    with pytest.raises(StoreUnavailableError, match="before"):
        at_once(store.save([(after(1), grant)]))
    assert list(at_once(store.list())) == []
    rig.log.faults.fail("save_after_write", StoreUnavailableError("after"))
    with pytest.raises(StoreUnavailableError, match="after"):
        at_once(store.save([(after(1), grant)]))
    assert list(at_once(store.list())) == [after(1)], "written, and only the answer was lost"
    fenced = FencedError("taken")
    rig.log.faults.fail("save", fenced)
    assert at_once(store.save([(after(2), grant), (after(3), grant)])) == [fenced, fenced]


def test_a_held_call_goes_on_when_it_is_released() -> None:
    async def test() -> None:
        rig = Rig()
        store = MemoryStore(rig.settings, rig.context)
        other = MemoryStore(rig.settings, PlainContext(worker="other"))
        grant = (await store.claim(partition(), "w", 0)).grant
        release = rig.log.faults.hold("save", worker="w")
        saving = asyncio.ensure_future(store.save([(after(1), grant)]))
        await other.save([(after(0), grant)])
        assert not saving.done()
        release()
        assert await saving == [grant]
        assert list(await store.list()) == [after(1)]

    asyncio.run(test())


def test_the_store_without_a_membership_has_the_rows_of_the_group_itself_and_counts_its_members() -> None:
    rig = Rig(session=6)
    store = MemoryStore(rig.settings, rig.context)
    membership = rig.broker.join(["s"], rig.context.group, lambda revoked: None)
    assert at_once(store.members()) == 0
    at_once(membership.poll(ALL))
    assert membership.checkpoints is not None
    at_once(membership.checkpoints.overwrite(after(5)))
    assert list(at_once(store.list())) == [after(5)]
    assert at_once(store.members()) == 1
    rig.context.now += 6
    assert at_once(store.members()) == 0, "it went silent"


def test_the_store_of_another_broker_has_rows_of_its_own() -> None:
    rig = Rig()
    membership = rig.broker.join(["s"], rig.context.group, lambda revoked: None)
    assert membership.checkpoints is not None
    at_once(membership.checkpoints.overwrite(after(5)))
    rig.context.broker = "kafka"
    assert list(at_once(MemoryStore(rig.settings, rig.context).list())) == []

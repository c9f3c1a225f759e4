"""The end of a shard: only what proves it, with all children; never a deleted stream, a cut answer or an open shard."""

from __future__ import annotations

from collections import deque

import pytest
from streamkit_kinesis.fetching import FALSE_END, SHARD_EXPIRED

from plugins.kinesis.tests.service import KEYS, World, refusal, values_in
from streamkit.errors import PositionExpiredError, StreamGoneError
from streamkit.model import Batch, StartPosition
from streamkit.plugin import Ended, Event, Failed

HALF = (KEYS + 1) // 2


def ends_in(events: list[Event]) -> list[Ended]:
    return [event for event in events if isinstance(event, Ended)]


def split(names_children: bool = True) -> World:
    world = World()
    world.service.put("orders", 0, b"last")
    world.service.split("orders", 0)
    world.service.streams["orders"]["shardId-000000000000"].names_children = names_children
    return world


@pytest.mark.parametrize("names_children", [True, False])
def test_a_split_shard_ends_behind_its_records_with_both_children(names_children: bool) -> None:
    world = split(names_children)
    partition = world.add(world.partition())
    events = world.run(3)
    assert [type(event) for event in events if isinstance(event, Batch | Ended)][-1] is Ended
    assert values_in(events) == [b"last"]
    (ended,) = ends_in(events)
    assert ended.partition == partition
    assert [child.id for child in ended.children] == ["shardId-000000000001", "shardId-000000000002"]
    for child, key_range in zip(ended.children, ((0, HALF - 1), (HALF, KEYS)), strict=True):
        assert (child.parents, child.key_range, child.incarnation, child.ended) == (
            (partition.id,),
            key_range,
            partition.incarnation,
            False,
        )
    assert world.run(5) == []


@pytest.mark.parametrize("names_children", [True, False])
def test_the_child_of_a_merge_names_both_parents(names_children: bool) -> None:
    world = World(shards=2)
    world.service.merge("orders", 0, 1)
    for shard in (0, 1):
        world.service.streams["orders"][f"shardId-{shard:012d}"].names_children = names_children
        world.add(world.partition(shard))
    children = {ended.partition.id: ended.children for ended in ends_in(world.run(3))}
    assert len(children) == 2
    for (child,) in children.values():
        assert child.id == "shardId-000000000002"
        assert child.parents == ("shardId-000000000000", "shardId-000000000001")
        assert child.key_range == (0, KEYS)


def test_an_answer_without_a_next_iterator_is_no_end_while_the_shard_is_listed_as_open() -> None:
    world = World()
    world.service.put("orders", 0, b"one")
    world.add(world.partition())
    world.service.faults["get_records"] = deque([lambda answer: {key: answer[key] for key in ("Records", "MillisBehindLatest")}])
    events = world.run(3)
    world.service.put("orders", 0, b"two")
    events += world.run(3)
    assert values_in(events) == [b"one", b"two"]
    assert ends_in(events) == []
    assert (("shardId-000000000000", FALSE_END, 1)) in world.context.told


def test_a_child_that_is_listed_beside_an_open_parent_is_no_end_of_it() -> None:
    world = World()
    world.service.split("orders", 0)
    parent = world.service.streams["orders"]["shardId-000000000000"]
    parent.ended_at = None
    world.add(world.partition())
    world.service.faults["get_records"] = deque([lambda answer: {key: answer[key] for key in ("Records", "MillisBehindLatest")}])
    assert ends_in(world.run(3)) == []
    assert world.context.told == [("shardId-000000000000", FALSE_END, 1)]


def test_an_end_waits_until_the_children_are_listed() -> None:
    world = split(names_children=False)
    children = {name: shard for name, shard in world.service.streams["orders"].items() if shard.parents}
    for name in children:
        del world.service.streams["orders"][name]
    world.add(world.partition())
    assert ends_in(world.run(1)) == []
    world.service.streams["orders"].update(children)
    (ended,) = ends_in(world.run(10))
    assert len(ended.children) == 2


def test_an_end_that_cannot_be_confirmed_for_long_fails_with_a_retryable_error_and_keeps_its_records() -> None:
    world = split(names_children=False)
    for name in [name for name, shard in world.service.streams["orders"].items() if shard.parents]:
        del world.service.streams["orders"][name]
    world.service.create("other")
    world.add(world.partition(0, "other"))
    world.add(world.partition())
    events = world.run(60)
    assert values_in(events) == [b"last"]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.error.retryable


def test_a_listing_that_fails_when_an_end_is_confirmed_is_made_again() -> None:
    world = split(names_children=False)
    world.service.faults["list_shards"] = deque(
        [refusal("InternalFailure", status=500), lambda answer: {}, refusal("LimitExceededException")]
    )
    world.add(world.partition())
    events = world.run(10)
    assert values_in(events) == [b"last"]
    assert len(ends_in(events)) == 1


def test_a_child_that_is_cut_out_of_an_answer_is_no_end() -> None:
    world = split()

    def cut(answer: dict[str, object]) -> dict[str, object]:
        children = answer["ChildShards"]
        assert isinstance(children, list)
        return {**answer, "ChildShards": [{"ShardId": child["ShardId"]} for child in children]}

    world.service.faults["get_records"] = deque([cut])
    world.add(world.partition())
    events = world.run(5)
    assert values_in(events) == [b"last"]
    assert all(child.key_range is not None for ended in ends_in(events) for child in ended.children)


def test_a_shard_that_has_expired_is_passed_over_loudly_and_its_children_go_on() -> None:
    world = split()
    partition = world.partition()
    del world.service.streams["orders"][partition.id]
    world.add(partition)
    (ended,) = world.run(3)
    assert isinstance(ended, Ended)
    assert [child.id for child in ended.children] == ["shardId-000000000001", "shardId-000000000002"]
    assert world.context.told == [(partition.id, SHARD_EXPIRED, 1)]


def test_where_children_have_expired_as_well_the_oldest_that_are_left_go_on() -> None:
    world = split()
    partition = world.partition()
    world.service.split("orders", 1)
    for shard in (0, 1):
        del world.service.streams["orders"][f"shardId-{shard:012d}"]
    world.add(partition)
    (ended,) = world.run(3)
    assert isinstance(ended, Ended)
    assert [child.id for child in ended.children] == ["shardId-000000000002", "shardId-000000000003", "shardId-000000000004"]


def test_a_shard_that_has_expired_halts_where_that_is_set() -> None:
    world = World(on_expired="halt")
    partition = world.partition()
    world.service.split("orders", 0)
    del world.service.streams["orders"][partition.id]
    world.add(partition)
    (failed,) = world.run(3)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, PositionExpiredError)
    assert failed.resume is None
    assert world.context.told == []


def test_a_start_at_the_end_asks_for_the_children_alone() -> None:
    world = split()
    world.add(world.partition(), StartPosition.END)
    (ended,) = world.run(1)
    assert isinstance(ended, Ended)
    assert len(ended.children) == 2
    assert world.service.count("get_records") == 0


def test_a_deleted_stream_is_gone_where_an_end_should_be_confirmed() -> None:
    world = split(names_children=False)
    world.add(world.partition())
    world.step(0.1)
    del world.service.streams["orders"]
    events = world.run(3)
    assert values_in(events) == [b"last"]
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert isinstance(failed.error, StreamGoneError)

"""Promise 3 on Kinesis and DynamoDB: order in a shard, through an aggregate left in its middle, and through a split and a merge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.promise.kinesis.running import TOP, KinesisPlace

pytestmark = pytest.mark.integration

PARENTS = {2: (0,), 3: (0,), 4: (1, 3)}
"""What a split of the first of two shards makes of it, and a merge of the second half with the second shard."""


def shard(number: int) -> str:
    return f"shardId-{number:012}"


def write_aggregate(here: KinesisPlace, names: Sequence[str], hold: str) -> None:
    """Of one shard, the first; by the library of others."""
    from aws_kinesis_agg.aggregator import RecordAggregator

    aggregator = RecordAggregator()
    for name in names:
        assert aggregator.add_user_record("k", f"{name} {'hold' if name == hold else 'go'}".encode(), "0") is None
    _, _, data = aggregator.clear_and_get().get_contents()
    here.kinesis.put_record(StreamName=here.stream, PartitionKey="k", ExplicitHashKey="0", Data=data)


def test_order_holds_inside_an_aggregate_and_through_a_split_and_a_merge(place: Callable[..., KinesisPlace]) -> None:
    here = place(2)
    here.write(["a0"], slice_of=(0, 2))
    write_aggregate(here, [f"a{number}" for number in range(1, 11)], hold="a4")
    here.write(["a11"], slice_of=(0, 2))
    here.write(["b0", "b1", "b2"], slice_of=(1, 2))
    here.start("one", lease_duration=here.short_lease)
    here.until(
        lambda: len(here.names()) == 7 and "a4" in [line.name for line in here.lines("call")], "it is in the middle of the aggregate"
    )
    here.until(lambda: here.rows()[shard(0)].sub_sequence == 2, "it has saved that")
    here.kill("one")
    saved = here.rows()[shard(0)]

    here.change("split_shard", ShardToSplit=shard(0), NewStartingHashKey=str(TOP // 4))
    here.change("merge_shards", ShardToMerge=shard(3), AdjacentShardToMerge=shard(1))
    here.write(["c0", "c1"], slice_of=(0, 4))
    here.write(["d0", "d1"], slice_of=(1, 2))
    here.gate.touch()
    here.start("two", lease_duration=here.short_lease)
    names = {f"a{number}" for number in range(12)} | {"b0", "b1", "b2", "c0", "c1", "d0", "d1"}
    here.until(lambda: set(here.names()) == names, "every record is done")

    (again,) = [line for line in here.lines("begin", "two") if line.partition == shard(0)]
    assert (again.sequence, again.sub_sequence) == (int(saved.checkpoint), saved.sub_sequence)
    first = next(line for line in here.lines("call", "two") if line.partition == shard(0))
    assert (first.name, first.sequence, first.sub_sequence) == ("a4", int(saved.checkpoint), 3), "exactly behind the checkpoint"
    done = here.lines("record")
    for number, expected in ((0, [f"a{n}" for n in range(12)]), (2, ["c0", "c1"]), (4, ["d0", "d1"])):
        assert [line.name for line in done if line.partition == shard(number)] == expected
    begun = {line.partition: line.at for line in reversed(here.lines("begin"))}
    ended = {line.partition: line.at for line in here.lines("ended")}
    for child, parents in PARENTS.items():
        assert all(ended[shard(parent)] < begun[shard(child)] for parent in parents), f"{child} began before a parent had ended"

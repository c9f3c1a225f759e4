"""The shards of a stream as partitions with lineage. Pure but for the calls of `list_shards`.

A shard's parents are those that split into it or merged into it; it is closed when its range of sequence numbers has an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from streamkit.errors import BrokerUnavailableError
from streamkit.model import Partition, StartPosition
from streamkit_kinesis.client import KinesisClient
from streamkit_kinesis.errors import BROKER, SDK_ERRORS, code_of, translated
from streamkit_kinesis.streams import StreamInfo, key_of, required, stream_argument

__all__ = ["child_of", "list_shards", "oldest_over", "reachable"]

MAX_RESTARTS = 3
"""How often a listing whose page token has expired is begun again."""


def list_shards(client: KinesisClient, info: StreamInfo, start: StartPosition = StartPosition.EARLIEST) -> list[Partition]:
    """All shards that the service lists of a stream, from the first page to the last one.

    For a start at a time the service leaves out those that were closed before; servers that know no filter list all, which is
    as good. Raises BrokerUnavailableError for an answer that is cut, or that lists nothing: a stream has shards.
    """
    for _ in range(MAX_RESTARTS):
        found = _pages(client, info, start)
        if found is not None:
            break
    else:
        raise BrokerUnavailableError(
            f"Kinesis, listing the shards of {info.stream}: the listing ran out of time again and again", broker=BROKER
        )
    if not found:
        raise BrokerUnavailableError(f"Kinesis, listing the shards of {info.stream}: none is listed", broker=BROKER)
    return _with_children(found)


def _pages(client: KinesisClient, info: StreamInfo, start: StartPosition) -> list[Partition] | None:
    """None: a page came too late, or the token of a page is not known any more; what was listed so far is of another moment."""
    doing = f"listing the shards of {info.stream}"
    arguments: dict[str, object] = dict(stream_argument(info.stream))
    if start.time is not None:
        arguments["ShardFilter"] = {"Type": "FROM_TIMESTAMP", "Timestamp": start.time}
    found: list[Partition] = []
    while True:
        with translated(doing):
            try:
                answer = client.list_shards(**arguments)
            except SDK_ERRORS as error:
                token_is_old = code_of(error) in ("ExpiredNextTokenException", "InvalidArgumentException")
                if "NextToken" in arguments and token_is_old:
                    return None
                raise
        shards = required(answer, "Shards", doing)
        assert isinstance(shards, list)
        found += [_partition(shard, info, doing) for shard in shards]
        token = answer.get("NextToken")
        if not token:
            return found
        arguments = {"NextToken": token}


def _partition(shard: object, info: StreamInfo, doing: str) -> Partition:
    hash_keys = key_of(shard, "HashKeyRange", doing)
    sequences = key_of(shard, "SequenceNumberRange", doing)
    key_of(sequences, "StartingSequenceNumber", doing)
    assert isinstance(shard, dict)
    assert isinstance(sequences, dict)
    parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
    return Partition(
        info.stream,
        str(key_of(shard, "ShardId", doing)),
        incarnation=info.incarnation,
        parents=tuple(parent for parent in parents if parent),
        key_range=(int(str(key_of(hash_keys, "StartingHashKey", doing))), int(str(key_of(hash_keys, "EndingHashKey", doing)))),
        ended=bool(sequences.get("EndingSequenceNumber")),
    )


def _with_children(shards: Iterable[Partition]) -> list[Partition]:
    """In the order of their ids, which is that of their making; one that two pages have is listed once."""
    known = {shard.id: shard for shard in shards}
    children: dict[str, list[str]] = {}
    for shard in known.values():
        for parent in shard.parents:
            children.setdefault(parent, []).append(shard.id)
    return [replace(known[name], children=tuple(children.get(name, ()))) for name in sorted(known)]


def reachable(shards: Sequence[Partition], start: StartPosition) -> list[Partition]:
    """Those in which a reader that begins at `start` can meet records. One too many does no harm: it is read, and ends."""
    return [shard for shard in shards if not shard.ended] if start.kind == "latest" else list(shards)


def child_of(partition: Partition, said: object) -> Partition:
    """A child as an answer with records names it. Raises BrokerUnavailableError if the answer is cut."""
    doing = f"reading {partition}"
    hash_keys = key_of(said, "HashKeyRange", doing)
    parents = key_of(said, "ParentShards", doing)
    assert isinstance(parents, list)
    return Partition(
        partition.stream,
        str(key_of(said, "ShardId", doing)),
        incarnation=partition.incarnation,
        parents=tuple(map(str, parents)),
        key_range=(int(str(key_of(hash_keys, "StartingHashKey", doing))), int(str(key_of(hash_keys, "EndingHashKey", doing)))),
    )


def oldest_over(partition: Partition, listed: Mapping[str, Partition]) -> tuple[Partition, ...]:
    """What goes on where a shard ended that is not listed any more: the oldest that are left of its hash keys, its children as a rule."""
    low, high = partition.key_range or (0, (1 << 128) - 1)
    over = {
        shard.id: shard
        for shard in listed.values()
        if shard.id != partition.id and shard.key_range is not None and shard.key_range[0] <= high and low <= shard.key_range[1]
    }
    return tuple(shard for shard in over.values() if not any(parent in over for parent in shard.parents))

"""Names of rows: from a partition to its `leaseKey`, and back. Pure.

| whose | leaseKey |
|---|---|
| Kinesis, one stream | `shardId-000000000000`, as the KCL has it |
| Kinesis, several streams | `account:stream:creation:shardId-…`, as the KCL has it in multi-stream mode |
| any other broker | `streamkit:broker:group:stream:partition`, with `%` and `:` inside a part written as `%25` and `%3A` |

The KCL's keys say nothing of the group: its tables belong to one application. So a table with such keys belongs to one group,
and one with shards alone to one stream; whose it is, stands in a column of ours, and another one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streamkit.errors import ConfigurationError
from streamkit.model import Partition

__all__ = ["KEYS", "KINESIS", "MultiKey", "Names", "names_of"]

KINESIS = "kinesis"
KEYS = "STREAMKIT_DYNAMODB__KEYS"
_OWN = "streamkit:"


@dataclass(frozen=True, slots=True)
class MultiKey:
    """`account:stream:creation:shard`. The first three are the KCL's `streamName`."""

    account: str
    stream: str
    creation: str
    shard: str

    def __str__(self) -> str:
        return f"{self.identifier}:{self.shard}"

    @property
    def identifier(self) -> str:
        return f"{self.account}:{self.stream}:{self.creation}"

    @classmethod
    def parse(cls, key: str) -> MultiKey | None:
        parts = key.split(":")
        return cls(*parts) if len(parts) == 4 and all(parts) and parts[2].isdigit() else None

    @classmethod
    def of(cls, partition: Partition) -> MultiKey | None:
        """From `<stream ARN>@<creation>`; None if that is not known."""
        arn, _, creation = partition.incarnation.rpartition("@")
        parts = arn.split(":", 5)
        if len(parts) != 6 or not parts[5].startswith("stream/") or not creation.isdigit():
            return None
        return cls(parts[4], parts[5].removeprefix("stream/"), creation, partition.id)


class Names:
    """Of one group on one broker."""

    def __init__(self, style: Literal["single", "multi", "own"], broker: str, group: str, streams: Sequence[str]) -> None:
        self.style = style
        self.group = group
        self._streams = streams
        self._prefix = f"{_OWN}{_quoted(broker)}:{_quoted(group)}:"

    @property
    def is_kcl(self) -> bool:
        """The keys are the KCL's, and say nothing of the group."""
        return self.style != "own"

    def key_of(self, partition: Partition) -> str | None:
        """None: it takes more to know it than this partition says (several streams, and no incarnation)."""
        if self.style == "single":
            return partition.id
        if self.style == "multi":
            key = MultiKey.of(partition)
            return None if key is None else str(key)
        return f"{self._prefix}{_quoted(partition.stream)}:{_quoted(partition.id)}"

    def partition_of(self, key: str) -> Partition | None:
        """Which partition of ours a row is; None: somebody else's row that has a right to be here. Raises ConfigurationError for one
        that has not."""
        if key.startswith(_OWN):
            return self._own(key)
        if self.style == "own":
            return None
        multi = MultiKey.parse(key)
        if self.style == "single":
            if multi is not None:
                raise _other_style(key, "multi")
            return Partition(self._streams[0], key)
        if multi is None:
            raise _other_style(key, "single")
        return Partition(self.stream_said(multi.account, multi.stream), multi.shard)

    def stream_said(self, account: str, name: str) -> str:
        """A stream as STREAM says it: by its ARN or by its name."""
        for said in self._streams:
            if said.startswith("arn:") and _account_of(said) == account and is_same_stream(said, name):
                return said
        return name

    def _own(self, key: str) -> Partition | None:
        if self.style != "own" or not key.startswith(self._prefix):
            return None
        stream, _, name = key.removeprefix(self._prefix).partition(":")
        return Partition(_unquoted(stream), _unquoted(name))


def names_of(keys: Literal["auto", "single", "multi"], broker: str, group: str, streams: Sequence[str]) -> Names:
    """Raises ConfigurationError if KEYS=single, and STREAM is several names or a pattern."""
    if broker != KINESIS:
        return Names("own", broker, group, streams)
    is_one = len(streams) == 1 and not streams[0].startswith("^")
    if keys == "single" and not is_one:
        raise ConfigurationError(
            f"single keys say nothing of the stream, and STREAMKIT_STREAM={','.join(streams)!r} may be several",
            setting=KEYS,
            fix=f"name one stream, or set {KEYS}=multi",
        )
    return Names("single" if keys == "single" or (keys == "auto" and is_one) else "multi", broker, group, streams)


def is_same_stream(said: str, other: str) -> bool:
    """Whether two ways to say a stream, by name or ARN, may mean the same one."""
    return _name_of(said) == _name_of(other)


def _name_of(said: str) -> str:
    return said.rpartition("/")[2] if said.startswith("arn:") else said


def _account_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _other_style(key: str, style: str) -> ConfigurationError:
    held = "several streams" if style == "multi" else "one stream"
    return ConfigurationError(
        f"the table has leases of an application with {held} ({key!r}), and their keys are written in another way",
        setting=KEYS,
        fix=f"set {KEYS}={style} to go on with them, or name another table: STREAMKIT_DYNAMODB__TABLE",
    )


def _quoted(part: str) -> str:
    return part.replace("%", "%25").replace(":", "%3A")


def _unquoted(part: str) -> str:
    return part.replace("%3A", ":").replace("%25", "%")

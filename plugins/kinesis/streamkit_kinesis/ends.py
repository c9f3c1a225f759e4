"""What goes on when a shard has no more records: its children, or why it cannot be read any more.

A deleted stream, an expired shard and an answer that was cut all look alike at first. Here the service is asked which of them it
is, on the thread that reads. Nothing here takes the absence of something in one answer for an end.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamkit.errors import BrokerError, BrokerUnavailableError, PositionExpiredError
from streamkit.model import Partition
from streamkit_kinesis.client import KinesisClient
from streamkit_kinesis.errors import BROKER
from streamkit_kinesis.shards import list_shards, oldest_over
from streamkit_kinesis.streams import StreamBook, check_incarnation

__all__ = ["Ends", "FalseEndError", "ShardExpiredError"]


class FalseEndError(BrokerUnavailableError):
    """An answer looked like the end of a shard that is still open, or whose children are not listed yet."""


class ShardExpiredError(PositionExpiredError):
    """The shard is not listed any more: it was closed, and all of its records are older than what the stream keeps."""

    def __init__(self, partition: Partition, children: tuple[Partition, ...]) -> None:
        super().__init__(
            f"{partition} has expired: what was not read of it before is gone",
            earliest=f"the oldest record of {', '.join(child.id for child in children)}",
            broker=BROKER,
            partition=str(partition),
            fix="STREAMKIT_KINESIS__ON_EXPIRED=earliest goes on with the shards that follow",
        )
        self.children = children


class Ends:
    """Asks about shards of one broker. From any thread."""

    def __init__(self, client: KinesisClient, book: StreamBook) -> None:
        self._client = client
        self._book = book

    def children(self, partition: Partition) -> tuple[Partition, ...]:
        """Those of a shard that seems to have ended, where the answer did not name them.

        Raises FalseEndError (retryable) if it has not ended; StreamGoneError, PositionInvalidError for another stream of that
        name; ShardExpiredError.
        """
        listed = self._listed(partition)
        if (shard := listed.get(partition.id)) is None:
            raise self._unlisted(partition, listed)
        children = tuple(one for one in listed.values() if partition.id in one.parents)
        if not shard.ended or not children:
            what = "is listed as open" if not shard.ended else "is listed without children"
            raise FalseEndError(f"{partition} looks as if it had ended, but it {what}", broker=BROKER, partition=str(partition))
        return children

    def missing(self, partition: Partition, doing: str) -> None:
        """The service says that it does not know what we have asked for. Always raises, as `children` does; or, if the shard is
        there, BrokerUnavailableError: one that is new is not known everywhere at once."""
        listed = self._listed(partition)
        if partition.id not in listed:
            raise self._unlisted(partition, listed)
        raise BrokerUnavailableError(
            f"Kinesis, {doing}: the shard is listed, but the service does not find it", broker=BROKER, partition=str(partition)
        )

    def _unlisted(self, partition: Partition, listed: Mapping[str, Partition]) -> BrokerError:
        """Why a shard is not listed. Those that follow a shard are listed for longer than itself, so while something older of its keys
        is there, it is too new, and has not expired: to end it now would be to lose all of it."""
        over = oldest_over(partition, listed)
        if any(_age(one.id) < _age(partition.id) for one in over):
            text = f"{partition} is not listed yet, but {over[0].id} before it is"
            return BrokerUnavailableError(text, broker=BROKER, partition=str(partition))
        return ShardExpiredError(partition, over)

    def _listed(self, partition: Partition) -> dict[str, Partition]:
        info = self._book.look_up(partition.stream)
        check_incarnation(partition, info)
        return {shard.id: shard for shard in list_shards(self._client, info)}


def _age(shard_id: str) -> tuple[int, str]:
    """Rises with each shard that is made: their ids are numbers of equal length."""
    return len(shard_id), shard_id

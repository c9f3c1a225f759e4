"""The producer's calls of the service, which block: put records, look whether a stream can be written, list its shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from streamkit.errors import BrokerError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit_kinesis.client import CONTROL_ATTEMPTS, Answer, KinesisClient, new_client, new_session
from streamkit_kinesis.errors import translated
from streamkit_kinesis.outgoing import Entry
from streamkit_kinesis.put_answers import answers_of
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.shards import list_shards
from streamkit_kinesis.streams import StreamBook, stream_argument

__all__ = ["Writing", "WritingClient"]

RECENT_SECONDS = 5.0
"""How old a description may be whose stream's shards are listed."""


class WritingClient(KinesisClient, Protocol):
    """The calls of a boto3 client that writing makes."""

    def put_records(self, **arguments: object) -> Answer: ...


class Writing:
    """Of one producer, with a client of its own. All calls come from one thread."""

    def __init__(self, client: WritingClient, context: AdapterContext) -> None:
        self._client = client
        self._book = StreamBook(client, context)

    @classmethod
    def connected(cls, settings: KinesisSettings, context: AdapterContext) -> Writing:
        """Connects to nothing yet. Raises ConfigurationError.

        boto3 repeats a call that had no answer, so a record may be twice in the stream: at least once, as everywhere.
        """
        client = new_client(new_session(settings), settings, connections=1, attempts=CONTROL_ATTEMPTS)
        return cls(cast(WritingClient, client), context)

    def put(self, stream: str, entries: Sequence[Entry]) -> Sequence[BrokerError | None]:
        """An answer for each. Raises BrokerError of all of them, and says by `retryable` nothing about whether any was written."""
        with translated(f"writing to {stream}"):
            answer = self._client.put_records(Records=[entry.request() for entry in entries], **stream_argument(stream))
        return answers_of(answer, len(entries), stream)

    def check(self, stream: str) -> None:
        """Raises StreamGoneError if it is not there, AccessDeniedError, BrokerUnavailableError."""
        self._book.look_up(stream)

    def shards(self, stream: str) -> Mapping[str, Partition]:
        """All shards that are listed, by id. Raises BrokerError."""
        return {shard.id: shard for shard in list_shards(self._client, self._book.look_up(stream, RECENT_SECONDS))}

    def close(self) -> None:
        """Gives back its connections."""
        self._client.close()

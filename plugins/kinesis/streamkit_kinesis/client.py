"""Makes boto3's clients: session, timeouts, retries, pool of connections, and the parser of answers.

boto3 has no types, so `KinesisClient` says which calls are made and nothing more. Nothing here talks to the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import boto3
import botocore.session
from botocore.config import Config

from streamkit import __version__
from streamkit_kinesis.errors import translated
from streamkit_kinesis.lean import make_lean
from streamkit_kinesis.parser import UnusableAnswerError, fast_parser_factory, strict_parser_factory
from streamkit_kinesis.settings import KinesisSettings

__all__ = ["Answer", "AskingAgain", "Clients", "KinesisClient", "new_client", "new_session"]

Answer = Mapping[str, Any]
"""What a call answers: JSON as boto3 has read it. Who takes a key from it says what is true if it is missing."""

CONNECT_SECONDS = 5.0
REGION_VARIABLES = ["AWS_DEFAULT_REGION", "AWS_REGION"]
"""boto3 by itself looks at the first one alone; the second one is what other SDKs, containers and Lambda give."""
CONTROL_ATTEMPTS = 4
"""Of questions about streams and shards, with boto3's own back-off in between."""


class KinesisClient(Protocol):
    """The calls of a boto3 client that reading makes. Its methods may be called from many threads at once."""

    def get_records(self, **arguments: object) -> Answer: ...

    def get_shard_iterator(self, **arguments: object) -> Answer: ...

    def list_shards(self, **arguments: object) -> Answer: ...

    def list_streams(self, **arguments: object) -> Answer: ...

    def describe_stream_summary(self, **arguments: object) -> Answer: ...

    def close(self) -> None: ...


class AskingAgain:
    """A client that asks again, at once, for an answer that was cut: botocore does so for one that did not come, and looks no closer."""

    def __init__(self, client: KinesisClient, attempts: int) -> None:
        self._client = client
        self._attempts = attempts

    def _ask(self, call: Callable[..., Answer], arguments: dict[str, object]) -> Answer:
        for _ in range(self._attempts - 1):
            try:
                return call(**arguments)
            except UnusableAnswerError:
                continue
        return call(**arguments)

    def get_records(self, **arguments: object) -> Answer:
        return self._ask(self._client.get_records, arguments)

    def get_shard_iterator(self, **arguments: object) -> Answer:
        return self._ask(self._client.get_shard_iterator, arguments)

    def list_shards(self, **arguments: object) -> Answer:
        return self._ask(self._client.list_shards, arguments)

    def list_streams(self, **arguments: object) -> Answer:
        return self._ask(self._client.list_streams, arguments)

    def describe_stream_summary(self, **arguments: object) -> Answer:
        return self._ask(self._client.describe_stream_summary, arguments)

    def close(self) -> None:
        self._client.close()


def new_session(settings: KinesisSettings) -> boto3.Session:
    """A session of our own, whose parser refuses answers that are cut. Nobody else's boto3 is changed by that."""
    session = botocore.session.get_session({"region": ("region", REGION_VARIABLES, None, None)})
    factory = fast_parser_factory() if settings.parser == "fast" else strict_parser_factory()
    session.register_component("response_parser_factory", factory)
    return boto3.Session(botocore_session=session, region_name=settings.region)


class Clients:
    """The two clients of a broker. Make them on one thread: boto3's sessions are not to be shared while clients are made."""

    def __init__(self, settings: KinesisSettings) -> None:
        """Raises ConfigurationError if there is no region or an address makes no sense; loads files, but connects to nothing."""
        session = new_session(settings)
        self.control: KinesisClient = AskingAgain(new_client(session, settings, connections=4, attempts=CONTROL_ATTEMPTS), CONTROL_ATTEMPTS)
        """Asks about streams and shards."""
        # The reader has its own back-off, one for each shard: attempts behind its back would be more calls to a shard that
        # has just said that it has had too many.
        self.reading: KinesisClient = new_client(session, settings, connections=settings.read_threads, attempts=1)
        """Reads records, from many threads."""
        if settings.parser == "fast":
            make_lean(self.reading)

    def close(self) -> None:
        """Give back their connections."""
        self.control.close()
        self.reading.close()


def new_client(session: boto3.Session, settings: KinesisSettings, *, connections: int, attempts: int) -> KinesisClient:
    """A client of this session. Raises ConfigurationError."""
    config = Config(
        connect_timeout=min(CONNECT_SECONDS, settings.request_seconds),
        read_timeout=settings.request_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
        tcp_keepalive=True,
        user_agent_extra=f"streamkit/{__version__}",
    )
    with translated("making a client"):
        return cast(KinesisClient, session.client("kinesis", endpoint_url=settings.endpoint_url, config=config))

"""The client, its errors as streamkit's, and what an entry's id is as a position."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis import exceptions as sdk

from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError
from streamkit.model import Partition, Position
from streamkit_redisstreams import RedisStreamsSettings

BROKER = "redisstreams"


def connect(settings: RedisStreamsSettings) -> redis.Redis:
    """A client without retries: those are the engine's business. Does no I/O yet."""
    limits = {"socket_timeout": settings.timeout_seconds, "socket_connect_timeout": settings.timeout_seconds}
    return redis.Redis.from_url(settings.url.get_secret_value(), retry=None, **limits)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises what Redis says as a BrokerError. Redis's own words name hosts, never passwords."""
    try:
        yield
    except (sdk.AuthenticationError, sdk.NoPermissionError) as error:  # first: some of them are ConnectionErrors too
        raise AccessDeniedError(f"Redis, {doing}: {error}", broker=BROKER, fix="look at STREAMKIT_REDISSTREAMS__URL") from error
    except (sdk.ConnectionError, sdk.TimeoutError) as error:
        raise BrokerUnavailableError(f"Redis, {doing}: {error}", broker=BROKER) from error
    except sdk.RedisError as error:
        raise BrokerError(f"Redis, {doing}: {error}", broker=BROKER) from error


def key_of(partition: Partition) -> str:
    return f"{partition.stream}:{partition.id}"


def position_of(entry_id: bytes) -> Position:
    """An id is `<milliseconds>-<count>`: positions are ordered as ids are."""
    milliseconds, number = map(int, entry_id.split(b"-"))
    return Position(milliseconds, number)


def id_of(position: Position) -> str:
    return f"{position.sequence}-{position.sub_sequence}"

"""Settings as librdkafka wants them, and what every client of ours has: a logger that cannot break it, a safe callback.

The defaults are measured (see the README); OPTIONS win over those that no promise hangs on.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamkit.errors import ConfigurationError
from streamkit_kafka.errors import OPTIONS, is_refusal, translated
from streamkit_kafka.settings import KafkaSettings
from streamkit_kafka.tokens import TokenSource

__all__ = [
    "Config",
    "ErrorWatch",
    "OnCommit",
    "admin_config",
    "consumer_config",
    "group_config",
    "new_admin",
    "new_consumer",
    "new_producer",
    "producer_config",
]

Config = dict[str, Any]
OnCommit = Callable[[KafkaError | None, list[TopicPartition]], None]

_RECENT_SECONDS = 60.0
_LOGGER = logging.getLogger("streamkit.kafka.librdkafka")

_READING = {
    # With the default of 1000 a consumer whose queue was full for a moment sleeps for a second (librdkafka #2879).
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 20_000,
    # The bound of prefetched memory per process, in KiB; 64 MiB by default and no faster.
    "queued.max.messages.kbytes": 16_384,
    # A partition that is added waits for the outstanding fetch to return, so this is the delay of its first record.
    "fetch.wait.max.ms": 100,
    # New partitions and topics are found so late at most (librdkafka: 5 minutes).
    "topic.metadata.refresh.interval.ms": 30_000,
}


def milliseconds(duration: timedelta) -> int:
    return max(1, round(duration.total_seconds() * 1000))


def admin_config(settings: KafkaSettings, worker: str) -> Config:
    """What all clients share."""
    config: Config = {
        "client.id": f"streamkit-{worker}" if worker else "streamkit",
        # An answer that is overdue makes a commit fail, and the reader's thread free, after so long (librdkafka: 60 s).
        "socket.timeout.ms": max(milliseconds(settings.request_timeout), 1_100),
        **settings.options,
        "bootstrap.servers": settings.bootstrap_servers,
        "security.protocol": settings.security_protocol,
        "logger": _SafeLogger(),
    }
    for name, value in (
        ("sasl.mechanism", settings.sasl_mechanism),
        ("sasl.username", settings.sasl_username),
        ("sasl.password", settings.sasl_password and settings.sasl_password.get_secret_value()),
        ("ssl.ca.location", settings.ssl_ca_location),
    ):
        if value:
            config[name] = value
    if settings.oauth_callback:
        asked = str(settings.options.get("sasl.oauthbearer.config", ""))
        config["oauth_cb"] = TokenSource(_imported(settings.oauth_callback), settings.oauth_callback, asked)
    return config


def consumer_config(settings: KafkaSettings, worker: str, group: str) -> Config:
    """A consumer outside of any membership; `group` is whose offsets it reads and commits."""
    return {
        **_READING,
        **admin_config(settings, worker),
        "group.id": group or "streamkit",
        "isolation.level": settings.isolation_level,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
    }


def group_config(settings: KafkaSettings, worker: str, group: str) -> Config:
    """A member of the group. KIP-848 takes neither strategy nor session timeout: the broker has them."""
    config = consumer_config(settings, worker, group)
    config["group.protocol"] = settings.group_protocol
    config["max.poll.interval.ms"] = milliseconds(settings.max_poll_interval)
    if settings.group_protocol == "classic":
        config["partition.assignment.strategy"] = "cooperative-sticky"
        session = milliseconds(settings.session_timeout or timedelta(seconds=45))
        config["session.timeout.ms"] = session
        # A member hears of a rebalance by its next heartbeat, and a cooperative one has two rounds: a third of librdkafka's 3 s.
        config.setdefault("heartbeat.interval.ms", min(1_000, session // 3))
    return config


def producer_config(settings: KafkaSettings, worker: str) -> Config:
    """Acknowledged by all replicas in sync, in order, and keys where the Java client puts them."""
    return {
        "message.timeout.ms": 30_000,
        "partitioner": "murmur2_random",
        **admin_config(settings, worker),
        "acks": "all",
        "enable.idempotence": True,
    }


def new_consumer(config: Config, on_error: Callable[[KafkaError], None], on_commit: OnCommit | None = None) -> Consumer:
    """Makes threads and does no I/O, but for asking a callback for its token.

    Raises ConfigurationError naming OPTIONS for what librdkafka does not know, AccessDeniedError if there is no token.
    """
    _fetch_token(config)
    with translated("configuring the consumer"):
        callbacks: Config = {"error_cb": on_error, **({} if on_commit is None else {"on_commit": on_commit})}
        return Consumer({**config, **callbacks})


def new_admin(config: Config, on_error: Callable[[KafkaError], None]) -> AdminClient:
    """As `new_consumer`; its futures die with it, so it is kept while they run."""
    _fetch_token(config)
    with translated("configuring the client"):
        full: Config = {**config, "error_cb": on_error}
        return AdminClient(full)


def new_producer(config: Config, on_error: Callable[[KafkaError], None]) -> Producer:
    """As `new_consumer`."""
    _fetch_token(config)
    with translated("configuring the producer"):
        full: Config = {**config, "error_cb": on_error}
        return Producer(full)


def _fetch_token(config: Config) -> None:
    source = config.get("oauth_cb")
    if isinstance(source, TokenSource):
        source.fetch()


class ErrorWatch:
    """An `error_cb`: remembers the last thing that librdkafka could not do, and never raises into its poll."""

    __slots__ = ("_denied_at", "denied", "down", "trouble")

    def __init__(self) -> None:
        self.trouble: KafkaError | None = None
        """The last error since `clear`, for messages and health."""
        self.denied: KafkaError | None = None
        """The last one about credentials or TLS: librdkafka goes on trying for ever, people should know at once."""
        self.down = False
        """No broker could be reached."""
        self._denied_at = 0.0

    def __call__(self, error: KafkaError) -> None:
        if is_refusal(error):
            self.denied, self._denied_at = error, time.monotonic()
        self.down = self.down or error.code() == KafkaError._ALL_BROKERS_DOWN
        # «All brokers down» says less than the reason that came just before it.
        if self.trouble is None or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.trouble = error

    def reason(self) -> str:
        """Why no broker answers, as far as one can tell: a refusal of a moment ago explains the connections that broke after it."""
        recent = self.denied if time.monotonic() - self._denied_at < _RECENT_SECONDS else None
        known = recent or self.trouble
        return "" if known is None else known.str()

    def clear(self) -> None:
        self.trouble = self.denied = None
        self.down = False


class _SafeLogger:
    """What librdkafka logs, as Python log records of level DEBUG: it writes a line for each connection that it tries again.

    What people must know comes as errors and events. An exception in here would discard the batch that is being polled.
    """

    def log(self, level: int, message: str, *args: object) -> None:
        with contextlib.suppress(Exception):
            _LOGGER.debug(message, *args)


def _imported(path: str) -> Callable[..., object]:
    module, _, name = path.partition(":")
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{path!r} cannot be imported: {error}", setting="STREAMKIT_KAFKA__OAUTH_CALLBACK") from error
    if not callable(found):
        raise ConfigurationError(f"{path!r} is not a function", setting="STREAMKIT_KAFKA__OAUTH_CALLBACK", fix=f"or use {OPTIONS}")
    return found

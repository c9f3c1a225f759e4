"""Turns librdkafka's errors into those of streamkit; the only place that knows their codes.

Classified by code: `KafkaError.retriable()` was False for every error that we have met (measured, confluent-kafka 2.16.1).
Two readings of one error exist, because who asked matters: `broker_error` for reading and writing records,
`store_error` for committed offsets. `translated` is the context manager around every call of the SDK.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from confluent_kafka import KafkaError, KafkaException

from streamkit.errors import (
    AccessDeniedError,
    BrokerError,
    BrokerUnavailableError,
    CheckpointError,
    ConfigurationError,
    FencedError,
    PositionExpiredError,
    PositionInvalidError,
    StoreNotReadyError,
    StoreThrottledError,
    StoreUnavailableError,
    StreamGoneError,
    StreamkitError,
    ThrottledError,
)
from streamkit_kafka.access_errors import access_fix, is_refused_tls, setting_at_fault

__all__ = [
    "BROKER",
    "OPTIONS",
    "SERVERS",
    "Reading",
    "access_error",
    "broker_error",
    "code_of",
    "is_gone",
    "is_rebalance",
    "is_refusal",
    "is_unavailable",
    "store_error",
    "translated",
    "translation",
]

BROKER = "kafka"
OPTIONS = "STREAMKIT_KAFKA__OPTIONS"
SERVERS = "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS"

Reading: TypeAlias = Callable[[KafkaError, str, str], StreamkitError]

_UNAVAILABLE = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._DESTROY,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._NOENT,  # «no leaders found»: a partition that was made a moment ago
    KafkaError._PURGE_INFLIGHT,
    KafkaError._PURGE_QUEUE,
    KafkaError._QUEUE_FULL,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
    KafkaError.BROKER_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NETWORK_EXCEPTION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_ENOUGH_REPLICAS,
    KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
}
_DENIED = {
    KafkaError._AUTHENTICATION: "valid credentials",
    KafkaError._SSL: "a TLS connection that both sides accept",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "rights on the cluster",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "READ on the group",
    KafkaError.ILLEGAL_SASL_STATE: "a matching SASL mechanism",
    KafkaError.SASL_AUTHENTICATION_FAILED: "valid credentials",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "READ and DESCRIBE (to write: WRITE) on the topic",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "a SASL mechanism that the broker offers",
}
_GONE = {
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
_NOT_READY = {
    KafkaError._IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
}
_FENCED = {
    KafkaError._ASSIGNMENT_LOST,
    KafkaError._FENCED,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.FENCED_MEMBER_EPOCH,
    KafkaError.UNKNOWN_MEMBER_ID,
}
_SAME_INSTANCE = {KafkaError.FENCED_INSTANCE_ID, KafkaError.UNRELEASED_INSTANCE_ID}
_SIZES = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}


def code_of(error: KafkaException) -> int:
    """The code inside an exception of the client; 0 if it carries none."""
    inner = error.args[0] if error.args else None
    return inner.code() if isinstance(inner, KafkaError) else 0


def is_unavailable(error: KafkaError) -> bool:
    """librdkafka goes on trying by itself after these."""
    return error.code() in _UNAVAILABLE


def is_gone(error: KafkaError) -> bool:
    return error.code() in _GONE


def is_refusal(error: KafkaError) -> bool:
    """Credentials or TLS, whatever the code: a refused certificate may be called a transport error, a lost connection a refused login."""
    if error.code() == KafkaError._AUTHENTICATION:
        return "Broker transport failure" not in error.str()
    return error.code() == KafkaError._SSL or is_refused_tls(error.str())


def is_rebalance(error: KafkaError) -> bool:
    """The client rejoins by itself after these; what we have lost, the callbacks say."""
    return error.code() in _NOT_READY or error.code() in (_FENCED - _SAME_INSTANCE)


def broker_error(error: KafkaError, doing: str, partition: str = "") -> StreamkitError:
    """What it means for records. A setting that the client refuses becomes a ConfigurationError."""
    code = error.code()
    text = f"Kafka, {doing}: {error.str()} ({error.name()})"
    if code == KafkaError._INVALID_ARG:
        return _refused_setting(error, doing)
    if code in _UNAVAILABLE:
        return BrokerUnavailableError(text, broker=BROKER, partition=partition)
    if code in _DENIED:
        return access_error(error, doing, partition)
    if code in _GONE:
        fix = "create the topic, or correct STREAMKIT_STREAM"
        return StreamGoneError(text, broker=BROKER, partition=partition, fix=fix)
    if code == KafkaError.THROTTLING_QUOTA_EXCEEDED:
        return ThrottledError(text, broker=BROKER, partition=partition)
    if code == KafkaError.OFFSET_OUT_OF_RANGE:
        return PositionExpiredError(text, broker=BROKER, partition=partition)
    if code == KafkaError._LOG_TRUNCATION:
        return PositionInvalidError(text, broker=BROKER, partition=partition)
    return BrokerError(text, broker=BROKER, partition=partition, fix=_fix_for(error))


def access_error(error: KafkaError, doing: str, partition: str = "") -> AccessDeniedError:
    """A refusal, whatever its code: a certificate that is refused may come as a transport error."""
    text = f"Kafka, {doing}: {error.str()} ({error.name()})"
    missing = _DENIED.get(error.code(), _DENIED[KafkaError._SSL])
    fix = access_fix(error.str()) or "look at STREAMKIT_KAFKA__SECURITY_PROTOCOL, __SASL_… and at the broker's access lists"
    return AccessDeniedError(text, missing=missing, broker=BROKER, partition=partition, fix=fix)


def _fix_for(error: KafkaError) -> str:
    code, text = error.code(), error.str()
    if code in _SAME_INSTANCE or re.search(r"instance.id|static (consumer|member)", text, re.IGNORECASE):
        return f"two workers run with one group.instance.id: give each its own in {OPTIONS}"
    if code in (KafkaError._UNSUPPORTED_FEATURE, KafkaError._FATAL, KafkaError.UNSUPPORTED_VERSION) and "group" in text.lower():
        return "this broker has no KIP-848 groups: set STREAMKIT_KAFKA__GROUP_PROTOCOL=classic"
    if code in (KafkaError.INCONSISTENT_GROUP_PROTOCOL, KafkaError.UNSUPPORTED_ASSIGNOR):
        return "other members of the group use another assignment strategy: stop them, or use another STREAMKIT_GROUP"
    if code in _SIZES:
        return f"raise message.max.bytes in {OPTIONS} and the topic's max.message.bytes"
    return ""


def _refused_setting(error: KafkaError, doing: str) -> ConfigurationError:
    text = error.str()
    known = setting_at_fault(text)
    if known is not None:
        return ConfigurationError(f"librdkafka does not take it ({doing}): {text}", setting=known[0], fix=known[1])
    name = re.search(r'property[^"]*"([^"]+)"', text)
    what = f"{name[1]}: {text}" if name else text
    return ConfigurationError(f"librdkafka does not take it ({doing}): {what}", setting=OPTIONS, fix="see librdkafka's CONFIGURATION.md")


def store_error(error: KafkaError, doing: str, partition: str = "") -> CheckpointError:
    """What it means for committed offsets."""
    code = error.code()
    text = f"Kafka, {doing}{' of ' + partition if partition else ''}: {error.str()} ({error.name()})"
    if code in _FENCED:
        return FencedError(text)
    if code in _NOT_READY:
        return StoreNotReadyError(text)
    if code == KafkaError.THROTTLING_QUOTA_EXCEEDED:
        return StoreThrottledError(text)
    if code in _UNAVAILABLE:
        return StoreUnavailableError(text)
    if code in _DENIED:
        return CheckpointError(text, fix=f"the worker lacks {_DENIED[code]}")
    if code == KafkaError.OFFSET_METADATA_TOO_LARGE:
        return CheckpointError(text, fix="shorten the metadata, or raise the broker's offset.metadata.max.bytes")
    return CheckpointError(text)


def translation(error: Exception, doing: str, partition: str = "", reading: Reading = broker_error) -> StreamkitError:
    """streamkit's error for whatever a call of the client has raised."""
    inner = error.args[0] if isinstance(error, KafkaException) and error.args else None
    if not isinstance(inner, KafkaError):  # RuntimeError: «Consumer closed» and misuse of handles
        inner = KafkaError(KafkaError._FAIL, str(error))
    known = reading(inner, doing, partition)
    known.__cause__ = error
    return known


@contextmanager
def translated(doing: str, partition: str = "", reading: Reading = broker_error) -> Iterator[None]:
    """Raises `translation` of what the calls in it raise; `doing` tells people what was tried."""
    try:
        yield
    except (KafkaException, RuntimeError) as error:
        raise translation(error, doing, partition, reading) from error

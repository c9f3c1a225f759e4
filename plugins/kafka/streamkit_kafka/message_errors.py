"""What a message that is an error means: an event for its partition, an error for everybody, or nothing at all.

librdkafka reports through such messages what happened while it fetched. Called by the consumer's poll, on its thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, TopicPartition

from streamkit.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    PositionExpiredError,
    PositionInvalidError,
    StreamGoneError,
    StreamkitError,
)
from streamkit.model import StartPosition
from streamkit.plugin import CaughtUp, Event, Failed
from streamkit_kafka.consumer import Assignment, ConsumerCore
from streamkit_kafka.errors import BROKER, broker_error, is_gone, is_rebalance, is_unavailable, translated

__all__ = ["MessageErrors"]

_POSITION = (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE)


class MessageErrors:
    """`explain` is given to the core. `on_expired`: what the setting of that name says."""

    def __init__(self, core: ConsumerCore, on_expired: str) -> None:
        self._core = core
        self._on_expired = on_expired

    def explain(self, message: Message) -> Iterable[Event]:
        error, topic, number = message.error(), message.topic(), message.partition()
        assert error is not None
        code = error.code()
        found = self._core.assignments.get((topic, number)) if topic is not None and number is not None else None
        assignment = found if found is not None and found.reading else None
        if code == KafkaError._PARTITION_EOF:
            return [CaughtUp(assignment.partition)] if assignment is not None else []
        # The client goes on by itself after these; on_lost follows where something was lost.
        if code == KafkaError._MAX_POLL_EXCEEDED or is_unavailable(error) or is_rebalance(error):
            self._core.watch(error)
            return []
        if is_gone(error):
            return self._gone(error, topic or "")
        if assignment is None:
            if found is None:
                self._core.fail(broker_error(error, "reading" + (f" {topic}" if topic else "")), "reading")
            return []
        if code in _POSITION:
            return [self._misplaced(assignment, message.offset(), error)]
        return [_failed(assignment, broker_error(error, "reading", str(assignment.partition)))]

    def _gone(self, error: KafkaError, topic: str) -> Iterable[Event]:
        """Asked once more, because a broker that has just started may not know its topics yet."""
        known = broker_error(error, f"reading {topic}")
        assert isinstance(known, StreamGoneError)
        try:
            with translated(f"looking for topic {topic}"):
                metadata = self._core.consumer.list_topics(topic, timeout=self._core.request_seconds)
        except BrokerError:
            return []
        described = metadata.topics.get(topic)
        if described is None or described.error is None or not is_gone(described.error):
            return []
        reading = [a for (name, _), a in self._core.assignments.items() if name == topic and a.reading]
        if not reading:
            self._core.fail(known, "reading")
        return [_failed(assignment, known) for assignment in reading]

    def _misplaced(self, assignment: Assignment, offset: int | None, error: KafkaError) -> Failed:
        """The offset is no longer there, or cannot be right. Nothing follows until the partition is added again."""
        partition = assignment.partition
        try:
            with translated("asking for the log's ends", str(partition)):
                where = TopicPartition(partition.stream, int(partition.id))
                low, high = self._core.consumer.get_watermark_offsets(where, timeout=self._core.request_seconds)
        except (BrokerError, ConfigurationError) as unknown:
            return _failed(assignment, unknown)
        if offset is None:  # EARLIEST or LATEST could not be looked up
            text = f"{partition}: {error.str()}"
            return _failed(assignment, BrokerUnavailableError(text, broker=BROKER, partition=str(partition)))
        if offset < low:
            expired = PositionExpiredError(
                f"{partition}: offset {offset} is older than the oldest record that Kafka keeps ({low})",
                earliest=str(low),
                broker=BROKER,
                partition=str(partition),
                fix="set a checkpoint (streamkit checkpoints set), or STREAMKIT_KAFKA__ON_EXPIRED=earliest to go on at the oldest record",
            )
            return _failed(assignment, expired, StartPosition.EARLIEST if self._on_expired == "earliest" else None)
        invalid = PositionInvalidError(
            f"{partition}: offset {offset} does not fit the log, which goes from {low} to {high} ({error.str()})",
            broker=BROKER,
            partition=str(partition),
            fix="the topic was made anew or lost its end: check it, then set a checkpoint (streamkit checkpoints set)",
        )
        return _failed(assignment, invalid)


def _failed(assignment: Assignment, error: StreamkitError, resume: StartPosition | None = None) -> Failed:
    assignment.reading = False
    assignment.broken = True
    if not isinstance(error, BrokerError):
        error = BrokerError(str(error), broker=BROKER, partition=str(assignment.partition), fix=error.fix)
    return Failed(assignment.partition, error, resume)

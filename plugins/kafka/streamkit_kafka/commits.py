"""The two calls that stores make on a consumer: commit many offsets, and read committed ones. Each partition's own error counts.

librdkafka's synchronous commit knows no timeout: with a coordinator that does not answer it blocked its thread, and every
poll behind it, for as long as we looked (100 s; librdkafka 2.14.3, a frozen broker and a killed one). Reading a committed
offset does know one, and asks the same coordinator, so it goes first: one round trip more for a bounded save. What is left is a
coordinator that dies in the millisecond between the two: then the thread waits until it, or its successor, is back.
"""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamkit.errors import CheckpointError, StoreUnavailableError
from streamkit_kafka.consumer import Key
from streamkit_kafka.errors import store_error, translated, translation

__all__ = ["commit", "read_committed"]


def commit(consumer: Consumer, targets: list[TopicPartition], timeout_seconds: float) -> list[Exception | None]:
    """One synchronous request for all of them; one answer for each, None when the coordinator has it.

    Raises StoreUnavailableError or StoreThrottledError when none was written and all may be tried again.
    """
    _check_coordinator(consumer, targets[0], timeout_seconds)
    try:
        # The targets are named: a commit without arguments would send what an earlier assignment left behind (#700).
        written = consumer.commit(offsets=targets, asynchronous=False)
    except (KafkaException, RuntimeError) as error:
        # The client raises when every partition has failed, with the code of the last.
        known = translation(error, "committing", reading=store_error)
        if isinstance(known, StoreUnavailableError):
            raise known from error
        return [known] * len(targets)
    answers = {(p.topic, p.partition): p.error for p in written}
    return [_answer(target, answers) for target in targets]


def _check_coordinator(consumer: Consumer, target: TopicPartition, timeout_seconds: float) -> None:
    try:
        consumer.committed([TopicPartition(target.topic, target.partition)], timeout=timeout_seconds)
    except (KafkaException, RuntimeError) as error:
        known = translation(error, "looking for the group's coordinator", reading=store_error)
        if isinstance(known, StoreUnavailableError):
            raise known from error
        # It answers; what it minds, the commit will say of each partition.


def _answer(target: TopicPartition, answers: dict[Key, KafkaError | None]) -> Exception | None:
    key = (target.topic, target.partition)
    if key not in answers:
        return StoreUnavailableError(f"Kafka did not say whether {key[0]}/{key[1]} was committed")
    error = answers[key]
    return None if error is None else store_error(error, "committing", f"{key[0]}/{key[1]}")


def read_committed(consumer: Consumer, keys: Sequence[Key], timeout_seconds: float) -> list[TopicPartition]:
    """The committed offsets, in the same order; an offset below 0 without an error is the proof that there is none.

    Raises StoreUnavailableError if any of them is in doubt.
    """
    with translated("reading committed offsets", reading=store_error):
        found = consumer.committed([TopicPartition(*key) for key in keys], timeout=timeout_seconds)
    by_key = {(p.topic, p.partition): p for p in found}
    for key in keys:
        answer = by_key.get(key)
        if answer is None:
            raise StoreUnavailableError(f"Kafka did not say where {key[0]}/{key[1]} stands")
        if answer.error is not None:
            known = store_error(answer.error, "reading the committed offset", f"{key[0]}/{key[1]}")
            raise known if isinstance(known, StoreUnavailableError) else CheckpointError(str(known), fix=known.fix)
    return [by_key[key] for key in keys]

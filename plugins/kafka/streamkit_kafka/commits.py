"""Commits offsets and finds out what became of them, in bounded time; and reads committed ones. Used by both stores.

librdkafka's synchronous commit knows no timeout. With a coordinator that was frozen, killed, or just back from that, it blocked
its thread and every poll behind it for as long as we looked (100 s; confluent-kafka 2.16.1). So offsets are sent without
waiting and then read back, which does know a timeout and asks the same coordinator over the same connection, one request
after the other: about 1 ms more than a synchronous commit. The client's own report comes with a later poll; it tells why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streamkit.errors import StoreNotReadyError, StoreUnavailableError
from streamkit_kafka.consumer import Key
from streamkit_kafka.errors import store_error, translated

__all__ = ["Commits", "read_committed", "read_each"]

_PATIENCE_SECONDS = 0.1
_PAUSE_SECONDS = 0.01


class Commits:
    """Single-threaded, like the consumer that it commits through. `on_commit` is that consumer's callback."""

    def __init__(self, timeout_seconds: float, monotonic: Callable[[], float]) -> None:
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._under_way: dict[Key, tuple[int, float]] = {}
        """Sent and neither confirmed nor reported yet: its offset, and when it is given up for lost."""
        self._refused: dict[Key, KafkaError] = {}
        self._unreported: Counter[Key] = Counter()
        """How many commits of it the client has not reported on."""

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """The client's report, inside a poll; must not raise there."""
        for partition in partitions:
            key = (partition.topic, partition.partition)
            if self._unreported[key] > 0:
                self._unreported[key] -= 1
            refusal = partition.error or error
            if refusal is None:
                self._refused.pop(key, None)
            else:
                self._refused[key] = refusal
            if self._under_way.get(key, (None, 0.0))[0] == partition.offset:
                del self._under_way[key]

    def write(
        self, consumer: Consumer, targets: Sequence[TopicPartition], *, last_chance: bool = False, serves: bool = False
    ) -> list[Exception | None]:
        """One answer for each, None when the coordinator has it.

        An earlier commit of a partition that is still under way could overtake this one, so this one is not sent, except at
        the `last_chance`. `serves`: the consumer may be polled for reports, because it is nobody's member.
        Raises StoreUnavailableError when nothing is known of any of them; all may be tried again.
        """
        self.send(consumer, targets, last_chance=last_chance)
        return self.confirm(consumer, targets, serves=serves)

    def send(self, consumer: Consumer, targets: Sequence[TopicPartition], *, last_chance: bool = False) -> frozenset[Key]:
        """The first half of `write`: those that have been sent."""
        now = self._monotonic()
        free = [t for t in targets if last_chance or self._under_way.get((t.topic, t.partition), (0, now))[1] <= now]
        if free:
            for target in free:
                self._refused.pop((target.topic, target.partition), None)
                self._under_way[target.topic, target.partition] = (target.offset, now + 2 * self._timeout_seconds)
            with translated("committing", reading=store_error):
                # The targets are named: a commit without arguments would send what an earlier assignment left behind (#700).
                consumer.commit(offsets=free, asynchronous=True)
        sent = frozenset((target.topic, target.partition) for target in free)
        self._unreported.update(sent)
        return sent

    def reported(self, sent: frozenset[Key], targets: Sequence[TopicPartition]) -> list[Exception | None] | None:
        """One answer for each target, if the client has told by now what became of all of them; None if it has not, or one was not sent.

        Not before it has reported on every earlier commit of a partition as well: which one a report is about is not in it.
        """
        keys = [(target.topic, target.partition) for target in targets]
        if any(key not in sent or self._unreported[key] for key in keys):
            return None
        return [self._answer(key) if key in self._refused else None for key in keys]

    def confirm(self, consumer: Consumer, targets: Sequence[TopicPartition], *, serves: bool = False) -> list[Exception | None]:
        """The second half of `write`: asks the coordinator what it has."""
        waiting = {(t.topic, t.partition): t for t in targets}
        self._confirm(consumer, waiting, serves)
        return [self._answer(key) if (key := (t.topic, t.partition)) in waiting else None for t in targets]

    def _confirm(self, consumer: Consumer, waiting: dict[Key, TopicPartition], serves: bool) -> None:
        """Takes out of `waiting` what is found committed."""
        until = self._monotonic() + _PATIENCE_SECONDS
        while True:
            for found in self._read_back(consumer, list(waiting)):
                key = (found.topic, found.partition)
                if found.offset == waiting[key].offset and (found.metadata or "") == (waiting[key].metadata or ""):
                    del waiting[key]
                    self._under_way.pop(key, None)
            if serves:
                consumer.poll(0)
            if not waiting or self._monotonic() > until or waiting.keys() <= self._refused.keys():
                return
            time.sleep(_PAUSE_SECONDS)

    def _read_back(self, consumer: Consumer, keys: Sequence[Key]) -> list[TopicPartition]:
        try:
            return read_committed(consumer, keys, self._timeout_seconds)
        except StoreNotReadyError:  # the group rebalances
            return []

    def _answer(self, key: Key) -> Exception:
        refusal = self._refused.get(key)
        if refusal is not None:
            return store_error(refusal, "committing", f"{key[0]}/{key[1]}")
        return StoreNotReadyError(f"Kafka has not confirmed the checkpoint of {key[0]}/{key[1]} yet: the group may be rebalancing")


def read_committed(consumer: Consumer, keys: Sequence[Key], timeout_seconds: float) -> list[TopicPartition]:
    """The committed offsets, in the same order; an offset below 0 without an error is the proof that there is none.

    Raises StoreUnavailableError or StoreNotReadyError if any of them is in doubt.
    """
    found = []
    for answer in read_each(consumer, keys, timeout_seconds):
        if isinstance(answer, Exception):
            raise answer
        found.append(answer)
    return found


def read_each(consumer: Consumer, keys: Sequence[Key], timeout_seconds: float) -> list[TopicPartition | Exception]:
    """The same, with an answer in doubt as an error of its own. Raises if there is no answer at all."""
    with translated("reading committed offsets", reading=store_error):
        found = consumer.committed([TopicPartition(*key) for key in keys], timeout=timeout_seconds)
    by_key = {(p.topic, p.partition): p for p in found}
    answers: list[TopicPartition | Exception] = []
    for key in keys:
        answer = by_key.get(key)
        if answer is None:
            answers.append(StoreUnavailableError(f"Kafka did not say where {key[0]}/{key[1]} stands"))
        elif answer.error is not None:
            answers.append(store_error(answer.error, "reading the committed offset", f"{key[0]}/{key[1]}"))
        else:
            answers.append(answer)
    return answers

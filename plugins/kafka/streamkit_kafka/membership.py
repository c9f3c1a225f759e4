"""A member of a Kafka group, classic (cooperative-sticky) or KIP-848: what the group gives and takes becomes events.

The callbacks run inside poll, consume and close, on the reader's thread, and never raise: an exception there would discard
the batch that is being polled (measured, confluent-kafka 2.16.1). What goes wrong in them is raised by the next poll.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar

from confluent_kafka import Consumer, TopicPartition

from streamkit.errors import BrokerUnavailableError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import AdapterContext, Assigned, Budget, Event, Lost, Membership, Revoked
from streamkit_kafka.client import Config
from streamkit_kafka.commit_format import generation_of
from streamkit_kafka.consumer import ConsumerCore, Key, key_of
from streamkit_kafka.errors import BROKER, translated
from streamkit_kafka.group_offsets import GroupOffsets
from streamkit_kafka.message_errors import MessageErrors
from streamkit_kafka.settings import KafkaSettings
from streamkit_kafka.streams import is_pattern, subscription

__all__ = ["KafkaMembership"]


class KafkaMembership(Membership):
    """Made by `KafkaBroker.join`; joins with its first poll."""

    blocking: ClassVar[bool] = True

    def __init__(
        self,
        settings: KafkaSettings,
        context: AdapterContext,
        config: Config,
        streams: Sequence[str],
        serve: Callable[[Revoked], None],
        name: Callable[[str, int], Partition],
    ) -> None:
        """`config` is librdkafka's; `name` gives the Partition of a topic and a number."""
        only_topic = streams[0] if len(streams) == 1 and not is_pattern(streams[0]) else None
        self._core = ConsumerCore(config, context, only_topic=only_topic, grouped=True)
        self._core.explain = MessageErrors(self._core, settings.on_expired).explain
        self._subscription = subscription(streams, settings.group_protocol)
        self._revoke_seconds = settings.revoke_seconds
        self._serve = serve
        self._name = name
        self._subscribed = False
        self._closing = False
        self.checkpoints = GroupOffsets(self._core, streams, name)

    async def add(self, partition: Partition, start: StartPosition, *, written: datetime | None = None, epoch: int = 0) -> None:
        assignment = self._core.assignments.get(key_of(partition))
        if assignment is None:  # librdkafka would assign it all the same, and read what another member owns
            text = f"{partition} cannot be read: the group has taken it back"
            raise BrokerUnavailableError(text, broker=BROKER, partition=str(partition))
        assignment.partition = partition
        self._core.begin(assignment, start)

    async def remove(self, partitions: Sequence[Partition]) -> None:
        self._core.stop(partitions)

    async def pause(self, partitions: Sequence[Partition]) -> None:
        self._core.hold(partitions, True)

    async def resume(self, partitions: Sequence[Partition]) -> None:
        self._core.hold(partitions, False)

    async def poll(self, budget: Budget) -> Sequence[Event]:
        if not self._subscribed:
            with translated("subscribing"):
                self._core.consumer.subscribe(
                    self._subscription, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
                )
            self._subscribed = True
        return self._core.poll(budget)

    async def leave(self) -> None:
        """As the contract says. `serve` is not called any more: everything was removed, or the time is up."""
        self._closing = True
        self._core.close()

    async def close(self) -> None:
        self._closing = True
        self._core.close()

    # -- callbacks ----------------------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            keys = [(p.topic, p.partition) for p in partitions]
            stale = [self._core.assignments[key].partition for key in keys if key in self._core.assignments]
            if stale:  # a loss that librdkafka has swallowed (#5604): whoever held the old assignment must hear of it
                self._core.disown(keys)
                self._core.notices.append(Lost(tuple(stale)))
            owned = tuple(self._core.own(self._name(*key)).partition for key in keys)
            if owned:
                self._core.notices.append(Assigned(owned, generation_of(consumer.consumer_group_metadata())))
        except BaseException as error:
            self._core.fail(error, "taking partitions")
        finally:
            # Answers the group without reading anything yet: where to begin is not known before they are claimed.
            self._answer(consumer.incremental_assign, [])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Still ours until this returns: the engine drains and saves in `serve`, on this very thread."""
        keys = self._owned(partitions)
        self._core.leaving = frozenset(keys)
        revoked = self._told(keys)
        try:
            # Who leaves has drained already, or has no time left.
            if revoked and not self._closing:
                self._serve(Revoked(revoked, self._revoke_seconds))
        except BaseException as error:
            self._core.fail(error, "giving back partitions")
            self._core.notices.append(Lost(revoked))
        finally:
            self._give_up(consumer, partitions, keys)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        keys = self._owned(partitions)
        lost = self._told(keys)
        if lost:
            self._core.notices.append(Lost(lost))
        self._give_up(consumer, partitions, keys)

    def _owned(self, partitions: list[TopicPartition]) -> list[Key]:
        return [key for p in partitions if (key := (p.topic, p.partition)) in self._core.assignments]

    def _told(self, keys: list[Key]) -> tuple[Partition, ...]:
        """Those of `keys` that the engine has heard of. An assignment that still waits to be returned by this poll is taken
        back instead: else the engine would hear of the end first and of the beginning after it."""
        gone = {self._core.assignments[key].partition for key in keys}
        kept: list[Event] = []
        untold: set[Partition] = set()
        for notice in self._core.notices:
            if isinstance(notice, Assigned):
                untold.update(gone.intersection(notice.partitions))
                still = tuple(partition for partition in notice.partitions if partition not in gone)
                kept += [Assigned(still, notice.epoch)] if still else []
            else:
                kept.append(notice)
        self._core.notices[:] = kept
        return tuple(p for key in keys if (p := self._core.assignments[key].partition) not in untold)

    def _give_up(self, consumer: Consumer, partitions: list[TopicPartition], keys: list[Key]) -> None:
        self._core.disown(keys)
        self._core.leaving = frozenset()
        try:
            # Of those that were never assigned locally, unassigning raises and the rebalance would hang for ever.
            local = {(p.topic, p.partition) for p in consumer.assignment()}
        except BaseException as error:
            self._core.fail(error, "giving back partitions")
            local = set()
        self._answer(consumer.incremental_unassign, [p for p in partitions if (p.topic, p.partition) in local])

    def _answer(self, call: Callable[[list[TopicPartition]], None], partitions: list[TopicPartition]) -> None:
        try:
            call([TopicPartition(p.topic, p.partition) for p in partitions])
        except BaseException as error:
            self._core.fail(error, "answering the group")

"""Kafka's committed offsets as a store of its own: for static ownership, and for people (`streamkit checkpoints`).

No membership stands behind it, so nothing is fenced: the coordinator takes a commit from anyone while the group is empty,
and refuses every one while the group has members. Members have a store that is fenced: `group_offsets.py`.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

from streamkit.errors import BrokerUnavailableError, CheckpointError, FencedError, StoreNotReadyError, StoreUnavailableError, StreamkitError
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import Adapter, AdapterContext, CheckpointStore, Claim, Grant
from streamkit_kafka.client import ErrorWatch, consumer_config, new_consumer
from streamkit_kafka.cluster import Cluster
from streamkit_kafka.commit_format import METADATA_CHARACTERS, checkpoint_of, commit_of
from streamkit_kafka.commits import Commits, read_committed
from streamkit_kafka.consumer import Key, key_of
from streamkit_kafka.errors import store_error
from streamkit_kafka.settings import KafkaSettings

__all__ = ["KafkaOffsets"]

_STOP_FIRST = "stop the group's workers first: Kafka changes the offsets of an empty group only"


class KafkaOffsets(Adapter[KafkaSettings], CheckpointStore):
    """Offsets of `STREAMKIT_GROUP`. A grant is nothing here: `capabilities.fencing` is off."""

    capabilities = Capabilities(scope="cluster", metadata_characters=METADATA_CHARACTERS)

    def __init__(self, settings: KafkaSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._clients: tuple[Cluster, Consumer] | None = None
        self._commits = Commits(settings.request_seconds, context.monotonic)

    @property
    def _cluster(self) -> Cluster:
        assert self._clients is not None, "open() comes first"
        return self._clients[0]

    @property
    def _consumer(self) -> Consumer:
        assert self._clients is not None, "open() comes first"
        return self._clients[1]

    async def open(self) -> None:
        self._clients = await self.blocking(self._connect)

    def _connect(self) -> tuple[Cluster, Consumer]:
        cluster = Cluster(self.settings, self.context)
        try:
            cluster.connect()
        except BrokerUnavailableError as error:
            raise StoreUnavailableError(str(error), fix=error.fix) from error
        return cluster, new_consumer(
            consumer_config(self.settings, self.context.worker, self.context.group), ErrorWatch(), self._commits.on_commit
        )

    async def close(self) -> None:
        if self._clients is not None:
            _, consumer = self._clients
            self._clients = None
            await self.blocking(consumer.close)

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        [found] = await self.blocking(self._read, [key_of(partition)])
        return Claim(checkpoint_of(partition, found, owner), Grant(None), 0)

    def _read(self, keys: Sequence[Key]) -> builtins.list[TopicPartition]:
        return read_committed(self._consumer, keys, self.settings.request_seconds)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        return await self.blocking(self._save, checkpoints)

    def _save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> builtins.list[Grant | Exception]:
        answers: builtins.list[Grant | Exception] = [grant for _, grant in checkpoints]
        targets: dict[int, TopicPartition] = {}
        for number, (checkpoint, _) in enumerate(checkpoints):
            try:
                targets[number] = commit_of(checkpoint)
            except StreamkitError as error:
                answers[number] = error
        if targets:
            for number, problem in zip(targets, self._commits.write(self._consumer, [*targets.values()], serves=True), strict=True):
                if problem is not None:
                    answers[number] = problem
        return answers

    async def list(self) -> Sequence[Checkpoint]:
        """Of every topic that the group has ever committed to."""
        found = await self.blocking(self._cluster.committed, self.context.group)
        checkpoints = []
        for each in found:
            if each.error is not None:
                raise store_error(each.error, "reading the committed offset", f"{each.topic}/{each.partition}")
            checkpoint = checkpoint_of(Partition(each.topic, str(each.partition)), each)
            if checkpoint is not None:
                checkpoints.append(checkpoint)
        return sorted(checkpoints, key=lambda checkpoint: key_of(checkpoint.partition))

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        """Raises `StoreNotReadyError` while the group has members."""
        target = commit_of(checkpoint)
        try:
            await self.blocking(self._cluster.alter, self.context.group, target)
        except FencedError as error:
            members = await self.members()
            raise StoreNotReadyError(f"group {self.context.group!r} has {members} members", fix=_STOP_FIRST) from error

    async def delete(self, partitions: Sequence[Partition]) -> None:
        """Kafka's client can only forget all offsets of a group at once, so anything less is refused."""
        known = {key_of(checkpoint.partition) for checkpoint in await self.list()}
        wanted = {key_of(partition) for partition in partitions} & known
        if not wanted:
            return
        if wanted != known:
            fix = "kafka-consumer-groups.sh --delete-offsets can; or set those checkpoints to earliest instead"
            raise CheckpointError(f"the client cannot delete {len(wanted)} of the group's {len(known)} offsets alone", fix=fix)
        if members := await self.members():
            raise StoreNotReadyError(f"group {self.context.group!r} has {members} members", fix=_STOP_FIRST)
        await self.blocking(self._cluster.delete_group, self.context.group)

    async def members(self) -> int:
        """How many live members the group has: whether an operator may change anything."""
        return await self.blocking(self._cluster.members, self.context.group)

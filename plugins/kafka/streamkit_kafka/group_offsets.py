"""A member's own store: Kafka's committed offsets, fenced by the assignments that this member has had.

The coordinator checks the member's generation, but lets a live member commit any partition, and lets anyone commit to an
empty group. So a save must show the serial of the assignment that claimed it, and nothing is ever sent for a partition
that was revoked, lost, or lost and given again. Runs on the reader's thread, also inside a revoke.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence

from confluent_kafka import TopicPartition

from streamkit.errors import FencedError, StoreNotReadyError, StoreUnavailableError, StreamkitError
from streamkit.model import Capabilities, Checkpoint, Partition
from streamkit.plugin import BegunSave, Claim, Grant, PolledStore
from streamkit_kafka.commit_format import METADATA_CHARACTERS, checkpoint_of, commit_of, generation_of
from streamkit_kafka.commits import Commits, read_committed, read_each
from streamkit_kafka.consumer import ConsumerCore, Key, key_of
from streamkit_kafka.errors import store_error, translated
from streamkit_kafka.streams import matches

__all__ = ["GroupOffsets"]

_PATIENCE_SECONDS = 1.0
"""How long the client's report is waited for while polls bring records; then the coordinator is asked."""
_FRESH_SECONDS = 1.0
_SINGLY_SECONDS = 30.0
_SETTLED = "stop the group's workers first: only an empty group's offsets can be changed from outside"


class _Sent(BegunSave):
    """What has been refused at once, and what has been sent."""

    def __init__(self, checkpoints: Sequence[tuple[Checkpoint, Grant]], until: float) -> None:
        super().__init__()
        self.until = until
        self.refusals: list[Exception | None] = []
        """One for each checkpoint."""
        self.targets: list[TopicPartition] = []
        self.sent: frozenset[Key] = frozenset()
        self._numbers: list[int] = []
        self._grants = [grant for _, grant in checkpoints]

    def accept(self, number: int, target: TopicPartition) -> None:
        self._numbers.append(number)
        self.targets.append(target)

    def settle(self, outcomes: Sequence[Exception | None]) -> None:
        """`outcomes`: one for each target."""
        errors = list(self.refusals)
        for number, outcome in zip(self._numbers, outcomes, strict=True):
            errors[number] = outcome
        self.answers = [grant if error is None else error for error, grant in zip(errors, self._grants, strict=True)]


class GroupOffsets(PolledStore):
    """`Membership.checkpoints`. A grant is the serial of one assignment of one partition."""

    capabilities = Capabilities(fencing=True, scope="cluster", metadata_characters=METADATA_CHARACTERS)

    def __init__(self, core: ConsumerCore, streams: Sequence[str], name: Callable[[str, int], Partition]) -> None:
        self._core = core
        self._streams = streams
        self._name = name
        self._commits = Commits(core.request_seconds, core.monotonic)
        self._singly_until = float("-inf")
        core.on_commit = self._commits.on_commit

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        """As the contract says; `FencedError` if the group has taken the partition back meanwhile."""
        assignment = self._core.assignments.get(key_of(partition))
        if assignment is None:
            raise FencedError(f"{partition} cannot be claimed: the group has taken it back", held=epoch)
        generation = self.generation()
        if assignment.committed is None or self._core.monotonic() - assignment.looked_up > _FRESH_SECONDS:
            self._look_up(key_of(partition))
        found, assignment.committed, assignment.is_claimed = assignment.committed, None, True
        assert found is not None
        if isinstance(found, Exception):
            raise found
        return Claim(checkpoint_of(partition, found, owner, generation), Grant(assignment.serial), generation)

    def _look_up(self, mine: Key) -> None:
        """What is committed of it, and of all others that have not been claimed yet: a group gives hundreds at once.

        It is good for a moment only: who has lost a partition may not have heard of it yet. An answer in doubt is that of its partition
        alone. If there is none at all, perhaps because of one of them, each is asked for by itself for a while.
        """
        now, assignments = self._core.monotonic(), self._core.assignments
        keys = [mine]
        if now >= self._singly_until:
            keys += [key for key, one in assignments.items() if not one.is_claimed and key != mine]
        try:
            answers = read_each(self._core.consumer, keys, self._core.request_seconds)
        except StreamkitError:
            self._singly_until = self._core.monotonic() + _SINGLY_SECONDS
            raise
        for key, answer in zip(keys, answers, strict=True):
            assignments[key].committed, assignments[key].looked_up = answer, now

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        begun = self._begun(checkpoints)
        begun.settle(self._commits.confirm(self._core.consumer, begun.targets) if begun.targets else [])
        assert begun.answers is not None
        return begun.answers

    async def begin_save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> BegunSave:
        begun = self._begun(checkpoints)
        await self.look(begun)
        return begun

    async def look(self, begun: BegunSave) -> None:
        """The client's report comes with a poll that is busy anyway. Where none is to be expected soon, the coordinator is asked."""
        assert isinstance(begun, _Sent)
        outcomes = self._commits.reported(begun.sent, begun.targets)
        if outcomes is None and (not self._core.is_busy or self._core.leaving or self._core.monotonic() > begun.until):
            outcomes = self._commits.confirm(self._core.consumer, begun.targets)
        if outcomes is not None:
            begun.settle(outcomes)

    def _begun(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> _Sent:
        begun = _Sent(checkpoints, self._core.monotonic() + _PATIENCE_SECONDS)
        for number, (checkpoint, grant) in enumerate(checkpoints):
            refusal: StreamkitError | None = self._refusal(checkpoint, grant)
            if refusal is None:
                try:
                    begun.accept(number, commit_of(checkpoint))
                except StreamkitError as error:
                    refusal = error
            begun.refusals.append(refusal)
        if begun.targets:
            begun.sent = self._commits.send(self._core.consumer, begun.targets, last_chance=bool(self._core.leaving))
        return begun

    def _refusal(self, checkpoint: Checkpoint, grant: Grant) -> FencedError | None:
        assignment = self._core.assignments.get(key_of(checkpoint.partition))
        if assignment is not None and Grant(assignment.serial) == grant:
            return None
        how = "the group has taken it back" if assignment is None else "it was lost and has been assigned anew since"
        text = f"{checkpoint.partition}: {how}, so its checkpoint {checkpoint.at} is not saved"
        return FencedError(text, held=checkpoint.epoch, current=self.generation())

    async def list(self) -> Sequence[Checkpoint]:
        keys = self._all_keys()
        found = self._committed(keys) if keys else []
        checkpoints = (checkpoint_of(self._name(each.topic, each.partition), each) for each in found)
        return [checkpoint for checkpoint in checkpoints if checkpoint is not None]

    async def overwrite(self, checkpoint: Checkpoint) -> None:
        raise StoreNotReadyError(f"{checkpoint.partition}: this worker is a member of the group", fix=_SETTLED)

    async def delete(self, partitions: Sequence[Partition]) -> None:
        raise StoreNotReadyError("this worker is a member of the group", fix=_SETTLED)

    def generation(self) -> int:
        return generation_of(self._core.consumer.consumer_group_metadata())

    def _all_keys(self) -> builtins.list[Key]:
        with translated("reading metadata", reading=store_error):
            topics = self._core.consumer.list_topics(timeout=self._core.request_seconds).topics
        chosen = [name for name in topics if any(matches(stream, name) for stream in self._streams)]
        if not chosen:
            raise StoreUnavailableError(f"Kafka's metadata has no topic of {', '.join(self._streams)}")
        return [(name, number) for name in sorted(chosen) for number in sorted(topics[name].partitions)]

    def _committed(self, keys: Sequence[Key]) -> builtins.list[TopicPartition]:
        return read_committed(self._core.consumer, keys, self._core.request_seconds)

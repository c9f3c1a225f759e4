"""Calling a store from the control thread: each store lives on the I/O loop, or on its reader's thread."""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from streamkit.engine.reading import Reading
from streamkit.engine.runtime import Carrier
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import CheckpointStore, Claim, Grant, PolledStore

__all__ = ["IoStoreCalls", "MirroredStoreCalls", "ReaderStoreCalls"]


class IoStoreCalls:
    """A store of its own (memory, file, sqlite, …), on the I/O loop."""

    def __init__(self, store: CheckpointStore, io: Carrier) -> None:
        self._store = store
        self._io = io

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]:
        return self._io.call("claim", self._store.claim(partition, owner, epoch))

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]:
        return self._io.call("save", self._store.save(checkpoints))

    def list(self) -> Awaitable[Sequence[Checkpoint]]:
        return self._io.call("list", self._store.list())

    def requests(self) -> Awaitable[Mapping[Partition, str]]:
        return self._io.call("requests", self._store.requests())

    def answered(self, partition: Partition, request: str) -> Awaitable[None]:
        return self._io.call("answered", self._store.answered(partition, request))


class ReaderStoreCalls:
    """The group's own store: its calls are made on the reader's thread, between polls and inside revoke callbacks."""

    def __init__(self, store: CheckpointStore, reading: Reading) -> None:
        self._store = store
        self._reading = reading

    def claim(self, partition: Partition, owner: str, epoch: int) -> Awaitable[Claim]:
        return self._reading.call(lambda: self._store.claim(partition, owner, epoch))

    def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Awaitable[Sequence[Grant | Exception]]:
        if isinstance(self._store, PolledStore):
            return self._save_between_polls(self._store, checkpoints)
        return self._reading.call(lambda: self._store.save(checkpoints))

    async def _save_between_polls(self, store: PolledStore, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        """Nobody else must be kept waiting for the answers. The store bounds how long that may take."""
        begun = await self._reading.call(lambda: store.begin_save(checkpoints))
        while begun.answers is None:
            await self._reading.call(lambda: store.look(begun))
        return begun.answers

    def list(self) -> Awaitable[Sequence[Checkpoint]]:
        return self._reading.call(lambda: self._store.list())

    def requests(self) -> Awaitable[Mapping[Partition, str]]:
        return self._reading.call(lambda: self._store.requests())

    def answered(self, partition: Partition, request: str) -> Awaitable[None]:
        return self._reading.call(lambda: self._store.answered(partition, request))


class MirroredStoreCalls:
    """Checkpoints in a store of their own, and in the group's too: lag tools go on to work, and a lost store is noticed.

    The store decides. What the group's own does with the copy changes nothing; it is reported, once while it lasts.
    """

    def __init__(
        self, store: IoStoreCalls, mirror: ReaderStoreCalls, name: str, control: Carrier, report: Callable[[str, BaseException], None]
    ) -> None:
        self._store = store
        self._mirror = mirror
        self._name = name
        self._control = control
        self._report = report
        self._is_failing = False
        self._is_copying = False
        self._uncopied: dict[Partition, tuple[Checkpoint, Grant]] = {}

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        """Raises ConfigurationError if the group has gone further than a store that knows of nothing: it is another host's, or gone."""
        copied = await self._mirror.claim(partition, owner, epoch)
        claim = await self._store.claim(partition, owner, epoch)
        if claim.checkpoint is None and copied.checkpoint is not None:
            raise ConfigurationError(
                f"{self._name} has no checkpoint of {partition}, but the group has committed {copied.checkpoint.at}",
                setting="STREAMKIT_STORE",
                fix="use the store that holds the checkpoints (a file of one host cannot serve a group on several), "
                "or say where to go on: streamkit checkpoints set",
            )
        return Claim(claim.checkpoint, _both(claim.grant, copied.grant), claim.epoch, claim.fruitless)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        """The first checkpoint of a partition is copied before it is answered: «absent here, committed there» hangs on it."""
        pairs = [(checkpoint, *_each(grant)) for checkpoint, grant in checkpoints]
        answers = await self._store.save([(checkpoint, grant) for checkpoint, grant, _ in pairs])
        result: builtins.list[Grant | Exception] = []
        firsts: builtins.list[tuple[int, Checkpoint, Grant]] = []
        for number, ((checkpoint, _, copy), answer) in enumerate(zip(pairs, answers, strict=True)):
            if isinstance(answer, Exception):
                result.append(answer)
                continue
            result.append(_both(answer, copy))
            if checkpoint.at.position is None or checkpoint.at.is_end:
                continue
            # Positions are copied, nothing that only the next owner needs: Kafka's offsets could not hold it.
            checkpoint = replace(checkpoint, pending=None, pending_state=b"", suspect=None, suspected=0, parked={})
            if checkpoint.at.kind == "at":
                firsts.append((number, checkpoint, copy))
            else:
                self._uncopied[checkpoint.partition] = (checkpoint, copy)
        if firsts:
            refusals = await self._copy_firsts([(checkpoint, copy) for _, checkpoint, copy in firsts])
            for (number, _, _), refusal in zip(firsts, refusals, strict=True):
                result[number] = refusal or result[number]
        self._copy_soon()
        return result

    async def _copy_firsts(self, written: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Exception | None]:
        try:
            answers = await self._mirror.save(written)
        except Exception as error:  # of these alone: the others of this save are where they belong
            return [error] * len(written)
        return [answer if isinstance(answer, Exception) else None for answer in answers]

    def _copy_soon(self) -> None:
        """One copy at a time, of the newest of each partition; nobody waits for it."""
        if self._uncopied and not self._is_copying:
            self._is_copying = True
            newest, self._uncopied = self._uncopied, {}
            self._control.spawn("copy-checkpoints", self._copy(builtins.list(newest.values())), self._copied)

    async def _copy(self, written: Sequence[tuple[Checkpoint, Grant]]) -> None:
        for answer in await self._mirror.save(written):
            if isinstance(answer, Exception):
                raise answer

    def _copied(self, error: BaseException | None) -> None:
        self._is_copying = False
        if error is not None and not self._is_failing:
            self._report("copying checkpoints to the group", error)
        self._is_failing = error is not None
        self._copy_soon()

    def list(self) -> Awaitable[Sequence[Checkpoint]]:
        return self._store.list()

    def requests(self) -> Awaitable[Mapping[Partition, str]]:
        return self._store.requests()

    def answered(self, partition: Partition, request: str) -> Awaitable[None]:
        return self._store.answered(partition, request)


def _both(grant: Grant, copy: Grant) -> Grant:
    return Grant((grant, copy))


def _each(grant: Grant) -> tuple[Grant, Grant]:
    assert isinstance(grant, tuple)
    return grant[0], grant[1]

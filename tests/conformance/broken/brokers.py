"""Brokers, memberships and producers that break one rule each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from streamkit.builtin.memory import MemoryBroker, MemoryProducer, MemoryStore
from streamkit.builtin.memory.membership import MemoryMembership
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.errors import StreamGoneError, UnsupportedError
from streamkit.model import Partition, Position, StartPosition
from streamkit.plugin import Assigned, Budget, Claim, Event, Grant, Idle, Lost, Membership, NewRecord, Reader, Revoked, fencing
from tests.conformance.broken.readers import IgnoresRemove

__all__ = [
    "AcknowledgesBeforeWriting",
    "AnswersTogether",
    "AssignsToEverybody",
    "ChangesIncarnation",
    "ClampsBeyondTheTip",
    "CutsDiscovery",
    "DealsOutAtOnce",
    "DeclaresNoGroup",
    "DeclaresNoTime",
    "ForgetsToLeave",
    "GoesOnAtInsteadOfAfter",
    "GroupWithoutFence",
    "KeepsLatest",
    "KeepsRevoked",
    "KeyWins",
    "LatestBehindNothing",
    "LeaksAThread",
    "ListsTwice",
    "LosesHeaders",
    "MemberIgnoresPause",
    "NeverSaysLost",
    "NotClosableUnopened",
    "OfGroup",
    "PatternOfNothing",
    "ReaderIs",
    "ReadsAtOnce",
    "RefusesTime",
    "StaticWithoutReader",
    "SwallowsForNobody",
    "TimeIsEarliest",
    "TipsReversed",
    "UnknownIsEmpty",
    "WritesInReverse",
]


class ReaderIs(MemoryBroker):
    """With a reader of another class."""

    kind: type[MemoryReader] = MemoryReader

    def reader(self) -> Reader:
        return self.kind(self._log, self.context)


class LeaksAThread(MemoryBroker):
    async def open(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


class NotClosableUnopened(MemoryBroker):
    connection: list[str] | None = None

    async def open(self) -> None:
        self.connection = ["open"]

    async def close(self) -> None:
        assert self.connection is not None, "close before open"


class CutsDiscovery(MemoryBroker):
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        return (await super().discover(streams, start))[:2]


class ChangesIncarnation(MemoryBroker):
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        self.times = getattr(self, "times", 0) + 1
        return [replace(partition, incarnation=str(self.times)) for partition in await super().discover(streams, start)]


class UnknownIsEmpty(MemoryBroker):
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        try:
            return await super().discover(streams, start)
        except StreamGoneError:
            return []


class ListsTwice(MemoryBroker):
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        listings = [await MemoryBroker.discover(self, [stream], start) for stream in streams]
        return [partition for listing in listings for partition in listing]


class PatternOfNothing(MemoryBroker):
    async def discover(self, streams: Sequence[str], start: StartPosition) -> Sequence[Partition]:
        names = [stream for stream in streams if not stream.startswith("^")]
        return await super().discover(names, start)


class DeclaresNoGroup(MemoryBroker):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.capabilities = replace(self.capabilities, group=False)


class StaticWithoutReader(MemoryBroker):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.capabilities = replace(self.capabilities, static=False)


class DeclaresNoTime(MemoryBroker):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.capabilities = replace(self.capabilities, start_time=False)


class RefusesTime(DeclaresNoTime):
    """The sound twin of one that does not declare times: it has none."""

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        if start.kind == "time":
            raise UnsupportedError("no times here")
        return await super().resolve(partition, start)


class ClampsBeyondTheTip(MemoryBroker):
    """A position beyond the tip becomes the tip, without a word."""

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        (tip,) = await self.tips([partition])
        beyond = tip is not None and start.position is not None and start.position > tip
        return StartPosition.after(tip) if beyond and tip is not None else await super().resolve(partition, start)


class TipsReversed(MemoryBroker):
    async def tips(self, partitions: Sequence[Partition]) -> Sequence[Position | None]:
        return list(reversed(await super().tips(partitions)))


class KeepsLatest(MemoryBroker):
    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        return start if start.kind == "latest" else await super().resolve(partition, start)


class LatestBehindNothing(MemoryBroker):
    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        if start.kind != "latest":
            return await super().resolve(partition, start)
        (tip,) = await self.tips([partition])
        return StartPosition.after(tip or Position(0))


class TimeIsEarliest(MemoryBroker):
    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        return StartPosition.EARLIEST if start.kind == "time" else await super().resolve(partition, start)


# -- groups ----------------------------------------------------------------------------------------------------------------


class OfGroup(MemoryBroker):
    """With members of another class."""

    member: type[MemoryMembership] = MemoryMembership

    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> Membership:
        return self.member(self._log, self.settings, self.context, streams, group)


class KeepsRevoked(MemoryMembership):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reader = IgnoresRemove(self._log, self._context)


class AssignsToEverybody(MemoryMembership):
    async def poll(self, budget: Budget) -> Sequence[Event]:
        events = [event for event in await super().poll(budget) if not isinstance(event, Revoked | Lost | Assigned)]
        all_of_them = tuple(p for p in self._partitions() if p.stream == self._subscriber.streams[0] and p not in self._held)
        self._held.update(all_of_them)
        return [Assigned(all_of_them), *events] if all_of_them else events or [Idle(0.01)]


class ForgetsToLeave(MemoryMembership):
    async def leave(self) -> None:
        """Nothing: the session will run out."""


class NeverSaysLost(MemoryMembership):
    async def poll(self, budget: Budget) -> Sequence[Event]:
        return [event for event in await super().poll(budget) if not isinstance(event, Lost)] or [Idle(0.01)]


class DealsOutAtOnce(MemoryMembership):
    """What is asked back is the next one's, whether or not its owner has done with it."""

    async def poll(self, budget: Budget) -> Sequence[Event]:
        events = await super().poll(budget)
        for event in events:
            if isinstance(event, Revoked):
                event.done()
        return events


class ReadsAtOnce(MemoryMembership):
    """Begins at the oldest record, and is told better later."""

    async def poll(self, budget: Budget) -> Sequence[Event]:
        events = await super().poll(budget)
        for event in events:
            if isinstance(event, Assigned):
                for partition in event.partitions:
                    await self.add(partition, StartPosition.EARLIEST)
        return events


class MemberIgnoresPause(MemoryMembership):
    async def pause(self, partitions: Sequence[Partition]) -> None:
        """Nothing."""


class _At(MemoryStore):
    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        claim = await super().claim(partition, owner, epoch)
        found = claim.checkpoint
        return claim if found is None else replace(claim, checkpoint=replace(found, at=replace(found.at, kind="at")))


class _Unfenced(MemoryStore):
    def _save(self, checkpoint: Any, grant: Grant) -> Grant:
        with self._log.lock:
            row = self._row(checkpoint.partition) or fencing.Row()
            self._rows[checkpoint.partition.stream, checkpoint.partition.id] = replace(row, checkpoint=checkpoint)
        return grant


class GoesOnAtInsteadOfAfter(MemoryMembership):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.checkpoints = _At(self._settings, self._context, group=arguments[-1])


class GroupWithoutFence(MemoryMembership):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.checkpoints = _Unfenced(self._settings, self._context, group=arguments[-1])


# -- producers -------------------------------------------------------------------------------------------------------------


class AcknowledgesBeforeWriting(MemoryProducer):
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        await super().send(stream, records[:-1])
        return [None] * len(records)


class WritesInReverse(MemoryProducer):
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        return list(reversed(await super().send(stream, list(reversed(records)))))


class AnswersTogether(MemoryProducer):
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        answers = await super().send(stream, records)
        error = next((answer for answer in answers if answer is not None), None)
        return [error] * len(answers)


class LosesHeaders(MemoryProducer):
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        return await super().send(stream, [NewRecord(one.value, one.key, partition=one.partition) for one in records])


class KeyWins(MemoryProducer):
    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        return await super().send(stream, [NewRecord(one.value, one.key, one.headers) for one in records])


class SwallowsForNobody(MemoryProducer):
    """A stream that is not there takes everything."""

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        answers = await super().send(stream, records)
        return [None if isinstance(answer, StreamGoneError) else answer for answer in answers]

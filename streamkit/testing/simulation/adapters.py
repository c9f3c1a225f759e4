"""The memory plugin as the simulated workers see it: slow, sometimes deaf, and watched by the ledger."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from streamkit.builtin.memory import MemoryBroker, MemoryProducer, MemorySettings, MemoryStore
from streamkit.builtin.memory.coordinator import Coordinator
from streamkit.builtin.memory.faults import Operation
from streamkit.builtin.memory.membership import MemoryMembership
from streamkit.builtin.memory.reader import MemoryReader
from streamkit.errors import StreamkitError
from streamkit.model import Batch, Checkpoint, Lease, Partition
from streamkit.plugin import AdapterContext, Budget, Claim, Event, Grant, Membership, NewRecord, Reader, Revoked
from streamkit.plugin.fencing import Row
from streamkit.testing.simulation.ledger import Ledger
from streamkit.testing.simulation.trouble import Trouble

__all__ = ["Outside", "SimulatedBroker", "SimulatedStore", "SimulatedTarget", "WatchedCoordinator"]

T = TypeVar("T")


class _Dice(Protocol):
    def random(self) -> float: ...


@dataclass(slots=True)
class Outside:
    """What all workers of a life have in common outside of themselves."""

    ledger: Ledger
    trouble: Trouble
    dice: _Dice
    given_up: set[tuple[str, Partition]]
    """Who has been given up without knowing it: for them two owners at once are no crime."""
    lease_seconds: float = 0.0
    is_slow: bool = True


class SimulatedStore(MemoryStore):
    """Takes its time, so that what is decided is always a little out of date."""

    def __init__(self, settings: MemorySettings, context: AdapterContext, outside: Outside, *, group: str | None = None) -> None:
        super().__init__(settings, context, group=group)
        self._outside = outside
        self._late: set[asyncio.Task[None]] = set()

    async def _strike(self, operation: Operation) -> None:
        if self._outside.is_slow:
            chance = self._outside.dice.random
            await asyncio.sleep(0.2 + 0.4 * chance() if chance() < 0.02 else chance() * 0.02)
        await super()._strike(operation)

    async def _told(self, operation: str, tell: Callable[[], Awaitable[T]]) -> T:
        """Sometimes twice: at once, and the second answer counts; or much later, and nobody hears it."""
        answer = await tell()
        after = self._outside.trouble.repeats(operation, self.context.worker)
        if after is None:
            return answer
        if not after:
            return await tell()
        self._late.add(task := asyncio.get_running_loop().create_task(self._again(after, tell)))
        task.add_done_callback(self._late.discard)
        return answer

    async def _again(self, seconds: float, tell: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(StreamkitError):  # an answer that nobody waits for
            await tell()

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        tell = super().claim
        return await self._told("claim", lambda: tell(partition, owner, epoch))

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        tell = super().save
        return await self._told("save", lambda: tell(checkpoints))

    def _save(self, checkpoint: Checkpoint, grant: Grant) -> Grant:
        row = self._row(checkpoint.partition)
        answer = super()._save(checkpoint, grant)
        self._check_owner("saved", checkpoint.partition, grant, row)
        return answer

    def _renew(self, partition: Partition, grant: Grant) -> Grant:
        row = self._row(partition)
        answer = super()._renew(partition, grant)
        self._check_owner("renewed", partition, grant, row)
        return answer

    def _release(self, partition: Partition, grant: Grant) -> None:
        row = self._row(partition)
        super()._release(partition, grant)
        self._check_owner("released", partition, grant, row)

    def _check_owner(self, verb: str, partition: Partition, grant: Grant, row: Row | None) -> None:
        """The store has accepted it: `row` is as it was before."""
        if row is None or grant != Grant(row.epoch) or not row.owner:
            current = None if row is None else row.epoch
            message = f"{self.context.worker} has {verb} {partition} with epoch {grant}, but {current} is the owner's"
            self._outside.ledger.fail("one owner", message)

    async def create(self, leases: Sequence[Lease]) -> None:
        tell = super().create
        await self._told("create", lambda: tell(leases))

    async def take(self, leases: Sequence[Lease], owner: str) -> Sequence[Claim | Exception]:
        tell = super().take
        return await self._told("take", lambda: tell(leases, owner))

    def _take(self, lease: Lease, owner: str) -> Claim:
        ledger = self._outside.ledger
        silent = self.context.monotonic() - ledger.signs.get(lease.partition.id, 0.0)
        claim = super()._take(lease, owner)
        if lease.owner not in ("", owner) and lease.handover_to != owner and silent < self._outside.lease_seconds:
            ledger.fail("one owner", f"{owner} has taken {lease.partition} from {lease.owner}, which gave a sign of life {silent:.2f}s ago")
        if lease.owner and lease.handover_to == owner:  # its owner lives and has not answered: it delivers until it finds out
            ledger.counts["forced"] += 1
            self._outside.given_up.add((f"{lease.owner.partition('#')[0]}-", lease.partition))
        return claim

    async def renew(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Grant | Exception]:
        tell = super().renew
        return await self._told("renew", lambda: tell(held))

    async def request_handover(self, lease: Lease, to: str) -> bool:
        tell = super().request_handover
        return await self._told("request_handover", lambda: tell(lease, to))

    async def release(self, held: Sequence[tuple[Partition, Grant]]) -> Sequence[Exception | None]:
        tell = super().release
        return await self._told("release", lambda: tell(held))

    async def name_children(self, partition: Partition, grant: Grant, children: Sequence[str]) -> Grant:
        tell = super().name_children
        return await self._told("name_children", lambda: tell(partition, grant, children))

    async def remove(self, leases: Sequence[Lease]) -> None:
        tell = super().remove
        await self._told("remove", lambda: tell(leases))


class SimulatedBroker(MemoryBroker):
    """Its readers deliver a batch twice now and then; a group's own checkpoints are watched."""

    def __init__(self, settings: MemorySettings, context: AdapterContext, outside: Outside) -> None:
        super().__init__(settings, context)
        self._outside = outside

    def reader(self) -> Reader:
        reader = _Reader(self._log, self.context)
        reader.trouble = self._outside.trouble
        return reader

    def join(self, streams: Sequence[str], group: str, serve: Callable[[Revoked], None]) -> Membership:
        membership = _Membership(self._log, self.settings, self.context, streams, group)
        membership.trouble = self._outside.trouble
        membership.checkpoints = SimulatedStore(self.settings, self.context, self._outside, group=group)
        return membership


class _Reader(MemoryReader):
    trouble: Trouble

    async def poll(self, budget: Budget) -> Sequence[Event]:
        return _twice(await super().poll(budget), self.trouble, self._context.worker)


class _Membership(MemoryMembership):
    trouble: Trouble

    async def poll(self, budget: Budget) -> Sequence[Event]:
        return _twice(await super().poll(budget), self.trouble, self._context.worker)


def _twice(events: Sequence[Event], trouble: Trouble, worker: str) -> Sequence[Event]:
    if not any(isinstance(event, Batch) for event in events) or trouble.repeats("poll", worker) is None:
        return events
    return [event for one in events for event in ((one, one) if isinstance(one, Batch) else (one,))]


class SimulatedTarget(MemoryProducer):
    """Dead letters."""

    def __init__(self, settings: MemorySettings, context: AdapterContext, outside: Outside) -> None:
        super().__init__(settings, context)
        self._outside = outside

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        await asyncio.sleep(self._outside.dice.random() * 0.05)
        answers = await super().send(stream, records)
        await self._outside.trouble.strike("send_after_write", self.context.worker)
        return answers


class WatchedCoordinator(Coordinator):
    """Knows which members the group has given up without their knowledge."""

    def __init__(self, given_up: set[tuple[str, Partition]]) -> None:
        super().__init__()
        self._given_up = given_up

    def _expire(self, now: float) -> None:
        for member, expires in self._expires.items():
            if expires <= now:
                self._given_up.update((member, p) for p, owner in self._owner.items() if owner == member)
        self._given_up.update((self._owner[p], p) for p, (_, deadline) in self._revoking.items() if deadline <= now and p in self._owner)
        super()._expire(now)

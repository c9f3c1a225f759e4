"""A member of a broker's group as the engine drives it, at its plainest: claim, resolve, add; collect; remove and save when revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from streamkit.errors import BrokerError, CheckpointError, FencedError
from streamkit.model import Batch, Checkpoint, Partition, Position, StartPosition
from streamkit.plugin import Assigned, Broker, CheckpointStore, Claim, Event, Grant, GroupBroker, Lost, Revoked
from streamkit.testing.conformance.aside import drive
from streamkit.testing.conformance.broker_bench import BrokerBench
from streamkit.testing.conformance.lane import BUDGET, Lane

__all__ = ["Member", "joined", "settle"]


class Member:
    """Made by `joined`. Everything is called from the rule's loop; `_serve` from inside a poll."""

    def __init__(self, bench: BrokerBench, broker: Broker[Any], stream: str, group: str, worker: str, *, adds: bool) -> None:
        assert isinstance(broker, GroupBroker), f"{type(broker).__name__} declares group and is no GroupBroker"
        self.worker = worker
        self.drain_seconds = 0.0
        """How long it takes to give something back."""
        self.owned: dict[Partition, Grant | None] = {}
        """What it was given and has not had taken away; the grant is None where the group has no store of its own."""
        self.old: dict[Partition, Grant | None] = {}
        """The grants of what it owned before."""
        self.starts: dict[Partition, StartPosition] = {}
        """Where it began, when it last did."""
        self.found: dict[Partition, Checkpoint | None] = {}
        """What its last claim found."""
        self.done: dict[Partition, Position] = {}
        """The newest position that has come, of each."""
        self.revoked: list[Revoked] = []
        self.lost: list[Lost] = []
        self.stray: list[Batch] = []
        """Batches of partitions that were not its own when they came."""
        self.refused: list[Exception] = []
        """What was answered when it saved what it gave back."""
        self.given_at: dict[Partition, float] = {}
        """When it was told that a partition is its own, by a monotonic clock."""
        self.given_back_at: dict[Partition, float] = {}
        """When it had saved what it was asked to give back, by the same clock."""
        self._adds = adds
        self._bench = bench
        self._broker = broker
        self.membership = broker.join([stream], group, self._serve)
        self.lane = Lane(self.membership, worker, bench.kit.patience_seconds)
        self._left = False

    @property
    def store(self) -> CheckpointStore:
        """The group's own."""
        assert self.membership.checkpoints is not None
        return self.membership.checkpoints

    async def poll(self) -> None:
        for event in await self.lane.poll(BUDGET):
            await self._take(event)

    async def _take(self, event: Event) -> None:
        if isinstance(event, Assigned):
            for partition in event.partitions:
                await self._begin(partition)
        elif isinstance(event, Revoked):
            self.revoked.append(event)
            await asyncio.sleep(self.drain_seconds)
            await self.lane.run(self._give_back(event.partitions))
            event.done()
        elif isinstance(event, Lost):
            self.lost.append(event)
            self._forget(event.partitions)
        elif isinstance(event, Batch):
            if event.partition not in self.owned:
                self.stray.append(event)
            self.done[event.partition] = event.last

    async def _begin(self, partition: Partition) -> None:
        self.given_at[partition] = time.monotonic()
        try:
            claim = await self._claim(partition)
            self.owned[partition] = claim.grant if claim is not None else None
            self.found[partition] = claim.checkpoint if claim is not None else None
            known = self.found[partition]
            start = known.at if known is not None else await self._bench.resolved(partition, StartPosition.EARLIEST)
            self.starts[partition] = start
            if self._adds:
                await self.lane.add(partition, start)
        except FencedError:
            self._forget([partition])  # the group has taken it back meanwhile
        except BrokerError:
            if partition in self.owned:
                raise

    async def _claim(self, partition: Partition) -> Claim | None:
        if self.membership.checkpoints is None:
            return None
        deadline = time.monotonic() + self._bench.kit.patience_seconds
        while True:
            try:
                return await self.lane.run(self.store.claim(partition, self.worker, 0))
            except (FencedError, AssertionError):
                raise
            except CheckpointError:  # not ready, or unavailable for now
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    def _serve(self, revoked: Revoked) -> None:
        self.revoked.append(revoked)
        time.sleep(self.drain_seconds)
        drive(self._give_back(revoked.partitions))

    async def _give_back(self, partitions: Sequence[Partition]) -> None:
        await self.membership.remove(partitions)
        answers = await self.save(partitions)
        self.refused += [answer for answer in answers if isinstance(answer, Exception)]
        self.given_back_at.update(dict.fromkeys(partitions, time.monotonic()))
        self._forget(partitions)

    async def save(self, partitions: Sequence[Partition], metadata: str = "") -> Sequence[Grant | Exception]:
        """Save how far it has come in these, on the member's own thread: go through `lane.run`."""
        many = [
            (checkpoint, grant) for p in partitions if (grant := self.owned.get(p)) is not None and (checkpoint := self.at(p, metadata))
        ]
        return await self.store.save(many) if many else []

    def at(self, partition: Partition, metadata: str = "") -> Checkpoint | None:
        if partition not in self.done:
            return None
        return Checkpoint(partition, StartPosition.after(self.done[partition]), metadata=metadata, owner=self.worker)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            if partition in self.owned:
                self.old[partition] = self.owned.pop(partition)

    async def leave(self) -> None:
        """As a drain does: everything is removed and saved, then the member leaves and is closed."""
        if not self._left:
            self._left = True
            await self.lane.run(self._give_back(list(self.owned)))
            await self.lane.run(self.membership.leave())
            await self.lane.close()

    def values(self) -> set[bytes | None]:
        """Everything that has come to this member."""
        return {value for batch in self.lane.batches() for value in batch.values()}


async def joined(bench: BrokerBench, stream: str, group: str, worker: str, *, adds: bool = True) -> Member:
    """A new member with a broker of its own, as another process would have one; it leaves when the rule has ended. What it is given it
    adds, or leaves that to the rule."""
    broker = await bench.opened(bench.context(group=group, worker=worker, streams=[stream]))
    await bench.patiently(lambda: broker.discover([stream], StartPosition.EARLIEST))
    member = Member(bench, broker, stream, group, worker, adds=adds)
    bench.at_end(member.leave)
    return member


async def settle(condition: Callable[[], object], what: str, *members: Member) -> None:
    """Poll all of these beside one another, each at its own pace, until `condition()` holds. Raises AssertionError."""
    deadline = time.monotonic() + members[0].lane.patience_seconds

    async def polls(member: Member) -> None:
        while not condition():
            state = {one.worker: sorted(p.id for p in one.owned) for one in members}
            assert time.monotonic() < deadline, f"{what}: not within {members[0].lane.patience_seconds:g} s; who owns what: {state}"
            await member.poll()
            await asyncio.sleep(0)  # a poll that found something has not let the others have a turn

    polling = [asyncio.ensure_future(polls(member)) for member in members]
    try:
        await asyncio.gather(*polling)
    finally:
        for one in polling:
            one.cancel()

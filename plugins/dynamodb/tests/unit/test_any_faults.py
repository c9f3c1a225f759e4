"""Any order of writes by two workers, the KCL and an operator, with calls that are lost, carried out without an answer, or carried out
much later: what was granted is in the row, nothing of it goes back, and nobody is told to own what is another's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from streamkit_dynamodb.settings import DynamoDBSettings
from streamkit_dynamodb.store import DynamoDBStore

from plugins.dynamodb.tests.service import Service, lost
from plugins.dynamodb.tests.unit.two_stores import ARN, SHARD
from streamkit.errors import CheckpointError, FencedError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant
from tests.conformance.context import PlainContext

WEIGHTS = {"take": 4, "list": 1, "save": 8, "renew": 2, "children": 1, "release": 1, "late": 2, "kcl": 1, "set": 1}
PART = Partition("s", SHARD, incarnation=f"{ARN}@1700000000")


class Flaky:
    """A client whose writes may be lost, or answered by nothing although they are carried out, now or later; `meddle` happens between."""

    def __init__(self, service: Service, chance: random.Random, late: list[Callable[[], object]], meddle: Callable[[], None]) -> None:
        self._service = service
        self._chance = chance
        self._late = late
        self._meddle = meddle

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def batch_execute_statement(self, **request: Any) -> Any:
        fate = self._chance.random()
        self._meddle()
        if fate < 0.15:
            self._late.append(lambda: self._service.batch_execute_statement(**request))
            raise lost()
        answer = self._service.batch_execute_statement(**request)
        self._meddle()
        if fate < 0.3:
            raise lost()
        return answer


@dataclass
class Worker:
    name: str
    store: DynamoDBStore
    claim: Claim | None = None
    """What it believes to hold, until it is fenced."""
    at: int = 0
    listed: list[Lease] = field(default_factory=list)


class World:
    """One row, and all that write it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.service = Service()
        self.late: list[Callable[[], object]] = []
        self.workers = [self._worker("a"), self._worker("b"), self._worker("a")]
        """Two of them are processes with one name."""
        self.durable = 0
        """Up to where somebody was told that it is saved."""
        self.done: list[str] = []
        self.is_meddled = False
        """The KCL has written the row since this step began."""

    def _worker(self, name: str) -> Worker:
        context = PlainContext(broker="kinesis", worker=name)
        context.streams = ("s",)
        client = Flaky(self.service, self.chance, self.late, self._meddle)
        seconds = "1s" if self.chance.random() < 0.5 else "0s"
        store = DynamoDBStore(DynamoDBSettings(table="leases", retry_timeout=seconds), context, lambda settings, table: client)
        return Worker(name, store)

    @property
    def item(self) -> dict[str, Any]:
        return self.service.items[SHARD]

    @property
    def place(self) -> int:
        name = str(self.item["checkpoint"]["S"])
        return int(name) if name.isdigit() else 0

    async def run(self, steps: int) -> None:
        for worker in self.workers:
            await worker.store.open()
            parts = worker.store._parts
            assert parts is not None
            parts._reading._retries._pause = lambda seconds: None
        self.service.items.clear()
        while SHARD not in self.service.items:
            try:
                await self.workers[0].store.create([Lease(PART, checkpoint=Checkpoint(PART, StartPosition.EARLIEST))])
            except CheckpointError:
                continue
        self.late.clear()
        for _ in range(steps):
            await self._step()
            assert self.place >= self.durable, self.done[-12:]
        for worker in self.workers:
            await worker.store.close()

    async def _step(self) -> None:
        kind = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        worker = self.chance.choice(self.workers)
        self.done.append(f"{kind} {worker.name}")
        self.is_meddled = False
        try:
            await getattr(self, f"_{kind}")(worker)
        except CheckpointError as error:
            self.done.append(type(error).__name__)
            if isinstance(error, FencedError):
                worker.claim = None

    async def _list(self, worker: Worker) -> None:
        worker.listed = list(await worker.store.leases())

    async def _take(self, worker: Worker) -> None:
        if worker.claim is not None and self.chance.random() < 0.8:
            return
        if not worker.listed or self.chance.random() < 0.8:
            await self._list(worker)
        (claim,) = await worker.store.take(worker.listed, worker.name)
        if isinstance(claim, Exception):
            raise claim
        worker.claim = claim
        self._owns(worker)
        position = claim.checkpoint.at.position if claim.checkpoint is not None else None
        worker.at = position.sequence or 0 if position is not None else 0
        assert worker.at == self.place >= self.durable, "who takes it goes on where it stands"

    async def _save(self, worker: Worker) -> None:
        if worker.claim is None:
            return
        worker.at += 1
        pending = Position(worker.at + 1) if self.chance.random() < 0.5 else None
        checkpoint = Checkpoint(PART, StartPosition.after(Position(worker.at)), owner=worker.name, pending=pending)
        self._granted(worker, (await worker.store.save([(checkpoint, worker.claim.grant)]))[0])
        assert self.place == worker.at
        assert self.item["streamkitCheckpoint"]["S"] == checkpoint.to_text()
        assert ("pendingCheckpoint" in self.item) == (pending is not None), self.done[-12:]
        self.durable = worker.at

    async def _renew(self, worker: Worker) -> None:
        if worker.claim is not None:
            self._granted(worker, (await worker.store.renew([(PART, worker.claim.grant)]))[0])

    async def _children(self, worker: Worker) -> None:
        if worker.claim is not None:
            names = [f"shardId-{self.chance.randrange(9)}" for _ in range(2)]
            self._granted(worker, await worker.store.name_children(PART, worker.claim.grant, names))
            assert set(self.item["childShardIds"]["SS"]) == set(names)

    async def _release(self, worker: Worker) -> None:
        if worker.claim is None:
            return
        claim, worker.claim = worker.claim, None
        (answer,) = await worker.store.release([(PART, claim.grant)])
        assert self.item.get("streamkitGrant", {}).get("S", "").split("/")[:2] != [str(claim.epoch), worker.name] or (
            "leaseOwner" not in self.item or self.item["leaseOwner"]["S"] != worker.name
        ), answer

    async def _late(self, worker: Worker) -> None:
        if self.late:
            self.late.pop(self.chance.randrange(len(self.late)))()

    async def _kcl(self, worker: Worker) -> None:
        """Takes it by force, or goes on if it has it."""
        self._kcl_writes()

    def _meddle(self) -> None:
        """While a call of a worker is under way."""
        if SHARD in self.service.items and self.chance.random() < 0.05:
            self.is_meddled = True
            self._kcl_writes(renews=True)

    def _kcl_writes(self, *, renews: bool = False) -> None:
        item = self.item
        item["leaseCounter"] = {"N": str(int(item["leaseCounter"]["N"]) + 1)}
        if item.get("leaseOwner") != {"S": "kcl"}:
            item["leaseOwner"] = {"S": "kcl"}
        elif not renews and self.chance.random() < 0.5:
            self.durable = max(self.place, self.durable) + 1
            item |= {"checkpoint": {"S": str(self.durable)}, "checkpointSubSequenceNumber": {"N": "0"}}

    async def _set(self, worker: Worker) -> None:
        if self.chance.random() < 0.7:
            return
        at = self.chance.randrange(1, self.place + 3)
        try:
            before, self.durable = self.durable, 0
            await worker.store.overwrite(Checkpoint(PART, StartPosition.after(Position(at))))
        except CheckpointError:
            self.late.clear()  # an operator sees where it stands, and tries again or not
            self.durable = min(before, self.place)
            raise
        assert self.place == at
        self.durable = at

    def _granted(self, worker: Worker, answer: Grant | Exception) -> None:
        if isinstance(answer, Exception):
            raise answer
        self._owns(worker)

    def _owns(self, worker: Worker) -> None:
        assert worker.claim is not None
        told = f"{worker.name} is told to own what is another's: {self.done[-12:]}"
        assert self.item["streamkitGrant"]["S"].startswith(f"{worker.claim.epoch}/{worker.name}/"), told
        assert self.is_meddled or self.item.get("leaseOwner") == {"S": worker.name}, told


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_what_was_granted_is_there_and_stays_there(first: int) -> None:
    for seed in range(first, first + 100):
        asyncio.run(World(seed).run(60))

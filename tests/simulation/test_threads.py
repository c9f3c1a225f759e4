"""Hand-over between real threads, which no simulation sees: the production runtime, many switches of threads, random yields.

Several workers in this process share a log and a store in memory. They join, leave and die within fractions of a second, again and
again, while records are written; the ledger's rules hold at each step.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import pytest

from streamkit.app import code_of
from streamkit.builtin.memory import MemoryBroker, MemoryLog, MemorySettings, MemoryStore
from streamkit.builtin.memory.faults import Operation
from streamkit.engine.adapter_context import EngineContext
from streamkit.engine.delivery.call import Code
from streamkit.engine.runtime import Promise, ThreadRuntime
from streamkit.engine.supervisor import Parts, Supervisor
from streamkit.model import Partition, Record
from streamkit.plugin import Observer
from streamkit.processing import Context, record_processor
from streamkit.settings import Settings
from streamkit.testing.simulation.ledger import Ledger, WatchedRows

SWITCH_SECONDS = 1e-6
ROUNDS = 25
MIN_CHANGES = 12
STREAM = "stream"
PATIENCE_SECONDS = 30.0
Ownership = Literal["group", "lease"]


@pytest.fixture(autouse=True)
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _Store(MemoryStore):
    """Gives way before and after each write."""

    dice: random.Random

    async def _strike(self, operation: Operation) -> None:
        for _ in range(self.dice.randrange(3)):
            await asyncio.sleep(0)
        await super()._strike(operation)


class _Watch(Observer):
    def __init__(self, name: str, house: _House) -> None:
        self._name, self._house = name, house

    def on_assigned(self, partition: Partition, epoch: int) -> None:
        with self._house.log.lock:
            before = self._house.owners.get(partition)
            self._house.changes += before not in (None, self._name)
            self._house.owners[partition] = self._name


class _Worker:
    """One process, as far as one can be had in a thread."""

    def __init__(self, name: str, house: _House) -> None:
        self.dead = False
        self.runtime = ThreadRuntime()
        context = EngineContext(self.runtime, "memory", broker="memory", group="group", worker=name)
        settings = MemorySettings(
            name=house.log.name,
            auto_create=False,
            session_timeout=timedelta(seconds=0.5),
            revoke_timeout=timedelta(seconds=0.5),
        )
        store = _Store(settings, context, group="group")
        store.dice = house.dice
        own = None if house.ownership == "group" else store
        broker = MemoryBroker(settings, context)
        parts = Parts(house.settings, house.code(self, name), broker, own, own, _Watch(name, house), name, house.ownership)
        self.supervisor = Supervisor(parts, self.runtime)
        self.promise: Promise[None] = self.runtime.control.call("run", self.supervisor.run())

    def end(self, *, dies: bool) -> None:
        self.dead = dies
        self.supervisor.abandon() if dies else self.supervisor.stop("shutdown")


class _House:
    def __init__(self, ownership: Ownership, kind: str, seed: int) -> None:
        self.ownership: Ownership = ownership
        self.kind = kind
        self.dice = random.Random(seed)
        self.log = MemoryLog.named(f"threads-{ownership}-{kind}-{seed}")
        self.log.create(STREAM, 4)
        self.changes = 0
        self.owners: dict[Partition, str] = {}
        by_key = kind == "by key"
        self.settings = Settings.model_validate(
            {
                "broker": "memory",
                "stream": STREAM,
                "group": "group",
                "ownership": ownership,
                "ordering": "key" if by_key else "partition",
                "concurrency": 4 if by_key else 1,
                "max_batch": 5,
                "max_in_flight": 40,
                "checkpoint_interval": "20ms",
                "lease_duration": "1s",
                "handover_timeout": "500ms",
                "drain_timeout": "5s",
            }
        )
        self.ledger = Ledger(self.log, STREAM, time.monotonic, 60, by_key=by_key)
        self.ledger.at_once = self.settings.concurrency
        self.ledger.may_not_know = lambda worker, partition: True  # a thread that was not run for long is not a wrong one
        rows = WatchedRows(self.ledger)
        self.log.rows = lambda broker, group: rows  # type: ignore[method-assign]

    def code(self, worker: _Worker, name: str) -> Code:
        """Every touch of the ledger is under the log's lock, as the store's writes are."""
        ledger, lock, dice = self.ledger, self.log.lock, self.dice

        def begins(record: Record, context: Context) -> None:
            with lock:
                if not worker.dead:
                    ledger.called(name, context, (record,))

        def ends(record: Record, context: Context) -> None:
            if dice.random() < 0.01:
                raise ValueError("now and then")
            with lock:
                if not worker.dead:
                    ledger.done(name, context, (record,))

        def over(record: Record, context: Context) -> None:
            with lock:
                ledger.over(name, context, (record,))

        @record_processor
        def handle(record: Record, context: Context) -> None:
            begins(record, context)
            try:
                for _ in range(dice.randrange(3)):
                    time.sleep(0)
                ends(record, context)
            finally:
                over(record, context)

        @record_processor
        async def handle_async(record: Record, context: Context) -> None:
            begins(record, context)
            try:
                for _ in range(dice.randrange(3)):
                    await asyncio.sleep(0)
                ends(record, context)
            finally:
                over(record, context)

        return code_of(handle_async if self.kind == "async def" else handle)

    def write(self, count: int) -> None:
        for _ in range(count):
            self.log.append(STREAM, b"x", key=b"%d" % self.dice.randrange(30), now=time.time())

    def check(self) -> None:
        if self.ledger.broken:
            raise self.ledger.broken[0]


@pytest.mark.parametrize("kind", ["def", "async def", "by key"])
@pytest.mark.parametrize("ownership", ["group", "lease"])
def test_hand_over_between_threads_breaks_no_rule(ownership: Ownership, kind: str) -> None:
    house = _House(ownership, kind, seed=random.SystemRandom().randrange(10**6))
    workers = [_Worker("w0", house)]
    everybody = list(workers)
    try:
        number, until = 0, time.monotonic() + PATIENCE_SECONDS
        while number < ROUNDS or (house.changes < MIN_CHANGES and time.monotonic() < until):
            number += 1
            house.write(20)
            time.sleep(house.dice.uniform(0.0, 0.12))
            house.check()
            if len(workers) > 1 and house.dice.random() < 0.5:
                workers.pop(house.dice.randrange(len(workers))).end(dies=house.dice.random() < 0.3)
            if len(workers) < 3:
                workers.append(_Worker(f"w{number}", house))
                everybody.append(workers[-1])
        until = time.monotonic() + PATIENCE_SECONDS
        while not all(_is_delivered(house, partition) for partition in house.log.topic(STREAM).logs):
            time.sleep(0.02)
            house.check()
            assert time.monotonic() < until, "records are left, and nobody brings them"
        for worker in workers:
            worker.end(dies=False)
        for worker in everybody:
            if not worker.dead:
                worker.promise.result(PATIENCE_SECONDS)
        house.check()
        with house.log.lock:
            house.ledger.check_nothing_lost()
        assert house.changes >= MIN_CHANGES
    finally:
        for worker in everybody:
            worker.end(dies=True)
        for worker in everybody:
            worker.runtime.stop()
        MemoryLog.forget(house.log.name)


def _is_delivered(house: _House, partition: str) -> bool:
    with house.log.lock:
        return house.ledger.is_delivered(partition)

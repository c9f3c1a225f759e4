"""The processors of a simulated world: def and async def, by record and by batch, automatic and manual, with flush. They fail sometimes.

Each is made for one worker (`Hands`), which knows the ledger and the dice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamkit.engine.delivery.call import Code
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Reject, Retry
from streamkit.processing import CheckpointFuture, Context, Processor, facts_of, processor, record_processor
from tests.simulation.ledger import Ledger

__all__ = ["KINDS", "SLOW_SECONDS", "Hands", "code_of"]

SLOW_SECONDS = 4.0
"""The longest that a call takes; a rebalance and a drain wait less."""


class Mishap(Exception):
    """What handlers raise on purpose."""


@dataclass(slots=True)
class Hands:
    """One worker's processors: dead ones do nothing any more."""

    worker: str
    ledger: Ledger
    dice: random.Random
    clumsiness: float
    """How often a call fails."""
    slowness: float
    """How often an async call takes longer than a rebalance waits."""
    dead: bool = False

    def is_dead(self) -> bool:
        return self.dead

    def fate(self, what: str = "handler") -> Outcome | None:
        """None: all well. Raises or returns what a handler may."""
        throw = self.dice.random()
        if throw >= self.clumsiness:
            return None
        self.ledger.counts[f"fault:{what}"] += 1
        if what != "handler" or throw < self.clumsiness * 0.6:
            raise Mishap(what)
        return Retry(0.02) if throw < self.clumsiness * 0.9 else Reject("no")

    async def dawdle(self) -> None:
        """Let virtual time pass: a little, or more than anybody waits."""
        slow = self.dice.random() < self.slowness
        self.ledger.counts["fault:slow"] += slow
        await asyncio.sleep(self.dice.uniform(SLOW_SECONDS / 2, SLOW_SECONDS) if slow else self.dice.random() * 0.01)

    def check_saved(self, context: Context, position: Position) -> None:
        """A checkpoint's future has resolved: then it is in the store."""
        saved = self.ledger.saved(context.partition.id)
        if saved is None or saved.kind != "after" or saved.position is None or saved.position < position:
            self.ledger.fail(f"the future of {context.partition}/{position} has resolved, but {saved} is stored")
        self.ledger.counts["futures"] += 1


def record_def(hands: Hands) -> object:
    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        hands.ledger.called(hands.worker, context, [record.position])
        if (outcome := hands.fate()) is not None:
            return outcome
        hands.ledger.done(hands.worker, context, record.position)
        return None

    return handle


def record_async(hands: Hands) -> object:
    @record_processor
    async def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        hands.ledger.called(hands.worker, context, [record.position])
        await hands.dawdle()
        if hands.is_dead():
            return None
        if (outcome := hands.fate()) is not None:
            return outcome
        hands.ledger.done(hands.worker, context, record.position)
        return None

    return handle


def batch_def(hands: Hands) -> object:
    @processor
    def handle(batch: Batch, context: Context) -> Outcome | Mapping[Record, Outcome] | None:
        if hands.is_dead():
            return None
        return _judged(hands, batch, context)

    return handle


def batch_async(hands: Hands) -> object:
    @processor
    async def handle(batch: Batch, context: Context) -> Outcome | Mapping[Record, Outcome] | None:
        if hands.is_dead():
            return None
        await hands.dawdle()
        return None if hands.is_dead() else _judged(hands, batch, context)

    return handle


def _judged(hands: Hands, batch: Batch, context: Context) -> Outcome | Mapping[Record, Outcome] | None:
    """All done; or none; or all before the first that is named."""
    records = list(batch)
    hands.ledger.called(hands.worker, context, [record.position for record in records])
    outcome = hands.fate()
    if outcome is not None and hands.dice.random() < 0.7:
        index = hands.dice.randrange(len(records))
        if index:
            hands.ledger.done(hands.worker, context, records[index - 1].position)
        others = {record: Retry() for record in records[index + 1 :] if hands.dice.random() < 0.5}
        return {**others, records[index]: outcome}
    if outcome is None:
        hands.ledger.done(hands.worker, context, batch.last)
    return outcome


def manual_def(hands: Hands) -> object:
    """Checkpoints most records itself, without waiting; sometimes in the middle of a batch that then fails."""

    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        hands.ledger.called(hands.worker, context, [record.position for record in batch])
        for record in batch:
            if (outcome := hands.fate()) is not None:
                return outcome
            if hands.dice.random() < 0.3 or record.position == batch.last:
                hands.ledger.done(hands.worker, context, record.position)
                context.checkpoint(record.position, metadata=str(record.position))
        return None

    return handle


def manual_async(hands: Hands) -> object:
    """Waits for its checkpoints now and then."""

    @record_processor(checkpoint="manual")
    async def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        hands.ledger.called(hands.worker, context, [record.position])
        await hands.dawdle()
        if hands.is_dead():
            return None
        if (outcome := hands.fate()) is not None:
            return outcome
        hands.ledger.done(hands.worker, context, record.position)
        future = context.checkpoint()
        if hands.dice.random() < 0.2:
            await future
            if not hands.is_dead():
                hands.check_saved(context, record.position)
        return None

    return handle


def flushing(hands: Hands) -> object:
    """Buffers; durable is only what was flushed."""

    class Flushing(Processor):
        def initialize(self, context: Context) -> None:
            hands.fate("initialize")

        def process(self, batch: Batch, context: Context) -> Outcome | None:
            if hands.is_dead():
                return None
            hands.ledger.called(hands.worker, context, [record.position for record in batch])
            if (outcome := hands.fate()) is not None:
                return outcome
            hands.ledger.accepted(context, batch.last)
            self.last = batch.last
            return None

        def flush(self, context: Context) -> None:
            if hands.is_dead():
                return
            hands.fate("flush")
            if (last := getattr(self, "last", None)) is not None:
                hands.ledger.note(hands.worker, "flushed", context.partition.id, last)
                hands.ledger.durable(context, last)

    return Flushing


def flushing_async(hands: Hands) -> object:
    class Flushing(Processor):
        def __init__(self) -> None:
            self.last: Position | None = None
            self.inside = ""

        async def initialize(self, context: Context) -> None:
            await hands.dawdle()
            hands.fate("initialize")

        async def process(self, batch: Batch, context: Context) -> Outcome | None:
            if hands.is_dead():
                return None
            hands.ledger.called(hands.worker, context, [record.position for record in batch])
            self.alone("process")
            try:
                await hands.dawdle()
            finally:
                self.inside = ""
            if hands.is_dead():
                return None
            if (outcome := hands.fate()) is not None:
                return outcome
            hands.ledger.accepted(context, batch.last)
            self.last = batch.last
            return None

        async def flush(self, context: Context) -> None:
            if hands.is_dead():
                return
            last = self.last
            self.alone("flush")
            try:
                await hands.dawdle()
            finally:
                self.inside = ""
            hands.fate("flush")
            if last is not None and not hands.is_dead():
                hands.ledger.note(hands.worker, "flushed", context.partition.id, last)
                hands.ledger.durable(context, last)

        def alone(self, hook: str) -> None:
            if self.inside:
                hands.ledger.fail(f"{hook} was called beside {self.inside}")
            self.inside = hook

    return Flushing


def manual_buffer(hands: Hands) -> object:
    """Collects some records, makes them durable, then checkpoints; at the end it hands in what is left."""

    class Buffer(Processor):
        checkpoint = "manual"

        def __init__(self) -> None:
            self.waiting: list[Position] = []
            self.count = 0
            self.future: CheckpointFuture | None = None

        def process(self, batch: Batch, context: Context) -> Outcome | None:
            if hands.is_dead():
                return None
            hands.ledger.called(hands.worker, context, [record.position for record in batch])
            if (outcome := hands.fate()) is not None:
                return outcome
            hands.ledger.accepted(context, batch.last)
            self.waiting.append(batch.last)
            self.count += len(batch)
            if self.count >= 4:
                self.hand_in(context)
            return None

        def hand_in(self, context: Context) -> None:
            if self.waiting and not hands.is_dead():
                hands.ledger.durable(context, self.waiting[-1])
                self.future = context.checkpoint(self.waiting[-1])
                self.waiting.clear()
                self.count = 0

        def partition_revoked(self, context: Context) -> None:
            self.hand_in(context)

        def partition_ended(self, context: Context) -> None:
            self.hand_in(context)
            context.checkpoint()

    return Buffer


KINDS: dict[str, Callable[[Hands], object]] = {
    maker.__name__: maker
    for maker in (record_def, record_async, batch_def, batch_async, manual_def, manual_async, flushing, flushing_async, manual_buffer)
}


def code_of(kind: str, hands: Hands, kinds: Mapping[str, Callable[[Hands], object]] = KINDS) -> Code:
    target = kinds[kind](hands)
    facts = facts_of(target)
    assert facts is not None
    if isinstance(target, type):
        return Code(facts, factory=target)
    return Code(facts, function=target)  # type: ignore[arg-type]

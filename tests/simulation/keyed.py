"""Worlds with order by key: handlers that run several at once, and a ledger that looks at each key by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from streamkit.builtin.memory import MemoryLog
from streamkit.engine.delivery.runner import RunnerContext
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Retry
from streamkit.processing import Context, Processor, processor, record_processor
from tests.simulation.ledger import Ledger, _Run
from tests.simulation.targets import Hands

__all__ = ["KEYED_KINDS", "KeyLedger"]


class KeyLedger(Ledger):
    """What holds with order by key: no key runs twice at once, and none of its records overtakes another, whoever owns it."""

    def __init__(self, log: MemoryLog, stream: str, now: Callable[[], float], window: int) -> None:
        super().__init__(log, stream, now, window)
        self._by_run: dict[int, set[int]] = {}
        self._at_once: dict[int, set[bytes]] = {}

    def begins(self, worker: str, context: Context, records: Sequence[Record]) -> None:
        """A handler was called with these."""
        run = self._run(worker, context)
        partition = context.partition.id
        log = self._log.topic(self._stream).log(partition).records
        keys = {record.key for record in records if record.key is not None}
        running = self._running(context)
        if keys & running:
            self.fail(f"{worker} was given {partition} {sorted(keys & running)}, and a call with that key still runs")
        running |= keys
        self.counts["beside another"] += len(running) > len(keys)
        indexes = [self._index(partition, record.position) for record in records]
        anybody = self._done.setdefault(partition, set())
        for index, record in zip(indexes, records, strict=True):
            self.note(worker, "called", partition, record.position)
            if index < run.first or index in self._mine(context):
                self.fail(f"{worker} was given {partition}/{record.position} again, which it has done")
            for before in range(index):
                if record.key is not None and log[before].key == record.key and before not in anybody and before not in indexes:
                    self.fail(f"{worker} was given {partition}/{record.position}, but {log[before].position} of its key is not done")
        if indexes != sorted(indexes):
            self.fail(f"{worker} was given {partition} {indexes}, which is not in order")
        self._delivered[partition] = max(*indexes, self._delivered.get(partition, -1))

    def ends(self, context: Context, records: Sequence[Record]) -> None:
        """That call is over."""
        self._running(context).difference_update(record.key for record in records if record.key is not None)

    def did(self, worker: str, context: Context, position: Position) -> None:
        """One record has had its effect."""
        run, partition = self._run(worker, context), context.partition.id
        index = self._index(partition, position)
        self.note(worker, "done", partition, position)
        mine, anybody = self._mine(context), self._done.setdefault(partition, set())
        mine.add(index)
        anybody.add(index)
        while run.next in mine:
            run.next += 1
        frontier = self._frontier.get(partition, 0)
        while frontier in anybody:
            frontier += 1
        self._frontier[partition] = frontier

    def _run(self, worker: str, context: Context) -> _Run:
        main = _main(context)
        return self._runs.get(id(main)) or self._begin(worker, main)

    def _mine(self, context: Context) -> set[int]:
        """What its assignment has done."""
        return self._by_run.setdefault(id(_main(context)), set())

    def _running(self, context: Context) -> set[bytes]:
        """The keys of its assignment that run."""
        return self._at_once.setdefault(id(_main(context)), set())


def _main(context: Context) -> Context:
    """That of the assignment."""
    assert isinstance(context, RunnerContext)
    return context._main


def _ledger(hands: Hands) -> KeyLedger:
    assert isinstance(hands.ledger, KeyLedger)
    return hands.ledger


def keyed_record_def(hands: Hands) -> object:
    """Waits now and then for its own checkpoint, so that others run beside it."""
    ledger = _ledger(hands)

    @record_processor
    def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        ledger.begins(hands.worker, context, [record])
        try:
            if (outcome := hands.fate()) is not None:
                return outcome
            ledger.did(hands.worker, context, record.position)
            if hands.dice.random() < 0.2:
                context.checkpoint().result(timeout=1.0)
                if not hands.is_dead():
                    hands.check_saved(context, record.position)
            return None
        finally:
            ledger.ends(context, [record])

    return handle


def keyed_record_async(hands: Hands) -> object:
    ledger = _ledger(hands)

    @record_processor
    async def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        ledger.begins(hands.worker, context, [record])
        try:
            await hands.dawdle()
            if hands.is_dead():
                return None
            if (outcome := hands.fate()) is not None:
                return outcome
            ledger.did(hands.worker, context, record.position)
            return None
        finally:
            ledger.ends(context, [record])

    return handle


def keyed_says(hands: Hands) -> object:
    """Says that its record is done before it fails: it does not come again. Sometimes it waits until that is saved."""
    ledger = _ledger(hands)

    @record_processor
    async def handle(record: Record, context: Context) -> Outcome | None:
        if hands.is_dead():
            return None
        ledger.begins(hands.worker, context, [record])
        try:
            await hands.dawdle()
            if hands.is_dead():
                return None
            ledger.did(hands.worker, context, record.position)
            future = context.checkpoint(record.position, metadata=str(record.position))
            if hands.dice.random() < 0.3:
                await future
                if not hands.is_dead():
                    hands.check_saved(context, record.position)
            return hands.fate()
        finally:
            ledger.ends(context, [record])

    return handle


def _judged(hands: Hands, records: Sequence[Record], context: Context) -> Outcome | Mapping[Record, Outcome] | None:
    """All done; or none; or all before the first that is named."""
    ledger = _ledger(hands)
    outcome = hands.fate()
    count = len(records)
    if outcome is not None:
        count = hands.dice.randrange(len(records)) if hands.dice.random() < 0.7 else -1
    for record in records[: max(0, count)]:
        ledger.did(hands.worker, context, record.position)
    if outcome is None or count < 0:
        return outcome
    others = {record: Retry() for record in records[count + 1 :] if hands.dice.random() < 0.5}
    return {**others, records[count]: outcome}


def keyed_batch_async(hands: Hands) -> object:
    ledger = _ledger(hands)

    @processor
    async def handle(batch: Batch, context: Context) -> Outcome | Mapping[Record, Outcome] | None:
        if hands.is_dead():
            return None
        records = list(batch)
        ledger.begins(hands.worker, context, records)
        try:
            await hands.dawdle()
            return None if hands.is_dead() else _judged(hands, records, context)
        finally:
            ledger.ends(context, records)

    return handle


def keyed_processor(hands: Hands) -> object:
    ledger = _ledger(hands)

    class Handling(Processor):
        reentrant = True

        def initialize(self, context: Context) -> None:
            hands.fate("initialize")

        async def process(self, batch: Batch, context: Context) -> Outcome | Mapping[Record, Outcome] | None:
            if hands.is_dead():
                return None
            records = list(batch)
            ledger.begins(hands.worker, context, records)
            try:
                await hands.dawdle()
                return None if hands.is_dead() else _judged(hands, records, context)
            finally:
                ledger.ends(context, records)

        def partition_revoked(self, context: Context) -> None:
            context.checkpoint()

    return Handling


KEYED_KINDS: dict[str, Callable[[Hands], object]] = {
    maker.__name__: maker for maker in (keyed_record_def, keyed_record_async, keyed_says, keyed_batch_async, keyed_processor)
}

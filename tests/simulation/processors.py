"""What the simulations run: def and async def, by record and by batch, automatic and manual, with flush and by key.

Plain processors, as users write them: what happens around their calls is the simulator's work.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamkit import App, Batch, Context, Processor, Record, Retry, processor, record_processor
from streamkit.model import Position
from streamkit.outcome import Outcome

__all__ = ["ALL", "BY_KEY", "KINDS", "WITH_SETTINGS"]


@record_processor
def record_def(record: Record, context: Context) -> None:
    """Nothing to do."""


@record_processor
async def record_async(record: Record, context: Context) -> None:
    """Nothing to do."""


@processor
def batch_def(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
    """Now and then one record is not done the first time: those before it are."""
    records = list(batch)
    if context.attempt == 1 and (records[0].position.sequence or 0) % 7 == 3:
        return {records[len(records) // 2]: Retry(), records[-1]: Retry()}
    return None


@processor
async def batch_async(batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
    return batch_def(batch, context)


@processor(checkpoint="manual")
def manual_def(batch: Batch, context: Context) -> None:
    """Checkpoints most records itself, without waiting; sometimes in the middle of a batch that then fails."""
    for record in batch:
        sequence = record.position.sequence or 0
        if sequence % 3 == 0 or record.position == batch.last:
            context.checkpoint(record.position, metadata=str(record.position))
        if sequence % 11 == 5 and context.attempt == 1:
            raise ValueError("once")


@record_processor(checkpoint="manual")
async def manual_async(record: Record, context: Context) -> None:
    """Waits for its checkpoints now and then."""
    future = context.checkpoint()
    if (record.position.sequence or 0) % 5 == 2:
        await future


class Flushing(Processor):
    """Buffers; only what was flushed is durable."""

    def __init__(self) -> None:
        self.waiting: list[Position] = []

    def process(self, batch: Batch, context: Context) -> None:
        self.waiting.append(batch.last)

    def flush(self, context: Context) -> None:
        self.waiting.clear()


class FlushingLater(Processor):
    async def initialize(self, context: Context) -> None:
        self.waiting: list[Position] = []

    async def process(self, batch: Batch, context: Context) -> None:
        self.waiting.append(batch.last)

    async def flush(self, context: Context) -> None:
        self.waiting.clear()


class Buffer(Processor):
    """Collects some records, makes them durable, then checkpoints; at the end it hands in what is left."""

    checkpoint = "manual"

    def __init__(self) -> None:
        self.waiting: list[Position] = []
        self.count = 0

    def process(self, batch: Batch, context: Context) -> None:
        self.waiting.append(batch.last)
        self.count += len(batch)
        if self.count >= 4:
            self.hand_in(context)

    def hand_in(self, context: Context) -> None:
        if self.waiting:
            context.checkpoint(self.waiting[-1])
            self.waiting.clear()
            self.count = 0

    def partition_revoked(self, context: Context) -> None:
        self.hand_in(context)

    def partition_ended(self, context: Context) -> None:
        self.hand_in(context)
        context.checkpoint()


@record_processor
def waits(record: Record, context: Context) -> None:
    """Waits now and then for its own checkpoint, so that others run beside it."""
    if (record.position.sequence or 0) % 5 == 2:
        context.checkpoint().result(timeout=1.0)


@record_processor
async def says(record: Record, context: Context) -> Outcome | None:
    """Says that its record is done before it fails: it does not come again. Sometimes it waits until that is saved."""
    sequence = record.position.sequence or 0
    future = context.checkpoint(record.position, metadata=str(record.position))
    if sequence % 3 == 1:
        await future
    return Retry(0.01) if sequence % 13 == 7 and context.attempt == 1 else None


class Reentrant(Processor):
    reentrant = True

    async def process(self, batch: Batch, context: Context) -> Mapping[Record, Outcome] | None:
        return batch_def(batch, context)

    def partition_revoked(self, context: Context) -> None:
        context.checkpoint()


KINDS: Mapping[str, object] = {
    "record_def": record_def,
    "record_async": record_async,
    "batch_def": batch_def,
    "batch_async": batch_async,
    "manual_def": manual_def,
    "manual_async": manual_async,
    "flushing": Flushing,
    "flushing_async": FlushingLater,
    "manual_buffer": Buffer,
}
BY_KEY: Mapping[str, object] = {
    "keyed_record_def": waits,
    "keyed_record_async": record_async,
    "keyed_says": says,
    "keyed_batch_async": batch_async,
    "keyed_processor": Reentrant,
}


class Preparing(Processor):
    """Two phases: prepared, done, committed; what an earlier owner has left open is committed first."""

    checkpoint = "manual"
    prepares = True

    async def initialize(self, context: Context) -> None:
        if context.pending is not None:
            position, state = context.pending
            await (await context.prepare_checkpoint(position, state)).commit()

    async def process(self, batch: Batch, context: Context) -> None:
        prepared = await context.prepare_checkpoint(batch.last, b"state")
        await prepared.commit()


WITH_SETTINGS: Mapping[str, App] = {
    "skipping": App(batch_def, on_failure="skip", bisect=True),
    "letters": App(record_async, on_failure="dead_letter"),
    "letters_by_key": App(waits, ordering="key", on_failure="dead_letter"),
    "parking": App(batch_def, on_failure="park"),
    "parking_by_key": App(record_async, ordering="key", on_failure="park"),
    "limited": App(record_async, process_timeout="1s"),
    "stuck": App(record_def, stuck_after="1s"),
    "preparing": App(Preparing),
}
"""What takes more than the code to say."""
ALL: Mapping[str, object] = {**KINDS, **{name: App(target, ordering="key") for name, target in BY_KEY.items()}, **WITH_SETTINGS}
"""What a long run takes in turn."""

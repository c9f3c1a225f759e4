"""Writing dead letters: one send for all, an answer for each, and an error that says which record, which target and why."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import Any

import pytest

from streamkit.builtin.memory import MemoryLog, MemoryProducer, MemorySettings
from streamkit.engine.delivery.dead_letter import DeadLetters
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.errors import BrokerError, BrokerUnavailableError, DeadLetterError, StreamGoneError
from streamkit.model import Partition, PlainRecord, Position
from streamkit.plugin import NewRecord, Producer
from streamkit.testing.virtual import EPOCH, VirtualRuntime
from tests.conformance.context import PlainContext


class Counted(MemoryProducer):
    sends = 0
    cut = False

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        self.sends += 1
        answers = await super().send(stream, records)
        return answers[1:] if self.cut else answers


class Rig:
    def __init__(self, **settings: Any) -> None:
        self.log = MemoryLog.named("letters")
        self.runtime = VirtualRuntime()
        self.producer = Counted(MemorySettings(name="letters", partitions=1, **settings), PlainContext())

    def letters(self, target: str = "memory:dlq", producer: Producer[Any] | None = None) -> DeadLetters:
        return DeadLetters(producer or self.producer, target, self.runtime, group="billing", worker="w1")

    def run(self, work: Awaitable[None]) -> None:
        self.runtime.run(work)

    def written(self, stream: str = "dlq") -> list[Letter]:
        found = [original_of(record) for p in self.log.partitions(stream) for record in self.log.topic(stream).log(p.id).records]
        assert all(isinstance(one, Letter) for one in found)
        return found  # type: ignore[return-value]


@pytest.fixture
def rig() -> Iterator[Rig]:
    MemoryLog.forget("letters")
    made = Rig()
    yield made
    made.runtime.stop()
    MemoryLog.forget("letters")


def failed(count: int = 1) -> list[FailedRecord]:
    return [FailedRecord(PlainRecord(Partition("orders", "0"), Position(n), b"%d" % n), ValueError(f"no {n}"), 5) for n in range(count)]


def test_all_are_sent_at_once_and_in_order(rig: Rig) -> None:
    rig.run(rig.letters().write(failed(50)))
    assert rig.producer.sends == 1
    assert [one.id for one in rig.written()] == [f"orders/0/{n}" for n in range(50)]
    assert {(one.group, one.worker, one.attempts, one.failed_at.timestamp()) for one in rig.written()} == {("billing", "w1", 5, EPOCH)}


def test_nothing_to_write_sends_nothing(rig: Rig) -> None:
    rig.run(rig.letters().write([]))
    assert rig.producer.sends == 0


def test_a_target_may_have_colons_in_its_name(rig: Rig) -> None:
    rig.run(rig.letters("memory:a:b").write(failed()))
    assert len(rig.written("a:b")) == 1


def test_one_answer_that_is_an_error_names_its_record_the_target_and_the_cause(rig: Rig) -> None:
    rig.log.create("dlq", 1)

    class Picky(Counted):
        async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
            return [BrokerError("too large", fix="raise max.message.bytes") if record.value == b"2" else None for record in records]

    picky = Picky(MemorySettings(name="letters"), PlainContext())
    with pytest.raises(DeadLetterError, match=r"^memory:dlq did not take the dead letter of orders/0/2: BrokerError: too large$") as caught:
        rig.run(rig.letters(producer=picky).write(failed(5)))
    error = caught.value
    assert (error.record, error.attempts, error.fix) == ("orders/0/2", 5, "raise max.message.bytes")
    assert isinstance(error.__cause__, BrokerError)


@pytest.mark.parametrize("cause", [BrokerUnavailableError("gone for lunch"), RuntimeError("a bug of the plugin")])
def test_a_send_that_raises_is_a_dead_letter_error_too(rig: Rig, cause: Exception) -> None:
    rig.log.faults.fail("send", cause)
    with pytest.raises(DeadLetterError, match=f"of orders/0/0: {type(cause).__name__}: {cause}") as caught:
        rig.run(rig.letters().write(failed(3)))
    assert caught.value.__cause__ is cause
    assert caught.value.fix
    rig.run(rig.letters().write(failed(3)))  # the same again
    assert [one.id for one in rig.written()] == ["orders/0/0", "orders/0/1", "orders/0/2"]


def test_answers_that_are_missing_are_not_taken_for_acknowledgements(rig: Rig) -> None:
    rig.producer.cut = True
    with pytest.raises(DeadLetterError, match="1 answers for 2 records"):
        rig.run(rig.letters().write(failed(2)))


def test_a_target_that_is_not_there_is_found_before_anything_fails(rig: Rig) -> None:
    producer = MemoryProducer(MemorySettings(name="letters", auto_create=False), PlainContext())
    with pytest.raises(StreamGoneError, match="dead letters cannot be written to memory:dlq: stream 'dlq' does not exist") as caught:
        rig.run(rig.letters(producer=producer).check())
    assert "STREAMKIT_DEAD_LETTER" in caught.value.fix
    rig.run(rig.letters().check())  # made by its first record


class Choosy(MemoryProducer):
    """Takes every record by itself, and one value never."""

    is_gapless = False
    refused = b""

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        answers: list[Exception | None] = []
        for record in records:
            error = BrokerError("too large", broker="memory") if record.value == self.refused else None
            answers += [error] if error is not None else await super().send(stream, [record])
        return answers


def parked(*values: bytes) -> list[FailedRecord]:
    """The first letter of a value is its key; capitals are not parked."""
    records = [PlainRecord(Partition("orders", "0"), Position(n), value, key=value[:1].lower()) for n, value in enumerate(values)]
    return [FailedRecord(one, ValueError("no"), 1, parked=f"behind {n}" if values[n].islower() else "") for n, one in enumerate(records)]


async def in_parts(letters: DeadLetters, failed: Sequence[FailedRecord]) -> None:
    for part in letters.parts(failed):
        await letters.write(part)


def test_no_letter_of_a_parked_key_is_written_after_one_that_was_not_taken(rig: Rig) -> None:
    """A replay would run it before that one."""
    producer = Choosy(MemorySettings(name="letters", partitions=1), PlainContext())
    producer.refused = b"a1"
    letters = rig.letters(producer=producer)
    with pytest.raises(DeadLetterError):
        rig.run(in_parts(letters, parked(b"a0", b"b0", b"a1", b"a2", b"A3", b"b1")))
    assert [one.value for one in rig.written() if one.key == b"a" and one.parked] == [b"a0"]
    producer.refused = b""
    rig.run(in_parts(letters, parked(b"a1", b"a2", b"a3", b"b2")))
    assert [one.value for one in rig.written() if one.key == b"a" and one.parked] == [b"a0", b"a1", b"a2", b"a3"]


def test_letters_go_together_where_the_target_leaves_no_gaps_and_where_no_key_is_parked(rig: Rig) -> None:
    producer = Choosy(MemorySettings(name="letters", partitions=1), PlainContext())
    together = parked(b"A0", b"A1", b"B0")
    assert list(rig.letters(producer=producer).parts(together)) == [together]
    assert [len(part) for part in rig.letters(producer=producer).parts(parked(b"a0", b"b0", b"a1"))] == [2, 1]
    assert [len(part) for part in rig.letters().parts(parked(b"a0", b"b0", b"a1"))] == [3]

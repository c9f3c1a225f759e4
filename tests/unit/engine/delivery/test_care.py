"""A record that kills its process is found by its dead owners: one by one, written down before, and then the policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from streamkit.engine.delivery.care import ALONE_RECORDS, FRUITLESS_CLAIMS, suspicion_of
from streamkit.engine.delivery.turn import ALONE_SECONDS
from streamkit.errors import RetriesExhaustedError, StoreUnavailableError
from streamkit.model import Batch, Partition, Position, Record
from streamkit.plugin import Assigned, Lost
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import values

P0 = Partition("stream", "0")
FOR_EVER = 10.0**9


def killing(*culprits: int) -> Callable[..., object]:
    """A handler that hangs at these, so that the test can let the process die there."""

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.position.sequence in culprits:
            await asyncio.sleep(FOR_EVER)

    return handle


def die(h: Harness) -> list[int | None]:
    """One owner, which dies after two seconds, before any checkpoint of the interval. What it was called with, in order."""
    count = len(h.seen)
    h.advance(0.01)
    h.script.events.append(Assigned((P0,), 1))
    h.advance(2.0)
    h.crash()
    return [record.position.sequence for record in h.seen[count:]]


def suspect(h: Harness) -> tuple[Position | None, int]:
    checkpoint = h.script.rows[P0].checkpoint
    assert checkpoint is not None
    return checkpoint.suspect, checkpoint.suspected


def test_the_culprit_is_found_and_goes_to_the_policy() -> None:
    with Harness(killing(5), on_failure="dead_letter", assigned=False) as h:
        h.write(*[b"%d" % n for n in range(10)])
        for _ in range(FRUITLESS_CLAIMS):
            assert die(h) == [0, 1, 2, 3, 4, 5]
            assert suspect(h) == (None, 0)
        assert die(h) == [0, 1, 2, 3, 4, 5], "alone, each with a checkpoint"
        assert h.checkpoint == 4
        assert suspect(h) == (Position(5), 1)
        assert die(h) == [5]
        assert suspect(h) == (Position(5), 2)
        h.assign()
        assert h.put_aside == [(5, "dead_letter")]
        assert values(h)[-4:] == [b"6", b"7", b"8", b"9"]
        assert h.checkpoint == 9
        letter = dict(h.dead_letters[0].headers)
        assert any(b"killed its process 2 times" in (value or b"") for value in letter.values())


def test_it_halts_the_partition_where_that_is_the_policy() -> None:
    with Harness(killing(0), assigned=False) as h:
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
        calls = len(h.calls)
        h.assign()
        assert isinstance(h.halted, RetriesExhaustedError)
        assert "record stream/0/0 killed its process 2 times" in str(h.halted)
        h.advance(400)
        assert len(h.calls) == calls, "not called again by this owner"


def test_it_stops_the_process_where_that_is_the_policy() -> None:
    with Harness(killing(0), assigned=False, on_failure="stop") as h:
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
        h.assign()
        assert not h.is_running
    assert h.exit_code == 1


def test_a_record_that_passes_clears_the_suspicion() -> None:
    culprits = [0]
    with Harness(_by_list(culprits), assigned=False) as h:
        h.write(b"a", b"b", b"c")
        for _ in range(FRUITLESS_CLAIMS + 1):
            die(h)
        assert suspect(h) == (Position(0), 1)
        culprits.clear()
        h.assign()
        assert h.checkpoint == 2
        h.revoke()
        assert suspect(h) == (None, 0)


def _by_list(culprits: list[int]) -> Callable[..., object]:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.position.sequence in culprits:
            await asyncio.sleep(FOR_EVER)

    return handle


def test_a_record_that_only_fails_is_not_taken_for_one_that_kills() -> None:
    """Its owners die while it waits for its retry, for reasons of their own."""

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        if record.position.sequence == 1:
            raise ValueError("no")

    with Harness(handle, assigned=False, retry_attempts=2, retry_backoff="0s") as h:
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        for _ in range(5):
            assert 1 in die(h), "called by each owner"
            assert suspect(h)[1] == 0
        assert h.errors


def test_owners_that_make_progress_are_no_reason_for_care() -> None:
    with Harness(killing(), checkpoint_interval="1s", assigned=False) as h:
        for number in range(FRUITLESS_CLAIMS + 2):
            h.write(b"%d" % number)
            assert die(h) == [number]
        assert all(checkpoint.suspect is None for checkpoint in h.checkpoints)


def test_what_follows_goes_on_in_batches_that_grow_to_their_size() -> None:
    sizes: list[int] = []
    culprits = [0]

    @processor
    async def handle(batch: Batch, context: Context) -> None:
        if batch.first.sequence in culprits:
            await asyncio.sleep(FOR_EVER)
        sizes.append(len(batch))

    with Harness(handle, assigned=False, max_batch=32) as h:
        h.write(*[b"x"] * 400)
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        culprits.clear()
        h.assign()
        assert sizes[:ALONE_RECORDS] == [1] * ALONE_RECORDS
        assert sizes[ALONE_RECORDS : ALONE_RECORDS + 4] == [2, 4, 8, 16]
        assert max(sizes) == 32
        assert h.checkpoint == 399
        assert suspect(h) == (None, 0)


def test_a_death_in_a_larger_batch_brings_the_care_back_at_once() -> None:
    with Harness(killing(0, 110), assigned=False, on_failure="skip", max_batch=64) as h:
        h.write(*[b"x"] * 130)
        deaths = 0
        while h.checkpoint != 129 and deaths < 20:
            die(h)
            deaths += 1
            if suspect(h)[1] == 2 and deaths > 6:
                break
        assert suspect(h) == (Position(110), 2)
        assert deaths <= FRUITLESS_CLAIMS + 2 + 4
        h.assign()
        assert h.put_aside[-1] == (110, "skip")
        assert h.checkpoint == 129


def test_the_note_is_durable_before_the_call() -> None:
    noted: list[tuple[Position, tuple[Position | None, int]]] = []

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        noted.append((record.position, suspect(h)))
        if record.position.sequence == 1:
            await asyncio.sleep(FOR_EVER)

    with Harness(handle, assigned=False) as h:
        h.script.save_seconds = 0.1
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        noted.clear()
        die(h)
        assert noted == [(Position(0), (Position(0), 1)), (Position(1), (Position(1), 1))]


def test_a_processor_that_flushes_is_flushed_after_each_record() -> None:
    flushed: list[int] = []
    culprits = [3]

    class Buffering(Processor):
        def __init__(self) -> None:
            self.buffer: list[int] = []

        async def process(self, batch: Batch, context: Context) -> None:
            if any(record.position.sequence in culprits for record in batch):
                await asyncio.sleep(FOR_EVER)
            self.buffer.extend(record.position.sequence or 0 for record in batch)

        async def flush(self, context: Context) -> None:
            flushed.extend(self.buffer)
            self.buffer.clear()

    with Harness(Buffering, assigned=False, on_failure="skip") as h:
        h.write(*[b"x"] * 6)
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
        assert h.checkpoint == 2
        h.assign()
        assert h.put_aside == [(3, "skip")]
        assert flushed == [0, 1, 2, 4, 5]
        assert h.checkpoint == 5


def test_a_manual_processor_is_not_suspected_of_what_it_has_survived() -> None:
    """Its checkpoint stands still, so earlier records come again; they do not take the place of the culprit's note."""

    class Manual(Processor):
        checkpoint = "manual"

        async def process(self, batch: Batch, context: Context) -> None:
            if any(record.position.sequence == 2 for record in batch):
                await asyncio.sleep(FOR_EVER)
            if batch.last.sequence == 5:
                context.checkpoint()

    with Harness(Manual, assigned=False, on_failure="skip") as h:
        h.write(*[b"x"] * 6)
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
        assert suspect(h) == (Position(2), 2)
        h.assign()
        assert h.put_aside == [(2, "skip")]
        assert h.checkpoint == 5


def test_a_record_that_waits_for_its_retry_when_the_partition_is_given_back_is_no_suspect() -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None:
        raise ValueError("not now")

    with Harness(handle, assigned=False, retry_attempts=9, retry_backoff="1h", retry_max_backoff="1h", seed=2) as h:
        h.write(b"a")
        for _ in range(FRUITLESS_CLAIMS + 1):
            die(h)
        assert suspect(h) == (Position(0), 0)
        h.advance(0.01)
        h.script.events.append(Assigned((P0,), 1))
        h.advance(2.0)
        h.stop()
        assert suspect(h) == (None, 0)
        assert h.errors


def test_an_end_of_the_partition_leaves_no_suspicion() -> None:
    culprits = [0]
    with Harness(_by_list(culprits), assigned=False) as h:
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS + 1):
            die(h)
        culprits.clear()
        h.end()
        assert h.checkpoint == Position.END
        assert suspect(h) == (None, 0)


def test_with_order_by_key_care_comes_first_and_then_the_keys() -> None:
    with Harness(killing(2), assigned=False, on_failure="skip", ordering="key", concurrency=4) as h:
        h.write(*[(b"%d" % n, b"key %d" % (n % 3)) for n in range(300)])
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
        assert suspect(h) == (Position(2), 2)
        h.assign()
        assert h.put_aside == [(2, "skip")]
        assert h.checkpoint == 299


def test_a_store_that_is_away_holds_up_the_careful_and_nobody_is_called_without_a_note() -> None:
    with Harness(killing(0), assigned=False) as h:
        h.write(b"a")
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        count = len(h.calls)
        h.script.fail("save", StoreUnavailableError("away"), times=100)
        assert die(h) == []
        assert len(h.calls) == count
        assert suspect(h) == (None, 0)


@pytest.mark.parametrize(
    ("fruitless", "position", "careful"), [(0, None, False), (2, None, False), (3, None, True), (0, Position(7), True)]
)
def test_when_to_be_careful(fruitless: int, position: Position | None, careful: bool) -> None:
    assert (suspicion_of(fruitless, position, 0) is not None) == careful


# -- who is not condemned --------------------------------------------------------------------------------------------

P1 = Partition("stream", "1")


def die_with_both(h: Harness, seconds: float = 2.0) -> list[tuple[str, int | None]]:
    count = len(h.seen)
    h.advance(0.01)
    h.script.events.append(Assigned((P0, P1), 1))
    h.advance(seconds)
    h.crash()
    return [(record.partition.id, record.position.sequence) for record in h.seen[count:]]


def slow_beside_a_killer(seconds: float) -> Callable[..., object]:
    @record_processor
    async def handle(record: Record, context: Context) -> None:
        await asyncio.sleep(FOR_EVER if record.partition == P0 else seconds)

    return handle


def test_of_two_suspects_only_the_one_that_was_called_alone_at_its_deaths_is_condemned() -> None:
    with Harness(slow_beside_a_killer(1.0), partitions=2, assigned=False, on_failure="dead_letter") as h:
        h.write(b"killer")
        h.write(b"innocent", b"innocent", partition="1")
        for _ in range(FRUITLESS_CLAIMS):
            die_with_both(h, 0.5)
        for _ in range(8):
            die_with_both(h)
        h.assign()
        assert [dict(letter.headers)["streamkit-id"] for letter in h.dead_letters] == [b"stream/0/0"]
        assert h.checkpoint_of("1") == 1, "the innocent ones were called, and passed"


def test_nobody_else_is_called_beside_a_suspect() -> None:
    with Harness(slow_beside_a_killer(1.0), partitions=2, assigned=False) as h:
        h.write(b"killer")
        for _ in range(FRUITLESS_CLAIMS + 1):
            die_with_both(h)
        assert suspect(h) == (Position(0), 0), "the other partition could have called something: no evidence"
        h.advance(0.01)
        h.script.events.append(Assigned((P0, P1), 1))
        h.advance(1.0)
        h.write(b"innocent", partition="1")
        count = len(h.seen)
        h.advance(ALONE_SECONDS - 2)
        assert suspect(h) == (Position(0), 1)
        assert len(h.seen) == count, "it waits"
        h.advance(4.0)
        assert suspect(h) == (Position(0), 0), "not alone any more"
        assert len(h.seen) == count + 1, "but not for ever"
        h.crash()


def giving_up(*culprits: int) -> Callable[..., object]:
    """A handler that takes long at these, and gives up when the partition is lost."""

    @record_processor
    async def handle(record: Record, context: Context) -> None:
        while record.position.sequence in culprits and not context.lost:
            await asyncio.sleep(0.1)

    return handle


def test_a_loss_is_no_evidence_and_the_note_is_taken_back() -> None:
    with Harness(giving_up(0), assigned=False, on_failure="skip") as h:
        h.write(b"slow", b"next")
        for number in range(FRUITLESS_CLAIMS + 6):
            h.advance(0.01)
            h.script.events.append(Assigned((P0,), 1))
            h.advance(2.0)
            assert suspect(h) == ((Position(0), 1) if 2 * number >= FRUITLESS_CLAIMS else (None, 0))
            h.script.events.append(Lost((P0,)))
            h.advance(1.0)
            assert suspect(h) == (None, 0)
            h.script.take(P0)  # another owner, who gets nowhere either
        assert h.put_aside == []
        h.crash()


def test_a_process_that_claims_again_is_no_further_owner() -> None:
    """The answers to its claims were lost, or it has lost the partition and got it back: nobody has died."""
    with Harness(giving_up(0), assigned=False) as h:
        h.write(b"slow")
        for _ in range(FRUITLESS_CLAIMS + 6):
            h.script.events.append(Assigned((P0,), 1))
            h.advance(1.0)
            h.script.events.append(Lost((P0,)))
            h.advance(1.0)
        assert h.script.rows[P0].fruitless_claims == 1
        assert suspect(h) == (None, 0)
        h.crash()


def test_where_it_may_have_been_a_loss_the_partition_halts_whatever_the_policy_is() -> None:
    with Harness(killing(0), assigned=False, on_failure="skip") as h:
        h.write(b"slow", b"next")
        for _ in range(FRUITLESS_CLAIMS + 2):
            die(h)
            row = h.script.rows[P0]
            assert row.checkpoint is not None
            h.script.rows[P0] = replace(row, checkpoint=replace(row.checkpoint, owner="another worker"))
        h.assign()
        assert "its owner died or lost it" in str(h.halted)
        assert h.put_aside == []
        h.crash()


def test_what_this_process_has_lost_and_not_taken_back_is_no_evidence_for_it() -> None:
    with Harness(giving_up(0), assigned=False, on_failure="skip") as h:
        h.write(b"slow", b"next")
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        for _ in range(4):
            h.advance(0.01)
            h.script.events.append(Assigned((P0,), 1))
            h.advance(2.0)
            h.script.fail("save", StoreUnavailableError("away"))
            h.script.events.append(Lost((P0,)))
            h.advance(0.5)
            h.script.failures.clear()
            assert suspect(h) == (Position(0), 1)
        assert h.put_aside == []
        h.crash()


def test_idle_partitions_that_are_given_back_in_order_make_nobody_careful() -> None:
    with Harness(killing(), assigned=False) as h:
        for _ in range(3 * FRUITLESS_CLAIMS):
            h.assign()
            h.revoke()
            h.crash()  # another process comes next
        h.assign()
        h.write(*[b"x"] * 50)
        h.settle()
        assert all(checkpoint.suspect is None for checkpoint in h.checkpoints)


def test_care_is_told_and_shown_while_it_lasts() -> None:
    with Harness(killing(1), assigned=False) as h:
        h.write(b"a", b"b")
        for _ in range(FRUITLESS_CLAIMS):
            die(h)
        h.advance(0.01)
        h.script.events.append(Assigned((P0,), 1))
        h.advance(2.0)
        assert "records are delivered one by one" in " ".join(h.problems)
        assert h._life is not None
        reason = h._life.supervisor.snapshot()[0].reason
        assert reason is not None
        assert reason.kind == "care"
        h.crash()
    with Harness(killing()) as calm:
        calm.deliver(b"a")
        assert not calm.problems

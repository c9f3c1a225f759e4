"""Manual checkpoints and MAX_IN_FLIGHT: what was submitted in the middle of a call counts, and a wait for more is shown."""

from __future__ import annotations

import pytest

from streamkit.errors import StoreUnavailableError
from streamkit.model import Batch, Position, Record
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0


@pytest.mark.parametrize("every", [3, 7])
def test_a_checkpoint_in_the_middle_of_a_call_makes_room(every: int) -> None:
    @record_processor(checkpoint="manual")
    def handle(record: Record, context: Context) -> None:
        assert record.position.sequence is not None
        if (record.position.sequence + 1) % every == 0:
            context.checkpoint()

    with Harness(handle, max_in_flight=10, max_batch=10) as h:
        h.write(*[b"x"] * 40)
        h.advance(600)
        assert len(h.seen) == 40
        assert h.checkpoint == 40 - 40 % every - 1


def test_so_does_one_of_an_earlier_record_of_a_batch() -> None:
    @processor(checkpoint="manual")
    def handle(batch: Batch, context: Context) -> None:
        context.checkpoint(list(batch)[-2 if len(batch) > 1 else 0].position)

    with Harness(handle, max_in_flight=10, max_batch=10) as h:
        h.write(*[b"x"] * 40)
        h.advance(600)
        assert len(h.seen) == 40


def test_what_is_said_again_before_it_was_written_is_one_promise() -> None:
    contexts: list[Context] = []

    class Manual(Processor):
        checkpoint = "manual"

        def process(self, batch: Batch, context: Context) -> None:
            contexts.append(context)
            context.checkpoint()

    with Harness(Manual) as h:
        h.script.fail("save", StoreUnavailableError("away"), times=50)
        h.write(b"a")
        h.advance(1)
        futures = [contexts[0].checkpoint(Position(0)) for _ in range(1000)]
        other = contexts[0].checkpoint(Position(0), metadata="m")
        again = contexts[0].checkpoint(Position(0))
        h.advance(1)
        (assignment,) = h._alive().supervisor.assignments.values()
        assert assignment._entry is not None
        assert len(assignment._entry.waiting) == 3
        h.script.failures.clear()
        h.advance(30)
        assert all(future.done() for future in (*futures, other, again))
        assert h.script.rows[P0].checkpoint is not None

"""Rules of promise 1: no record is passed that is not done."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import CLAIMING, ENTRY, FLUSHING, IN_ORDER

__all__ = ["MUTANTS"]

ONE = "tests/promise/test_promise_1_at_least_once.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a checkpoint never passes a record that is not done",
        IN_ORDER,
        "done = running.done if running is not None else 0",
        "done = len(running.batch) if running is not None else 0",
        (ONE + "test_nothing_is_saved_beyond_a_call_that_has_not_returned",),
    ),
    Mutant(
        "a checkpoint waits for flush",
        ENTRY,
        "progress = worker.flushed if worker.flushes else worker.snapshot()",
        "progress = worker.snapshot()",
        (ONE + "test_a_checkpoint_waits_for_flush",),
    ),
    Mutant(
        "a flush that failed made nothing durable",
        FLUSHING,
        '            self._life.events.hook_failed("flush", error)\n            return error\n',
        '            self._life.events.hook_failed("flush", error)\n            self.flushed = progress\n            return error\n',
        (ONE + "test_a_flush_that_fails_at_the_end_saves_nothing_new",),
    ),
    Mutant(
        "a retry delivers the record that failed",
        IN_ORDER,
        "done, rest = _split(rest, result.count)\n",
        "done, rest = _split(rest, result.count + 1)\n",
        (ONE + "test_a_record_that_fails_is_never_passed",),
    ),
    Mutant(
        "the first record of a batch that is not done ends it",
        "engine/delivery/call.py",
        "first = min(named)",
        "first = max(named)",
        (ONE + "test_the_first_record_that_is_not_done_ends_the_batch",),
    ),
    Mutant(
        "a claim in doubt is not an absent checkpoint",
        CLAIMING,
        '                await self._wait_after(f"claiming {one.partition}", error, failures)\n',
        "                claim = await self._house.store.claim(one.partition, self._house.worker_name, one.epoch)\n"
        "                return replace(claim, checkpoint=None)\n",
        (ONE + "test_a_claim_whose_answer_is_in_doubt_is_not_an_absent_checkpoint",),
    ),
)

"""Rules of promise 5: what is saved, when, and in which order; and what an outage of the store means."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, CHECKPOINTER, CLAIMING, ENTRY, IN_ORDER, INTAKE, WORKER

__all__ = ["MUTANTS"]

LINK = "engine/checkpoint/link.py"

FIVE = "tests/promise/test_promise_5_forward.py::"
PREPARED = "tests/promise/test_promise_5_prepared.py::"
OUTAGE = "tests/promise/test_promise_5_outage.py::"
CHECKPOINT = "tests/unit/engine/checkpoint/"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "all is saved before a partition is given back",
        CHECKPOINTER,
        "        entry.final = final\n        entry.settled = promise\n        self.urge(entry)\n",
        "        promise.resolve(True)\n",
        (FIVE + "test_revoked_may_checkpoint",),
    ),
    Mutant(
        "a checkpoint behind the last one is an error",
        LINK,
        "if high is not None and position <= high and (low is None or low <= position):",
        "if high is not None and position <= high:",
        (FIVE + "test_one_that_goes_back_is_a_named_error", FIVE + "test_one_behind_the_last_owners_is_a_named_error"),
    ),
    Mutant(
        "a checkpoint beyond what was delivered is an error",
        LINK,
        "if high is not None and position <= high and (low is None or low <= position):",
        "if low is None or low <= position:",
        (FIVE + "test_one_beyond_what_was_delivered_is_a_named_error",),
    ),
    Mutant(
        "the latest submission wins",
        ENTRY,
        "if self.submitted is None or self.submitted < position:",
        "if self.submitted is None or position < self.submitted:",
        (FIVE + "test_the_latest_wins",),
    ),
    Mutant(
        "an awaited checkpoint is written at once",
        CHECKPOINTER,
        '        """Write it now, not at the next interval."""\n        entry.urgent = True\n        self._signal.set()\n',
        '        """Write it now, not at the next interval."""\n',
        (FIVE + "test_an_awaited_checkpoint_is_in_the_store",),
    ),
    Mutant(
        "a save that fails does not use up the window",
        INTAKE,
        "        return self._counted\n",
        "        counted, self._counted = self._counted, self.saved_count\n        return counted\n",
        (FIVE + "test_a_failed_save_does_not_use_up_the_window",),
    ),
    Mutant(
        "a save in the middle of a batch does not use up the window",
        CHECKPOINTER,
        "            self._count(entry.worker, wanted.count)\n        self._ask_flush(entry, now)",
        "            pass\n        self._ask_flush(entry, now)",
        (FIVE + "test_a_batch_that_is_saved_from_within_its_call_does_not_use_up_the_window",),
    ),
    Mutant(
        "a retry delivers only what lies after the last checkpoint",
        IN_ORDER,
        "        if submitted is None or submitted < rest.first:\n            return 0, rest\n",
        "        return 0, rest\n",
        (FIVE + "test_a_retry_delivers_only_what_lies_after_the_last_checkpoint",),
    ),
    Mutant(
        "a prepared checkpoint moves nothing before its commit",
        LINK,
        "        prepared = self._prepared = Prepared(checked, bytes(state), self._commit)\n",
        "        prepared = self._prepared = Prepared(checked, bytes(state), self._commit)\n        self._submit(worker, checked, None)\n",
        (PREPARED + "test_a_crash_between_the_phases_loses_no_effect_and_doubles_none",),
    ),
    Mutant(
        "a commit forgets what was pending",
        LINK,
        'lambda notes: replace(notes, pending=None, pending_state=b"")',
        "lambda notes: notes",
        (PREPARED + "test_prepared_and_then_committed",),
    ),
    Mutant(
        "only what was prepared last can be committed",
        LINK,
        "        if newest is not prepared:\n",
        "        if False:\n",
        (PREPARED + "test_one_that_was_replaced_cannot_be_committed",),
    ),
    Mutant(
        "what initialize commits is not read again",
        ASSIGNMENT,
        "self.start = self.worker.context.start = StartPosition.after(committed)",
        "pass",
        (CHECKPOINT + "test_prepared.py::test_a_pending_checkpoint_can_be_committed_in_initialize_and_reading_begins_behind_it",),
    ),
    Mutant(
        "code that prepares refuses a store that keeps none",
        "assembly/parts.py",
        "    if code.facts.prepares:\n",
        "    if False:\n",
        (PREPARED + "test_a_store_that_keeps_none_refuses_to_start",),
    ),
    Mutant(
        "a save covers only what came before it began",
        ENTRY,
        "if one.number <= number and (",
        "if (",
        (CHECKPOINT + "test_prepared.py::test_a_save_that_was_under_way_is_not_the_one_that_was_asked_for",),
    ),
    Mutant(
        "an end that the store refuses is not taken for saved",
        CHECKPOINTER,
        'settled.resolve(entry.final != "end" or (entry.saved is not None and entry.saved.is_end))',
        "settled.resolve(True)",
        (CHECKPOINT + "test_end.py::test_an_end_that_the_store_refuses_is_not_taken_for_saved",),
    ),
    Mutant(
        "END waits for what must come before it",
        CHECKPOINTER,
        "entry.before_end is None or entry.end_is_prepared:",
        "True:",
        (CHECKPOINT + "test_end.py::test_the_end_waits_for_what_must_come_before_it_even_when_somebody_waits_for_it",),
    ),
    Mutant(
        "the end of manual code waits for its last record",
        CHECKPOINTER,
        "(last is not None and (entry.submitted is None or entry.submitted < last))",
        "False",
        (CHECKPOINT + "test_end.py::test_the_end_of_a_manual_function_waits_for_its_last_record_and_health_says_so",),
    ),
    Mutant(
        "an outage is told once",
        "engine/checkpoint/outage.py",
        "if not was_failing and failed:",
        "if failed:",
        (OUTAGE + "test_a_store_that_is_down_for_a_minute_loses_nothing_and_is_told_once",),
    ),
    Mutant(
        "an outage is told once for each partition",
        CHECKPOINTER,
        "        if entry.failures == 1:\n            self._observer.on_checkpoint_failed(",
        "        if True:\n            self._observer.on_checkpoint_failed(",
        (OUTAGE + "test_a_store_that_is_down_for_a_minute_loses_nothing_and_is_told_once",),
    ),
    Mutant(
        "a checkpoint in the last flush is not END",
        WORKER,
        "            self.at_end = False  # in `flush` a checkpoint without a position is not END yet\n",
        "            self.at_end = True\n",
        (CHECKPOINT + "test_end.py::test_a_checkpoint_in_the_last_flush_is_not_the_end",),
    ),
    Mutant(
        "a first checkpoint in doubt is written again, so that its copy follows",
        CLAIMING,
        "                first = written or first or await self._resolve_start(stored, claim)\n",
        "                if written is not None:\n                    checkpoint = written\n                    break\n"
        "                first = first or await self._resolve_start(stored, claim)\n",
        (OUTAGE + "test_a_first_checkpoint_whose_answer_was_lost_is_copied_to_the_group_before_anything_is_read",),
    ),
    Mutant(
        "an observer that hangs holds up nobody who tells",
        "assembly/parts.py",
        "aside = ObserversAside(observers, runtime)",
        "aside = ObserversAside(observers, runtime)\n    from streamkit.engine.observers import Observers\n\n"
        "    aside._tell = Observers(observers)._tell  # type: ignore[method-assign]",
        ("tests/unit/engine/test_observers.py::test_an_observer_of_checkpoints_that_hangs_stops_no_checkpoint",),
    ),
    Mutant(
        "what was put aside need not be checkpointed by manual code",
        CHECKPOINTER,
        "    last = entry.worker.own\n",
        "    last = entry.worker.progress.position\n",
        (CHECKPOINT + "test_end.py::test_what_was_put_aside_need_not_be_checkpointed_by_the_code",),
    ),
    Mutant(
        "what is done is saved while END waits",
        CHECKPOINTER,
        "if held and entry.moves(done := entry.done()):",
        "if held and False and entry.moves(done := entry.done()):",
        (CHECKPOINT + "test_end.py::test_what_is_done_is_saved_while_the_end_waits_and_a_drain_does_not_wait_for_it",),
    ),
    Mutant(
        "a manual checkpoint in the middle of a call makes room",
        INTAKE,
        "            self._marks.append(Progress(position, begun + index + 1))\n",
        "            pass\n",
        (CHECKPOINT + "test_manual_window.py::test_a_checkpoint_in_the_middle_of_a_call_makes_room",),
    ),
    Mutant(
        "a save that is not answered is an outage",
        CHECKPOINTER,
        "                self.outage.look(dict.fromkeys(self._saving, error), set())\n",
        "                pass\n",
        ("tests/unit/engine/test_silence.py::test_a_save_that_is_not_answered_is_an_outage_after_half_a_minute",),
    ),
)

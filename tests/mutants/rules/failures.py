"""Rules of promise 7: a failure of the code goes to the policy, and holds up nothing else."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import FLUSHING, IN_ORDER, KEYED, WORKER

__all__ = ["MUTANTS"]

FAILURES = "engine/delivery/failures.py"

SEVEN = "tests/promise/test_promise_7_failures_stay_small.py::"
POLICIES = "tests/promise/test_promise_7_policies.py::"
AFTER = "tests/unit/engine/delivery/test_after_a_checkpoint.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a partition halts alone",
        FAILURES,
        "        self._life.events.halt(error)\n",
        "        self._life.events.stop_asked(error)\n",
        (SEVEN + "test_a_partition_halts_alone_and_visibly",),
    ),
    Mutant(
        "a rejected record is not tried again at once",
        FAILURES,
        "if not isinstance(failure, self._reject) and not limits.retry.exhausted(trouble.attempt):",
        "if not limits.retry.exhausted(trouble.attempt):",
        (SEVEN + "test_a_rejected_record_is_not_tried_again_before_the_long_back_off",),
    ),
    Mutant(
        "what the target of dead letters did not take is not done",
        FAILURES,
        "            await self.sit_out(trouble, self.halt(trouble, error))\n            return False\n",
        "            self._life.events.halt(error)\n",
        (POLICIES + "test_a_dead_letter_that_cannot_be_written_loses_nothing",),
    ),
    Mutant(
        "a dead letter is written before its record is passed",
        FAILURES,
        "elif not await self._life.arrives(self._life.events.put_aside(verdict.failed)):",
        "elif not verdict.failed:",
        (POLICIES + "test_dead_letter_writes_the_record_and_goes_on",),
    ),
    Mutant(
        "a skipped record is told of",
        FAILURES,
        "                self._life.events.skipped(verdict.failed)\n",
        "                pass\n",
        (POLICIES + "test_skip_tells_of_each_record",),
    ),
    Mutant(
        "ON_FAILURE=stop drains the process",
        FAILURES,
        '        if limits.on_failure == "stop":\n            return self.stop(trouble, _final(trouble))\n',
        "",
        (SEVEN + "test_stop_drains_the_process",),
    ),
    Mutant(
        "only so many records in a row are put aside",
        FAILURES,
        "if self._in_a_row + len(batch) > limits.max_consecutive:",
        "if len(batch) > limits.max_consecutive:",
        (POLICIES + "test_a_bad_deploy_does_not_drain_the_stream",),
    ),
    Mutant(
        "a success ends the row of records put aside",
        FAILURES,
        "        self._in_a_row = 0\n\n",
        "        pass\n\n",
        ("tests/unit/engine/delivery/test_policies.py::test_a_success_ends_the_row",),
    ),
    Mutant(
        "a failing batch is halved",
        IN_ORDER,
        "if at_fault > 1 and self._life.limits.bisect and not isinstance(failure, Stop):",
        "if False:",
        (POLICIES + "test_bisect_loses_one_record_of_a_batch",),
    ),
    Mutant(
        "halving forgets what was found good",
        IN_ORDER,
        "self._suspects = max(0, self._suspects - result.count)",
        "pass",
        ("tests/unit/engine/delivery/test_bisect.py::test_the_poison_record_alone_has_all_attempts_and_the_rest_goes_on_whole",),
    ),
    Mutant(
        "an async attempt ends with its time",
        "engine/delivery/call.py",
        "if self.is_async and self._limit is not None:",
        "if False:",
        (POLICIES + "test_a_slow_async_attempt_is_cut_and_the_others_go_on",),
    ),
    Mutant(
        "a call that cannot be cut is told of",
        "engine/delivery/overdue.py",
        "if not known.is_told and now - known.since >= self._patience:",
        "if False:",
        (
            "tests/unit/engine/delivery/test_timeouts.py::test_a_def_call_that_takes_too_long_is_told_of_once_and_never_begun_again_beside_itself",
        ),
    ),
    Mutant(
        "a configuration error of the code is not tried again",
        WORKER,
        "self._failures.stop(trouble, error))  # no attempt",
        'self._failures.after(trouble, error, "initialize"))  # no attempt',
        ("tests/unit/engine/delivery/test_exceptions.py::test_a_configuration_error_of_the_code_ends_the_app_at_once",),
    ),
    Mutant(
        "a hook may end the process",
        FAILURES,
        "failure = failure.stop if isinstance(failure, Exited) else failure",
        "pass",
        ("tests/unit/engine/delivery/test_exceptions.py::test_a_hook_may_end_the_process",),
    ),
    Mutant(
        "a failure after a checkpoint of the same call is told",
        IN_ORDER,
        "            self._life.events.attempt_failed(as_error(failure), self._trouble.attempt + 1)\n            self._failures.passed",
        "            self._failures.passed",
        (AFTER + "test_a_failure_is_told_and_the_record_does_not_come_again",),
    ),
    Mutant(
        "a stop after a checkpoint of the same call stops",
        IN_ORDER,
        "        self._suspects = 0\n        if isinstance(failure, Stop):",
        "        self._suspects = 0\n        if False:",
        (AFTER + "test_a_stop_stops",),
    ),
    Mutant(
        "a record that is rejected by name goes to the policy, checkpointed or not",
        IN_ORDER,
        "if not (isinstance(failure, Reject) and is_named):",
        "if True:",
        (AFTER + "test_a_record_that_is_rejected_by_name_is_put_aside",),
    ),
    Mutant(
        "by key, a failure after a checkpoint of the same call is told",
        KEYED,
        "        if result.failure is not None and not blamed:\n",
        "        if False:\n",
        (AFTER + "test_a_failure_is_told_and_the_record_does_not_come_again",),
    ),
    Mutant(
        "a failed flush is tried again with the back-off of retries",
        FLUSHING,
        "        self.asked = True\n        limits",
        "        limits",
        ("tests/unit/engine/test_hooks_table.py::test_flush__raises",),
    ),
    Mutant(
        "a hook that raises delays nothing",
        WORKER,
        "            self._events.hook_failed(name, error)\n",
        "            self._events.hook_failed(name, error)\n            raise\n",
        (SEVEN + "test_a_raising_hook_is_reported_and_delays_nothing",),
    ),
)

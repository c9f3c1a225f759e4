"""Rules of promise 4: what the engine does when a partition passes to another owner, or comes back."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, ENTRY, FOUR, IN_ORDER, LIFE, SUPERVISOR

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "nothing is saved after a loss",
        ASSIGNMENT,
        'if self._entry is not None and ending.kind != "revoked":',
        "if self._entry is not None and False:",
        (FOUR + "test_nothing_is_saved_after_a_loss",),
    ),
    Mutant(
        "open futures fail with the loss",
        ENTRY,
        "        for one in self.waiting:\n            one.promise.fail(self.fenced or error)\n",
        "",
        (FOUR + "test_open_futures_fail_with_the_loss",),
    ),
    Mutant(
        "a handler can see that its partition is lost",
        LIFE,
        'self.context.lost = self.context.lost or ending.kind != "revoked"',
        "pass",
        (FOUR + "test_a_worker_that_lost_a_partition_cannot_move_its_checkpoint",),
    ),
    Mutant(
        "no call is begun after the end",
        IN_ORDER,
        "while rest is not None and life.ending is None:",
        "while rest is not None:",
        (FOUR + "test_nothing_is_begun_once_the_end_has_begun",),
    ),
    Mutant(
        "a new assignment waits for the old call",
        ASSIGNMENT,
        "            await self._after.wait_over()",
        "            pass",
        (FOUR + "test_a_new_assignment_waits_for_the_old_call",),
    ),
    Mutant(
        "an assignment that is lost while it waits does not hide the one that it waited for",
        SUPERVISOR,
        "self._zombies.setdefault(assignment.partition, assignment)",
        "self._zombies[assignment.partition] = assignment",
        (FOUR + "test_a_new_assignment_waits_for_the_old_call",),
    ),
    Mutant(
        "a late revoke does not take the next assignment",
        SUPERVISOR,
        "ours = [a.partition for a in late if self._assignments.get(a.partition) is a]",
        "ours = [a.partition for a in late]",
        (FOUR + "test_a_revoke_that_takes_too_long_does_not_touch_the_next_assignment",),
    ),
    Mutant(
        "fenced for good, but still assigned: begin again from the store",
        SUPERVISOR,
        "if is_lost and assignment.partition not in self._revoking and (wait := self._ownership.again_seconds) is not None:",
        "if (wait := None) is not None:",
        (FOUR + "test_an_operator_who_moves_a_checkpoint_is_obeyed",),
    ),
)

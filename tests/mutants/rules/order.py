"""Rules of promise 3: the order of a partition, and of children after their parents."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import CHECKPOINTER, INTAKE, STATIC, WORKER

__all__ = ["MUTANTS"]

THREE = "tests/promise/test_promise_3_order.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "within an assignment positions strictly rise",
        INTAKE,
        "        if self.newest is not None and not self.newest < batch.first:\n            return False\n",
        "",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "a reader that went back is opened from our own position",
        WORKER,
        "self.context.start if intake.newest is None else StartPosition.after(intake.newest)",
        "self.context.start",
        (THREE + "test_a_reader_that_goes_back_is_opened_again_from_our_own_position",),
    ),
    Mutant(
        "children begin after all their parents",
        STATIC,
        "        if parents:\n            self._waiting[partition] = parents\n            return\n",
        "",
        (THREE + "test_children_begin_after_all_their_parents_have_ended",),
    ),
    Mutant(
        "both parents of a merge gate the child",
        STATIC,
        "                if not parents:\n",
        "                if True:\n",
        (THREE + "test_children_begin_after_all_their_parents_have_ended",),
    ),
    Mutant(
        "a manual processor says itself that a partition has ended",
        CHECKPOINTER,
        'if final == "end" and entry.is_manual and not _says_that_it_ended(entry):\n            promise.resolve(False)',
        'if final == "end" and entry.is_manual and not _says_that_it_ended(entry):\n            promise.resolve(True)',
        (THREE + "test_children_wait_while_a_parent_may_not_end",),
    ),
    Mutant(
        "what a batch of the broker is cut into keeps its order",
        "engine/delivery/in_order.py",
        "inbox.extendleft(reversed(others))",
        "inbox.extendleft(others)",
        ("tests/unit/engine/delivery/test_batches.py::test_a_large_batch_of_the_broker_is_sliced",),
    ),
)

"""Rules of how a process starts: what it waits for, what it refuses, and what it prints."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import EIGHT, SUPERVISOR

__all__ = ["MUTANTS"]

STARTING = "tests/unit/engine/test_starting.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "what a setting of an adapter means for the promise stands in the contract",
        "assembly/parts.py",
        "store_capabilities=capabilities, terms=terms)",
        "store_capabilities=capabilities)",
        (EIGHT + "test_a_setting_that_gives_up_records_has_its_line[earliest]",),
    ),
    Mutant(
        "a set-up that is refused leaves no reader behind",
        SUPERVISOR,
        "        self._is_reading = True\n",
        "",
        (EIGHT + "test_a_partition_that_does_not_exist_refuses_to_start_and_leaves_nothing_running",),
    ),
    Mutant(
        "a broker that comes late is waited for",
        "engine/starting.py",
        "if not _may_pass(error):",
        "if True:",
        (STARTING + "test_a_broker_that_comes_late_is_waited_for",),
    ),
    Mutant(
        "the waiting for a broker ends",
        "engine/starting.py",
        "if self._left <= 0 and not self._is_over():",
        "if False:",
        (STARTING + "test_the_waiting_ends_and_what_stood_in_the_way_is_raised",),
    ),
    Mutant(
        "what is wrong for good ends the start at once",
        "engine/starting.py",
        "if not _may_pass(error):",
        "if False:",
        (STARTING + "test_what_is_wrong_for_good_ends_the_start_at_once",),
    ),
    Mutant(
        "who is told to stop while it waits for a broker ends at once",
        "engine/starting.py",
        "            if self._is_over():\n                raise NotStartedError(what)\n            await",
        "            await",
        (STARTING + "test_who_is_told_to_stop_while_a_question_is_under_way_does_not_wait_for_its_answer",),
    ),
)

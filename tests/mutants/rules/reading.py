"""Rules of what a reader is told and says: where it goes on, how old its place is, and what was gone before it was read."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, INTAKE, WORKER

__all__ = ["MUTANTS"]

READING = "tests/unit/engine/test_reading.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "what a reader has gone on from is where it is opened again",
        WORKER,
        "        if intake.begins is not None:\n            return intake.begins\n",
        "",
        (READING + "test_after_a_resume_a_passing_error_goes_on_from_there_and_from_nowhere_else",),
    ),
    Mutant(
        "a resume forgets nothing of what was offered",
        INTAKE,
        "elif self.newest is not None and self.newest.sequence is not None and not self.newest < start.position:",
        "else:",
        (READING + "test_after_a_resume_positions_still_rise",),
    ),
    Mutant(
        "a partition has recovered when something was read of it",
        ASSIGNMENT,
        "while self.worker.offers == offers and",
        "while False and",
        (READING + "test_recovered_is_said_after_something_was_read",),
    ),
    Mutant(
        "a reader is told how old the record of the checkpoint is",
        ASSIGNMENT,
        "checkpoint.record_time if start is checkpoint.at else None",
        "None",
        (READING + "test_the_reader_is_told_when_the_record_of_its_start_was_written",),
    ),
    Mutant(
        "a partition that is opened again is opened with the age of its own position",
        INTAKE,
        "self.newest, self.begins, self.written = batch.last, None, batch.last_timestamp",
        "self.newest, self.begins = batch.last, None",
        (READING + "test_the_reader_is_told_when_the_record_of_its_start_was_written",),
    ),
    Mutant(
        "what was gone before it was read is counted, not only logged",
        "engine/reading.py",
        "            self._noticed(event.partition, WENT_ON, 1)\n",
        "",
        (READING + "test_failed_with_a_place_to_resume_goes_on_there_and_says_so",),
    ),
)

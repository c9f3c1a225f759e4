"""Rules of a plain reader whose broker has let in another owner."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import SUPERVISOR

__all__ = ["MUTANTS"]

TAKEN_OVER = "tests/unit/engine/test_taken_over.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "what the broker gave to another is not taken back for a lease",
        "engine/ownership/lease.py",
        "if self._contested.get(partition, now) > now:",
        "if False:",
        (TAKEN_OVER + "test_with_leases_what_the_broker_gave_to_another_is_lost_and_not_taken_back_for_a_lease",),
    ),
    Mutant(
        "a lease that the broker has made useless is given back",
        "engine/ownership/lease.py",
        "            self._owner.lose(event.partitions, event.reason)\n",
        "",
        (TAKEN_OVER + "test_with_leases_another_worker_may_take_it_at_once",),
    ),
    Mutant(
        "with static ownership what the broker gave to another is begun again",
        SUPERVISOR,
        "                    taken.lose(event.reason)\n",
        "                    pass\n",
        (TAKEN_OVER + "test_static_ownership_begins_again_after_a_while",),
    ),
    Mutant(
        "a reader is told the epoch of its owner",
        "engine/reading.py",
        "written=written, epoch=worker.context.epoch)",
        "written=written)",
        (TAKEN_OVER + "test_a_reader_is_told_the_epoch_of_its_owner",),
    ),
    Mutant(
        "what a reader says late of what was taken back from it is nobody's loss",
        "engine/reading.py",
        "event = Lost(tuple(p for p in event.partitions if p in self._workers), event.reason)",
        "event = Lost(tuple(event.partitions), event.reason)",
        (TAKEN_OVER + "test_what_is_lost_after_it_was_given_back_is_nobody_elses_loss",),
    ),
)

"""Rules of what holds beside a program that keeps its leases in the same store."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import LEASE

__all__ = ["MUTANTS"]

ANOTHER = "tests/promise/test_promise_4_another_program.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "another program is asked for nothing",
        LEASE,
        "unaskable={row.owner for row in rows if is_another_program(row.owner)},",
        "",
        (ANOTHER + "test_workers_beside_another_program_level_what_they_have_among_themselves",),
    ),
    Mutant(
        "what another program has is told",
        "engine/health.py",
        "for lease in self._of_another_program():",
        "for lease in ():",
        (ANOTHER + "test_a_lease_of_another_program_is_told_by_health_and_makes_nothing_red",),
    ),
    Mutant(
        "beside a program with which nothing settles a worker does not start",
        "engine/ownership/lease.py",
        "            await self._calls.check_start()\n",
        "",
        ("tests/promise/test_promise_4_another_program.py::test_beside_a_program_with_which_nothing_settles_a_worker_does_not_start",),
    ),
    Mutant(
        "rows that were listed before the store knew the cluster are not used",
        "engine/ownership/roster.py",
        "            return False  # the rows were perhaps of another cluster\n",
        "            pass\n",
        (
            "tests/promise/test_promise_4_another_program.py"
            "::test_a_store_that_knows_another_cluster_is_told_which_it_is_and_asked_again_before_anything_is_written",
        ),
    ),
)

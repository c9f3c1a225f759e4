"""Rules of promise 6: what is held, and how often something is tried, is bounded."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import PRESSURE, SIX

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "what is not saved is bounded",
        PRESSURE,
        "        if load.in_flight >= self._max_in_flight:\n            return True\n",
        "",
        (SIX + "test_records_that_are_done_but_not_saved_are_bounded_too",),
    ),
    Mutant(
        "bytes are bounded",
        PRESSURE,
        " or (queued > 0 and load.held_bytes >= self._share(partitions))\n",
        "\n",
        (SIX + "test_a_slow_handler_bounds_the_bytes_in_memory",),
    ),
    Mutant(
        "one oversized record is admitted",
        "builtin/memory/reader.py",
        "max(max_bytes, first_size)",
        "max_bytes",
        (SIX + "test_an_oversized_record_is_admitted_alone",),
    ),
    Mutant(
        "attempts are bounded",
        "engine/delivery/retry.py",
        "return attempt >= self.attempts",
        "return attempt > self.attempts",
        (SIX + "test_attempts_are_counted",),
    ),
)

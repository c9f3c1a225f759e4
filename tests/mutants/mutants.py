"""Rules, each with a change that takes it away and the tests that must then fail; here joined from `rules`, a module for each area.

`old` must occur exactly once in the file, so that a mutant cannot rot unnoticed. Keep them small: one rule, one change.
"""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.rules import (
    another_program,
    at_least_once,
    bounds,
    checkpoints,
    command_line,
    dead_letters,
    ending,
    failures,
    first_start,
    health,
    leases,
    lineage,
    one_owner,
    order,
    order_by_key,
    parking,
    reading,
    starting,
    stores,
    suspects,
    taken_over,
    telemetry,
)

__all__ = ["MUTANTS", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (
    *at_least_once.MUTANTS,
    *first_start.MUTANTS,
    *starting.MUTANTS,
    *reading.MUTANTS,
    *order.MUTANTS,
    *order_by_key.MUTANTS,
    *lineage.MUTANTS,
    *one_owner.MUTANTS,
    *leases.MUTANTS,
    *ending.MUTANTS,
    *another_program.MUTANTS,
    *taken_over.MUTANTS,
    *stores.MUTANTS,
    *checkpoints.MUTANTS,
    *bounds.MUTANTS,
    *failures.MUTANTS,
    *suspects.MUTANTS,
    *dead_letters.MUTANTS,
    *parking.MUTANTS,
    *health.MUTANTS,
    *telemetry.MUTANTS,
    *command_line.MUTANTS,
)

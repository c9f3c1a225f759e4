"""Rules of what the commands do: checkpoints and leases, dead letters that are replayed, and reading."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import REPLAY

__all__ = ["MUTANTS"]

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "nothing is imported beside a living owner of a lease",
        "cli/owners.py",
        "if before is None or (before.owner, before.version) != (lease.owner, lease.version):",
        "if False:",
        ("tests/unit/cli/test_checkpoint_lines.py::test_the_owner_of_a_lease_is_watched_for_as_long_as_a_lease_lasts",),
    ),
    Mutant(
        "nothing is taken over from a program whose worker moves a row",
        "cli/foreign.py",
        "        if before.get(row) != now.get(row):",
        "        if False:",
        ("tests/unit/cli/test_foreign.py::test_whoever_moves_while_we_watch_is_named_and_nothing_is_taken",),
    ),
    Mutant(
        "keys that are parked are not left behind by an export",
        "cli/foreign.py",
        "if checkpoint is not None and still_parked(checkpoint.parked) and not checkpoint.at.is_end:",
        "if False:",
        ("tests/unit/cli/test_foreign.py::test_parked_keys_are_not_left_behind",),
    ),
    Mutant(
        "what fails again stops the replay, and waits for the next one",
        "cli/letters.py",
        '        "on_failure": "halt",\n',
        "",
        (REPLAY + "test_what_fails_again_stops_the_replay_and_the_next_one_goes_on_there",),
    ),
    Mutant(
        "a replay shows the records as they were",
        "cli/dead_letters.py",
        "    pipeline.code = replaying(pipeline.code)\n",
        "",
        (REPLAY + "test_a_replay_shows_any_code_the_records_as_they_were_in_order_and_once",),
    ),
    Mutant(
        "a command outlasts a broker that stumbles",
        "cli/reading.py",
        "if not error.retryable or failed_at",
        "if True or failed_at",
        ("tests/unit/cli/test_reading.py::test_a_broker_that_comes_back_is_read_to_the_end",),
    ),
)

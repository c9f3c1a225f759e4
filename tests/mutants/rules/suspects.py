"""Rules of records that kill their process: what is noted before a call, what is proof, and who is called alone."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, ENTRY, FENCING

__all__ = ["MUTANTS"]

CARE = "tests/unit/engine/delivery/test_care.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a hook that had to wait for its turn takes no wake-up from others",
        "engine/delivery/life.py",
        "            if had_to_wait:",
        "            if False:",
        ("tests/unit/engine/delivery/test_life.py",),
    ),
    Mutant(
        "who claims again what is its own is no further owner",
        FENCING,
        "fruitless_claims=row.fruitless_claims + (row.owner != owner or not row.fruitless_claims),",
        "fruitless_claims=row.fruitless_claims + 1,",
        (CARE + "test_a_process_that_claims_again_is_no_further_owner",),
    ),
    Mutant(
        "who claims is a process, not a name that another had before",
        "engine/supervisor.py",
        "claimant=owner_name(parts.worker_name, runtime.random()),",
        "claimant=parts.worker_name,",
        (CARE + "test_the_culprit_is_found_and_goes_to_the_policy",),
    ),
    Mutant(
        "a record that kills its process is written down before its call",
        "engine/delivery/care.py",
        "if not await life.arrives(life.events.note_suspect(batch.first, deaths + self._is_alone)):",
        "if life.events.note_suspect(batch.first, deaths + self._is_alone) is None:",
        (CARE + "test_the_note_is_durable_before_the_call",),
    ),
    Mutant(
        "a record that has killed its process twice is not called",
        "engine/delivery/care.py",
        "self._suspicion.deaths >= KILLS",
        "self._suspicion.deaths >= KILLS + 5",
        (CARE + "test_it_halts_the_partition_where_that_is_the_policy",),
    ),
    Mutant(
        "owners that die again and again make the next one careful",
        "engine/delivery/care.py",
        "suspect is None and fruitless < FRUITLESS_CLAIMS",
        "suspect is None",
        (CARE + "test_the_culprit_is_found_and_goes_to_the_policy",),
    ),
    Mutant(
        "a record that only fails is not taken for one that kills",
        "engine/delivery/care.py",
        "        noted = self._life.events.note_suspect(batch.first, 0)\n",
        "        noted = self._life.turn.ask(self._life)\n",
        (CARE + "test_a_record_that_only_fails_is_not_taken_for_one_that_kills",),
    ),
    Mutant(
        "an orderly end clears the suspicion",
        "engine/delivery/care.py",
        "            self._life.events.note_suspect(None, 0)\n",
        "            pass\n",
        (CARE + "test_a_record_that_waits_for_its_retry_when_the_partition_is_given_back_is_no_suspect",),
    ),
    Mutant(
        "only deaths in which a record was called alone are counted",
        "engine/delivery/care.py",
        "            self._is_alone = await self._take_turn()\n",
        "            pass\n        self._is_alone = len(batch) == 1\n",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "while one record is called alone, nobody else's call is begun",
        "engine/delivery/turn.py",
        "return self._holder is not None and self._holder is not caller",
        "return False",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "one that is called alone does not keep the others waiting for ever",
        "engine/delivery/turn.py",
        "            late().on_done(lambda: self.release(caller))\n",
        "            pass\n",
        (CARE + "test_nobody_else_is_called_beside_a_suspect",),
    ),
    Mutant(
        "a loss takes back what says that a record was being called",
        ASSIGNMENT,
        "                self._house.checkpointer.clear_suspect(self._entry)\n",
        "",
        (CARE + "test_a_loss_is_no_evidence_and_the_note_is_taken_back",),
    ),
    Mutant(
        "what may have been a loss is no evidence of a death",
        "engine/delivery/care.py",
        "if has_died or not suspected:",
        "if True:",
        (CARE + "test_where_it_may_have_been_a_loss_the_partition_halts_whatever_the_policy_is",),
    ),
    Mutant(
        "a note of a process that lives is no evidence of its death",
        ASSIGNMENT,
        " and self.partition not in house.turn.unproven",
        "",
        (CARE + "test_what_this_process_has_lost_and_not_taken_back_is_no_evidence_for_it",),
    ),
    Mutant(
        "an owner that gives back in order has not died",
        ENTRY,
        " or self.has_metadata or self.gives_back",
        " or self.has_metadata",
        (CARE + "test_idle_partitions_that_are_given_back_in_order_make_nobody_careful",),
    ),
)

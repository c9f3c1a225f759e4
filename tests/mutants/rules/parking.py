"""Rules of parked keys: their markers, their letters, and their release."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import ASSIGNMENT, CLAIMING, ENTRY, LANES

__all__ = ["MUTANTS"]

MARKERS = "engine/markers.py"

PARK = "tests/unit/engine/delivery/test_park.py::"
PARKED = "tests/promise/test_promise_3_parking.py::"
CRASHED = "tests/unit/engine/delivery/test_park_after_a_crash.py::"
ASKED = "tests/unit/engine/delivery/test_park_requests.py::"
WRITING = "tests/unit/engine/delivery/test_writing_letters.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "the marker of a parked key is in the store before its first letter",
        MARKERS,
        "        if new:\n            try:\n                await self._durable()",
        "        if new:\n            try:\n                self._note(Promise())",
        (PARK + "test_the_marker_is_in_the_store_before_the_first_letter",),
    ),
    Mutant(
        "later records of a parked key go behind the first",
        "engine/delivery/parking.py",
        "return record.key is not None and record.key in self.keys",
        "return False",
        (PARK + "test_later_records_of_the_key_go_behind_the_first_uncalled_and_others_go_on",),
    ),
    Mutant(
        "later records of a parked key go behind the first, with order by key",
        LANES,
        "if key is not None and key in parked:",
        "if False:",
        (PARK + "test_later_records_of_the_key_go_behind_the_first_uncalled_and_others_go_on",),
    ),
    Mutant(
        "a record whose own letter could not be written is not called again",
        MARKERS,
        "self._parking.hold(key, self._parked[key].first)",
        "pass",
        (PARK + "test_a_letter_that_cannot_be_written_halts_and_is_written_later_uncalled",),
    ),
    Mutant(
        "children go on with what their parents have parked",
        CLAIMING,
        "parked = inherited(parked, [row.parked for row in rows if row.partition in parents])",
        "pass",
        (PARKED + "test_children_of_a_split_go_on_with_what_their_parent_has_parked",),
    ),
    Mutant(
        "a key is released when its last letter has been replayed, and not before",
        "engine/parked.py",
        "return set(parked.letters) <= set(letters)",
        "return True",
        (PARK + "test_a_key_stays_parked_while_a_later_letter_has_not_been_replayed",),
    ),
    Mutant(
        "a key is not released while a letter of it is under way",
        MARKERS,
        " and key not in self._unwritten and ",
        " and ",
        (PARK + "test_a_letter_under_way_keeps_the_key_parked_though_a_copy_of_it_was_replayed",),
    ),
    Mutant(
        "a copy of a letter has a name of its own",
        "engine/parked.py",
        "/{epoch}.{number}-{salt}",
        "",
        (PARK + "test_a_crash_between_letter_and_checkpoint_writes_it_again_with_the_same_id",),
    ),
    Mutant(
        "the checkpoint that passes a record of a parked key names its letter",
        MARKERS,
        "named = self._named(records[:parked], ())\n            self._note(Promise())",
        "named = self._named(records[:parked], ())",
        (PARK + "test_the_checkpoint_that_passes_a_record_names_its_letter",),
    ),
    Mutant(
        "parked keys are bounded",
        MARKERS,
        "if new and (keys > MAX_KEYS or",
        "if new and (",
        (PARK + "test_over_the_bound_the_partition_halts",),
    ),
    Mutant(
        "what was asked of a partition that nobody owned comes before its first record",
        ASSIGNMENT,
        "            await house.requests.look_for(self)\n",
        "",
        (PARK + "test_what_was_asked_while_nobody_owned_it_comes_before_the_first_record",),
    ),
    Mutant(
        "who was fenced by an owner that has parked begins again from the store",
        ASSIGNMENT,
        "!= entry.checkpoint.parked:",
        "is None:",
        (PARK + "test_who_is_fenced_by_an_owner_that_has_parked_begins_again_from_the_store",),
    ),
    Mutant(
        "an owner that has died may have written letters that no marker names",
        CLAIMING,
        "return after_a_claim(parked, one.partition, checkpoint.epoch) if one.previous_owner else parked",
        "return parked",
        (CRASHED + "test_what_was_asked_before_a_crash_does_not_release_a_key_of_which_the_dead_owner_has_written_more",),
    ),
    Mutant(
        "who claims a partition with parked keys is known to whoever comes next",
        CLAIMING,
        "if parked or checkpoint.parked:",
        "if parked != checkpoint.parked:",
        (CRASHED + "test_an_owner_that_dies_before_its_first_checkpoint_leaves_doubt_behind_one_that_gave_back",),
    ),
    Mutant(
        "an owner that gives back in order leaves no doubt about its letters",
        ENTRY,
        "self.fruitless >= MANY_FRUITLESS or any(not one.is_released for one in self.current_notes.parked.values())",
        "self.fruitless >= MANY_FRUITLESS",
        (CRASHED + "test_an_owner_that_gives_back_in_order_leaves_no_doubt",),
    ),
    Mutant(
        "no release is asked for while a letter of the key waits",
        "engine/parked.py",
        "if last and not writers & self._waiting.get(key, set()):",
        "if last:",
        (CRASHED + "test_a_key_is_not_asked_for_while_one_of_its_letters_waits",),
    ),
    Mutant(
        "a release that fails calls nothing",
        MARKERS,
        "            await releasing  # not called before it is in the store, and not at all if that fails\n        parked = 0\n"
        "        while parked < len(records) and records[parked].record.key in self._parked:\n            parked += 1\n",
        "            return 0 if not await releasing else 0\n        parked = 0\n"
        "        while parked < len(records) and records[parked].record.key in self._parked:\n            parked += 1\n",
        (CRASHED + "test_a_release_that_the_store_refuses_leaves_the_key_parked",),
    ),
    Mutant(
        "no letter of a parked key is written after one that was not taken",
        "engine/delivery/dead_letter.py",
        "(failed,) if self._producer.is_gapless else _one_by_one(failed)",
        "(failed,)",
        (WRITING + "test_no_letter_of_a_parked_key_is_written_after_one_that_was_not_taken",),
    ),
    Mutant(
        "a position is not saved without the names of the letters that it passes",
        ENTRY,
        "checkpoint = replace(checkpoint, parked=self.notes.parked)",
        "pass",
        (PARKED + "test_a_partition_whose_end_is_held_up_is_not_saved_beyond_a_letter_that_no_marker_names",),
    ),
    Mutant(
        "a key that a child has released stays so",
        MARKERS,
        "        self._released |= released\n",
        "",
        (PARKED + "test_a_key_that_was_released_stays_so_though_the_row_of_the_parent_says_that_it_is_parked",),
    ),
    Mutant(
        "a request is not forgotten while its answer is being saved",
        MARKERS,
        "            await under_way\n",
        "            pass\n",
        (ASKED + "test_a_request_is_there_until_what_it_asks_for_is_in_the_store",),
    ),
    Mutant(
        "a partition that cannot be released holds up no other",
        "engine/requests.py",
        "                failed = error\n        if failed",
        "                failed = error\n                break\n        if failed",
        (ASKED + "test_a_partition_whose_store_refuses_holds_up_no_other",),
    ),
    Mutant(
        "parked keys are not called under another policy",
        CLAIMING,
        'if still_parked(parked) and house.settings.on_failure != "park":',
        "if False:",
        (PARK + "test_another_policy_does_not_begin_where_keys_are_parked",),
    ),
)

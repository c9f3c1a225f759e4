"""Rules of dead letters: what one holds, and when it is written."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import REPLAY

__all__ = ["MUTANTS"]

LETTER = "engine/delivery/letter.py"

LETTERS = "tests/unit/engine/delivery/test_letter.py::"
LINES = "tests/unit/builtin/test_file_producer.py::"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "headers of a record survive in its letter, repeated ones too",
        LETTER,
        "headers=Headers((*record.headers, *ours))",
        "headers=Headers((*dict(record.headers).items(), *ours))",
        (LETTERS + "test_a_record_comes_back_as_it_was",),
    ),
    Mutant(
        "a letter that fails again is not put into another one",
        LETTER,
        "    record = original_of(failed.record)\n",
        "    record = failed.record\n",
        (LETTERS + "test_a_letter_that_fails_again_is_still_a_letter_of_its_record",),
    ),
    Mutant(
        "a target without headers is given letters as one value",
        "engine/delivery/dead_letter.py",
        "if not self._producer.keeps_headers:",
        "if False:",
        ("tests/unit/engine/delivery/test_enclosed.py::test_a_target_without_headers_is_given_values_alone",),
    ),
    Mutant(
        "a letter that came as one value is opened",
        LETTER,
        "_letter_in(opened(record) or record)",
        "_letter_in(record)",
        ("tests/unit/engine/delivery/test_enclosed.py::test_a_record_comes_back_from_one_value_as_it_was",),
    ),
    Mutant(
        "an error in a letter is of bounded size",
        "engine/delivery/error_chain.py",
        "deque(walk_tb(trace), MAX_FRAMES)",
        "deque(walk_tb(trace))",
        (LETTERS + "test_causes_and_contexts_are_followed_and_frames_are_the_innermost",),
    ),
    Mutant(
        "a letter that the target did not acknowledge is not written",
        "engine/delivery/dead_letter.py",
        "            if answer is not None:",
        "            if False:",
        ("tests/unit/engine/delivery/test_writing_letters.py::test_one_answer_that_is_an_error_names_its_record_the_target_and_the_cause",),
    ),
    Mutant(
        "a target that cannot be written is found at the start",
        "engine/starting.py",
        '        await reach("the dead-letter target", lambda: runtime.control.call("check-target", dead_letters.check()))\n',
        "        pass\n",
        (REPLAY + "test_a_target_that_cannot_be_written_is_found_before_the_first_record",),
    ),
    Mutant(
        "an app does not write dead letters to what it reads",
        "assembly/dead_letter.py",
        "    if plugin == settings.broker and any(",
        "    if False and any(",
        ("tests/unit/assembly/test_dead_letter_target.py::test_an_app_does_not_feed_itself",),
    ),
    Mutant(
        "a line is on the disk before it is answered",
        "builtin/file/producer.py",
        "                os.fsync(descriptor)\n",
        "",
        (LINES + "test_it_is_on_the_disk_before_it_is_answered",),
    ),
    Mutant(
        "what a crash left of a line never becomes part of the next one",
        "builtin/file/producer.py",
        '    return b"\\n" if whole else TORN + b"\\n"',
        '    return b""',
        (LINES + "test_what_was_cut_off_is_marked_and_never_glued_to_the_next_line",),
    ),
    Mutant(
        "a line that is no record is not passed over",
        "builtin/file/reader.py",
        "        if is_torn(line):",
        "        if True:",
        ("tests/unit/builtin/test_file_broker.py::test_a_line_that_is_no_record_stops_its_file_and_is_named",),
    ),
)

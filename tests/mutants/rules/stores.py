"""Rules of what stores keep: fencing, leases and checkpoints, in memory and in SQLite."""

from tests.mutants.mutant import Mutant
from tests.mutants.rules.places import EIGHT, FENCING, FOUR

__all__ = ["MUTANTS"]

LEASING = "plugin/leasing.py"

STORE_RULES = "tests/conformance/test_memory.py::test_store_rules["
SQLITE_RULES = "tests/conformance/test_sqlite.py::test_rules["

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a row that cannot be read is not an absent checkpoint",
        "builtin/sqlite_rows.py",
        '            raise StoreUnavailableError(f"{self._path!r}: the checkpoint of {partition} cannot be read: {error}") from error\n',
        "            return None  # type: ignore[return-value]\n",
        ("tests/unit/builtin/test_sqlite_store.py::test_a_row_that_cannot_be_read_names_itself_and_holds_up_nobody_else",),
    ),
    Mutant(
        "an older owner's save is refused",
        FENCING,
        "if row is None or held != current or not row.owner:",
        "if row is None:",
        (FOUR + "test_the_save_of_an_old_owner_is_refused",),
    ),
    Mutant(
        "every claim raises the epoch",
        FENCING,
        "epoch=max(epoch, row.epoch + 1),",
        "epoch=max(epoch, row.epoch),",
        ("tests/unit/plugin/test_fencing.py",),
    ),
    Mutant(
        "a lease that has changed since it was listed is not taken",
        LEASING,
        "if row is None or not is_unchanged(row, lease):",
        "if row is None:",
        (STORE_RULES + "L12 of two that take it as listed one is refused, and changes nothing]",),
    ),
    Mutant(
        "a sign of life since the listing refuses a take",
        LEASING,
        "(row.version, row.owner, row.epoch) == (lease.version, lease.owner, lease.epoch)",
        "(row.owner, row.epoch) == (lease.owner, lease.epoch)",
        (STORE_RULES + "L13 every sign of life since the listing refuses a take]",),
    ),
    Mutant(
        "every take raises the epoch",
        LEASING,
        "        epoch=row.epoch + 1,\n        owner=owner,",
        "        owner=owner,",
        (STORE_RULES + "L15 a silent owner is replaced, and its grant is refused for ever]",),
    ),
    Mutant(
        "an older owner renews nothing",
        LEASING,
        "    row = checked(row, partition, grant)\n    return replace(row, version=row.version + 1)\n",
        "    assert row is not None\n    return replace(row, version=row.version + 1)\n",
        (STORE_RULES + "L22 each renewal has its own answer]",),
    ),
    Mutant(
        "a renewal is a sign of life",
        LEASING,
        "    return replace(row, version=row.version + 1)\n",
        "    return row\n",
        (STORE_RULES + "L20 a renewal raises the version, and nothing else]",),
    ),
    Mutant(
        "a save of what is there already is a sign of life",
        FENCING,
        "            return replace(row, version=row.version + 1)  # nothing new, but the owner lives",
        "            return row",
        (STORE_RULES + "L13 every sign of life since the listing refuses a take]",),
    ),
    Mutant(
        "a request for hand-over is no sign of life",
        LEASING,
        "return replace(row, handover_to=to)",
        "return replace(row, handover_to=to, version=row.version + 1)",
        (STORE_RULES + "L30 a request for hand-over is noted, and is no sign of life]",),
    ),
    Mutant(
        "a released lease accepts no grant of before",
        LEASING,
        'return replace(row, epoch=row.epoch + 1, owner="", version',
        "return replace(row, version",
        (STORE_RULES + "L36 a release frees, refuses the grant, and keeps for whom]",),
    ),
    Mutant(
        "a free lease accepts no grant at all",
        FENCING,
        "if row is None or held != current or not row.owner:",
        "if row is None or held != current:",
        (STORE_RULES + "L23 a grant that nobody gave is refused]",),
    ),
    Mutant(
        "leases that exist stay as they are",
        "builtin/sqlite.py",
        "            if self._lease(lease.partition) is None:\n",
        "            if True:\n",
        (SQLITE_RULES + "L04 leases that exist stay as they are]",),
    ),
    Mutant(
        "a lease that has changed is not removed",
        "builtin/sqlite.py",
        "if leasing.is_unchanged(self._lease(lease.partition), lease):",
        "if True:",
        (SQLITE_RULES + "L53 what has changed since it was listed is not removed]",),
    ),
    Mutant(
        "children that are named stay named",
        FENCING,
        "        children=stored.children,\n",
        "        children=found.children,\n",
        (STORE_RULES + "L50 children are named in the row of their parent, and stay there]",),
    ),
    Mutant(
        "owners without progress are counted",
        LEASING,
        "fruitless_claims=row.fruitless_claims + (row.owner != owner),",
        "fruitless_claims=row.fruitless_claims,",
        (STORE_RULES + "L40 owners without progress are counted]",),
    ),
    Mutant(
        "a start that was resolved is no progress",
        FENCING,
        'return checkpoint.at.kind == "after" and (',
        "return (",
        (STORE_RULES + "L42 a resolved start, a save of the same and a renewal are no progress]",),
    ),
    Mutant(
        "code of the first version still works in our file",
        "builtin/sqlite_rows.py",
        "_NEEDED = 1",
        "_NEEDED = 2",
        ("tests/unit/builtin/test_sqlite_leases.py::test_code_of_the_first_version_goes_on_working_in_our_file",),
    ),
    Mutant(
        "a row that cannot be read is not a missing lease",
        "builtin/sqlite_rows.py",
        "            yield from map(self._row, cursor.fetchall())",
        "            for columns in cursor.fetchall():\n                try:\n                    yield self._row(columns)\n"
        "                except StoreUnavailableError:\n                    continue",
        ("tests/unit/builtin/test_sqlite_leases.py::test_a_row_that_cannot_be_read_is_never_a_missing_lease",),
    ),
    Mutant(
        "checkpoints of a store do not go back",
        FENCING,
        "        _forward(stored.at, checkpoint)\n",
        "",
        ("tests/unit/plugin/test_fencing.py",),
    ),
    Mutant(
        "a checkpoint of another incarnation is refused",
        FENCING,
        "if _differ(stored, partition.incarnation):",
        "if False:",
        (EIGHT + "test_a_stream_that_was_made_anew_refuses_the_old_checkpoint",),
    ),
)

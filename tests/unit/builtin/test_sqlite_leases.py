"""What is particular to leases in SQLite: the second layout of the file beside the first, and what one transaction holds."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.errors import FencedError, StoreThrottledError, StoreUnavailableError
from streamkit.model import Checkpoint, Lease, Partition, Position, StartPosition
from streamkit.plugin import Claim, Grant
from streamkit.testing.conformance.leases import fresh, listed, take
from tests.conformance.context import PlainContext
from tests.conformance.first_sqlite import FIRST_FIND, FIRST_LAYOUT, FIRST_LIST, FIRST_NEEDS, FIRST_WRITE
from tests.conformance.stores import after, partition

KEY = ("memory", "g", "orders", "0")
OLD = '{"at": "after 1:41:0:", "epoch": 0, "incarnation": "c/1", "owner": "w", "partition": "0", "stream": "orders", "version": 1}'
NEWER = OLD.replace("1:41", "1:42")

Test = Callable[[SqliteStore], Awaitable[object]]


def using(path: Path, test: Test, *, group: str = "g") -> None:
    async def run() -> None:
        store = SqliteStore(SqliteSettings(path=path, busy_timeout=timedelta(0)), PlainContext(group=group))
        try:
            await store.open()
            await test(store)
        finally:
            await store.close()

    asyncio.run(run())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.db"


@pytest.fixture
def first(path: Path) -> Path:
    """A file as the first version left it: one checkpoint, one partition that was only claimed, one that was deleted."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in FIRST_LAYOUT:
            connection.execute(statement)
        connection.execute(FIRST_WRITE, (*KEY, 7, "w", OLD))
        connection.execute(FIRST_WRITE, ("memory", "g", "orders", "1", 1, "w", None))
        connection.execute(FIRST_WRITE, ("memory", "g", "orders", "2", 4, "", None))
    return path


def test_a_file_of_the_first_version_is_completed_in_place_and_nothing_is_lost(first: Path) -> None:
    async def test(store: SqliteStore) -> None:
        assert [c.to_text() for c in await store.list()] == [OLD]
        zero, one, two = await store.leases()
        assert (zero.owner, zero.epoch, zero.version, zero.checkpoint, zero.fruitless_claims) == ("w", 7, 0, after(41), 0)
        assert zero.partition.incarnation == "c/1"
        assert (one.owner, one.epoch, one.checkpoint) == ("w", 1, None)
        assert (two.owner, two.epoch, two.checkpoint) == ("", 4, None)
        assert list(await store.save([(after(42), Grant(7))])) == [7], "its owner goes on with the grant that it has"
        assert (await take(store, await listed(store), "new")).epoch == 8
        assert (await take(store, two, "new")).epoch == 5, "epochs of before are not given again"

    for _ in range(2):
        using(first, lambda store: store.leases())
    using(first, test)
    using(first, lambda store: store.leases())


def test_code_of_the_first_version_goes_on_working_in_our_file(path: Path) -> None:
    """Its every statement, on a file that we have made and use; two neighbouring versions share a group."""

    async def test(store: SqliteStore) -> None:
        claim = await store.claim(partition(), "new", 0)
        await store.save([(after(41), claim.grant)])
        with closing(sqlite3.connect(path, isolation_level=None)) as old:
            for statement in FIRST_LAYOUT:
                old.execute(statement)
            assert old.execute(FIRST_NEEDS).fetchone() == (1,), "more than 1 and it would refuse"
            assert old.execute(FIRST_FIND, KEY).fetchone() == (1, "new", OLD)
            old.execute(FIRST_WRITE, (*KEY, 2, "old", OLD))  # its claim
            (answer,) = await store.save([(after(43), claim.grant)])
            assert isinstance(answer, FencedError), "one epoch fences both"
            old.execute(FIRST_WRITE, (*KEY, 2, "old", NEWER))  # its save
            assert (await listed(store)).owner == "old"
            again = await store.claim(partition(), "new", 0)
            assert (again.checkpoint, again.epoch) == (after(42), 3)
            assert old.execute(FIRST_FIND, KEY).fetchone() == (3, "new", NEWER)
            assert old.execute(FIRST_LIST, KEY[:2]).fetchall() == [("orders", "0", NEWER)]
            old.execute(FIRST_WRITE, ("memory", "g", "orders", "9", 1, "old", None))
            assert (await listed(store, "9")).owner == "old"

    using(path, test)


def test_a_layout_of_our_successor_that_does_not_refuse_us_is_left_as_it_is(path: Path) -> None:
    using(path, lambda store: store.leases())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE streamkit_layout SET version = 3")
    using(path, lambda store: store.leases())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version FROM streamkit_layout").fetchall() == [(3,)]
        assert connection.execute("SELECT version FROM streamkit_schema").fetchall() == [(1,)]


def test_a_file_is_completed_in_one_transaction_or_not_at_all(first: Path) -> None:
    with closing(sqlite3.connect(first, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreThrottledError):
            using(first, lambda store: store.leases())
        assert other.execute("SELECT count(*) FROM sqlite_master WHERE name = 'leases'").fetchone() == (0,)
    using(first, lambda store: store.leases())


def test_leases_can_be_read_by_people_and_keep_keys_of_128_bits(path: Path) -> None:
    low, high = (1 << 127) + 1, (1 << 128) - 1
    child = Partition("orders", "0", incarnation="c/1", parents=("a", "b"), key_range=(low, high))

    async def test(store: SqliteStore) -> None:
        await store.create([Lease(child)])
        await take(store, await listed(store), "w")

    using(path, test)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT stream, partition, version, fruitless_claims, lineage ->> '$.key_range[0]', lineage ->> '$.parents' FROM leases"
        assert connection.execute(query).fetchall() == [("orders", "0", 1, 1, str(low), '["a","b"]')]
    using(path, lambda store: expect_range(store, (low, high)))


async def expect_range(store: SqliteStore, key_range: tuple[int, int]) -> None:
    assert (await listed(store)).partition.key_range == key_range


def test_many_leases_are_one_transaction(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        leases = await fresh(store, *map(str, range(20)))
        assert store._connection is not None
        statements: list[str] = []
        store._connection.set_trace_callback(statements.append)

        def commits() -> int:
            begun, ended = statements.count("BEGIN IMMEDIATE"), statements.count("COMMIT")
            statements.clear()
            assert begun == ended
            return ended

        claims = [claim for claim in await store.take(leases, "w") if isinstance(claim, Claim)]
        assert (len(claims), commits()) == (20, 1)
        held = [(lease.partition, claim.grant) for lease, claim in zip(leases, claims, strict=True)]
        await store.renew(held)
        assert commits() == 1
        await store.save([(after(1, one), grant) for one, grant in held])
        assert commits() == 1
        await store.release(held)
        assert commits() == 1

    using(path, test)


def test_a_renewal_does_not_write_the_checkpoint_again(path: Path) -> None:
    """A prepared checkpoint may hold a megabyte, and renewals are many."""

    async def test(store: SqliteStore) -> None:
        claim = await take(store, (await fresh(store))[0], "w")
        long = Checkpoint(partition(), StartPosition.after(Position(1)), pending=Position(2), pending_state=b"x" * (1 << 20))
        await store.save([(long, claim.grant)])
        store._run("PRAGMA wal_checkpoint(TRUNCATE)")
        for _ in range(20):
            await store.renew([(partition(), claim.grant)])
            await store.save([(long, claim.grant)])  # the same again is no more than a renewal
        assert path.with_name("c.db-wal").stat().st_size < 1 << 20
        assert (await listed(store)).checkpoint == long

    using(path, test)


def test_a_removed_lease_leaves_nothing_in_the_file(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        await store.remove([*await fresh(store, "0", "1"), Lease(partition("never there"))])
        assert store._run("SELECT (SELECT count(*) FROM checkpoints), (SELECT count(*) FROM leases)").fetchone() == (0, 0)

    using(path, test)


def test_a_transaction_that_fails_takes_nothing(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        leases = await fresh(store, "0", "1")
        store._run("UPDATE leases SET lineage = '[' WHERE partition = '1'")
        good, bad = await store.take(leases, "w")
        assert isinstance(good, Claim)
        assert isinstance(bad, StoreUnavailableError)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreThrottledError):
                await store.renew([(partition(), good.grant)])
        store._run("CREATE TRIGGER full BEFORE INSERT ON leases WHEN NEW.partition = '2' BEGIN SELECT RAISE(ABORT, 'no room'); END")
        with pytest.raises(StoreUnavailableError, match="no room"):
            await store.create([Lease(partition("3")), Lease(partition("2"))])
        store._run("UPDATE leases SET lineage = '{}' WHERE partition = '1'")
        assert [(lease.partition.id, lease.owner) for lease in await store.leases()] == [("0", "w"), ("1", "")]

    using(path, test)


@pytest.mark.parametrize("damage", ["checkpoint = '{'", "checkpoint = 'null'"])
def test_a_row_that_cannot_be_read_is_never_a_missing_lease(path: Path, damage: str) -> None:
    async def test(store: SqliteStore) -> None:
        claims = [await take(store, lease, "w") for lease in await fresh(store, "0", "1")]
        await store.save([(after(1, partition(str(n))), claim.grant) for n, claim in enumerate(claims)])
        store._run(f"UPDATE checkpoints SET {damage} WHERE partition = '0'")
        with pytest.raises(StoreUnavailableError, match="orders/0"):
            await store.leases()
        held = [(partition(str(n)), claim.grant) for n, claim in enumerate(claims)]
        assert list(await store.renew(held)) == [grant for _, grant in held], "its owner need not lose it"
        assert list(await store.release(held)) == [None, None]

    using(path, test)


@pytest.mark.parametrize("damage", ["", "[", "[]", "null", '{"key_range": ["1"]}', '{"key_range": ["x", "y"]}', '{"parents": 3}'])
def test_a_lineage_that_cannot_be_read_names_itself(path: Path, damage: str) -> None:
    async def test(store: SqliteStore) -> None:
        claim = await take(store, (await fresh(store))[0], "w")
        store._run("UPDATE leases SET lineage = ?", damage)
        with pytest.raises(StoreUnavailableError, match="orders/0"):
            await store.leases()
        (answer,) = await store.renew([(partition(), claim.grant)])
        assert isinstance(answer, StoreUnavailableError)

    using(path, test)

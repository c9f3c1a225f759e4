"""What is particular to the SQLite store: its schema, waiting for others, and SQLite's errors as ours."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.errors import ConfigurationError, StoreThrottledError, StoreUnavailableError
from tests.conformance.context import PlainContext
from tests.conformance.stores import after, partition


def using(path: Path, test: Callable[[SqliteStore], object]) -> None:
    """Runs the coroutine that `test` makes with an open store."""

    async def run() -> None:
        store = SqliteStore(SqliteSettings(path=path, busy_timeout=timedelta(0)), PlainContext())
        try:
            await store.open()
            await test(store)  # type: ignore[misc]
        finally:
            await store.close()

    asyncio.run(run())


def test_rows_can_be_read_by_people(tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        claim = await store.claim(partition(), "w", 0)
        await store.save([(after(7), claim.grant)])

    using(tmp_path / "c.db", test)
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        query = "SELECT broker, grp, stream, partition, epoch, owner, json_extract(checkpoint, '$.at') FROM checkpoints"
        assert connection.execute(query).fetchall() == [("memory", "g", "orders", "0", 1, "w", "after 1:7:0:")]


def test_commits_are_synced_before_they_are_answered(tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        assert store._run("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert store._run("PRAGMA journal_mode").fetchone() == ("wal",)

    using(tmp_path / "c.db", test)


def test_a_newer_schema_is_a_named_error_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection, connection:
        connection.execute("CREATE TABLE streamkit_schema (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO streamkit_schema VALUES (4)")
    with pytest.raises(ConfigurationError, match="schema version 4") as caught:
        using(tmp_path / "c.db", lambda store: store.list())
    assert "upgrade streamkit" in caught.value.fix
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("streamkit_schema",)]


def test_somebody_else_who_is_writing_is_throttling(tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        claim = await store.claim(partition(), "w", 0)
        with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreThrottledError, match=r"c\.db.*locked"):
                await store.save([(after(1), claim.grant)])
            assert list(await store.list()) == [], "reading does not wait"
        assert await store.save([(after(1), claim.grant)]) == [claim.grant]

    using(tmp_path / "c.db", test)


@pytest.mark.parametrize("path", ["no/folder/c.db", ":memory:"])
def test_a_path_that_cannot_be_durable_is_a_configuration_error(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="STREAMKIT_SQLITE__PATH"):
        using(Path(path), lambda store: store.list())


def test_a_full_disk_is_unavailable_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        claim = await store.claim(partition(), "w", 0)
        await store.save([(after(1), claim.grant)])
        (pages,) = store._run("PRAGMA page_count").fetchone()
        store._run(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnavailableError, match="full"):
            await store.save([(after(2, metadata="x" * 4096), claim.grant), (after(3, metadata="x" * 99999), claim.grant)])
        assert list(await store.list()) == [after(1)], "all of a transaction or nothing"

    using(tmp_path / "c.db", test)


def test_a_row_that_cannot_be_read_names_itself_and_holds_up_nobody_else(tmp_path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        claims = [await store.claim(partition(name), "w", 0) for name in ("0", "1")]
        await store.save([(after(1, partition(str(n))), claim.grant) for n, claim in enumerate(claims)])
        store._run("UPDATE checkpoints SET checkpoint = '{' WHERE partition = '0'")
        with pytest.raises(StoreUnavailableError, match="orders/0"):
            await store.claim(partition(), "w", 0)
        with pytest.raises(StoreUnavailableError, match="orders/0"):
            await store.list()
        bad, good = await store.save([(after(2, partition(str(n))), claim.grant) for n, claim in enumerate(claims)])
        assert isinstance(bad, StoreUnavailableError)
        assert good == claims[1].grant

    using(tmp_path / "c.db", test)

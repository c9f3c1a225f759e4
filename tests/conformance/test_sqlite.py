"""The SQLite store keeps the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import StoreKit, store_rules


class SqliteKit(StoreKit):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def store(self, context: AdapterContext) -> SqliteStore:
        return SqliteStore(SqliteSettings(path=self.folder / "checkpoints.db"), context)

    def unreachable(self, context: AdapterContext) -> SqliteStore:
        path = self.folder / "no database.db"
        path.write_bytes(b"something else" * 100)
        return SqliteStore(SqliteSettings(path=path), context)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteKit:
    return SqliteKit(tmp_path)


test_rules = store_rules("sqlite")

"""Adds up what each customer spent, in batches, and writes the sums to SQLite when streamkit asks for it.

A checkpoint is taken only after `flush` returned, so nothing that is only in memory is ever counted as done. Records may come
again after a crash. So that no sum counts one twice, the database remembers in the same transaction how far it has come.
"""

import sqlite3
from collections import Counter

from streamkit import Batch, Context, Position, Processor

SCHEMA = """
CREATE TABLE IF NOT EXISTS totals (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS progress (partition TEXT PRIMARY KEY, position TEXT NOT NULL);
"""


class Totals(Processor):
    """One object for each assignment of a partition. All of its hooks run in one thread, so it may keep a connection."""

    path = "totals.db"

    def initialize(self, context: Context) -> None:
        self.database = sqlite3.connect(self.path)
        self.database.executescript(SCHEMA)
        self.added: Counter[str] = Counter()
        query = "SELECT position FROM progress WHERE partition = ?"
        row = self.database.execute(query, [str(context.partition)]).fetchone()
        self.reached = Position.from_text(row[0]) if row else None

    def process(self, batch: Batch, context: Context) -> None:
        for record in batch:
            if self.reached is None or self.reached < record.position:
                self.added[(record.key or b"nobody").decode()] += int(record.value or b"0")
                self.reached = record.position

    def flush(self, context: Context) -> None:
        if self.reached is None:
            return
        with self.database:  # one transaction
            self.database.executemany(
                "INSERT INTO totals VALUES (?, ?) ON CONFLICT (customer) DO UPDATE SET cents = cents + excluded.cents",
                list(self.added.items()),
            )
            self.database.execute("REPLACE INTO progress VALUES (?, ?)", [str(context.partition), self.reached.to_text()])
        self.added.clear()

    def close(self) -> None:
        if hasattr(self, "database"):  # close is called after a failed initialize too
            self.database.close()

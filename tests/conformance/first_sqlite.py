"""What the first version of streamkit made and ran, to the letter: files of it are in use, and so is its code, beside ours."""

from __future__ import annotations

__all__ = ["FIRST_FIND", "FIRST_LAYOUT", "FIRST_LIST", "FIRST_NEEDS", "FIRST_WRITE"]

FIRST_LAYOUT = (
    "CREATE TABLE IF NOT EXISTS streamkit_schema (version INTEGER NOT NULL)",
    "INSERT INTO streamkit_schema SELECT 1 WHERE NOT EXISTS (SELECT * FROM streamkit_schema)",
    """CREATE TABLE IF NOT EXISTS checkpoints (
    broker TEXT NOT NULL, grp TEXT NOT NULL, stream TEXT NOT NULL, partition TEXT NOT NULL,
    epoch INTEGER NOT NULL, owner TEXT NOT NULL, checkpoint TEXT,
    PRIMARY KEY (broker, grp, stream, partition)) WITHOUT ROWID""",
)
FIRST_NEEDS = "SELECT max(version) FROM streamkit_schema"
FIRST_FIND = "SELECT epoch, owner, checkpoint FROM checkpoints WHERE broker = ? AND grp = ? AND stream = ? AND partition = ?"
FIRST_WRITE = "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)"
FIRST_LIST = "SELECT stream, partition, checkpoint FROM checkpoints WHERE broker = ? AND grp = ? AND checkpoint IS NOT NULL"

"""A group whose checkpoints are in a SQLite file beside it: members that the group has given up can still reach it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamkit.builtin.memory import MemorySettings
from streamkit.builtin.sqlite import SqliteSettings, SqliteStore
from streamkit.engine.adapter_context import EngineContext
from streamkit.model import Checkpoint, Partition
from streamkit.plugin import Claim, Grant, fencing
from streamkit.testing.simulation import Plan, Subject, World, subject_of
from streamkit.testing.simulation.adapters import Outside
from streamkit.testing.simulation.chance import plan_of
from tests.simulation.processors import KINDS

SEEDS = range(40)


class _Watched(SqliteStore):
    """The world's trouble strikes here too, and every write goes past the ledger."""

    outside: Outside

    async def claim(self, partition: Partition, owner: str, epoch: int) -> Claim:
        await self.outside.trouble.strike("claim", self.context.worker)
        return await super().claim(partition, owner, epoch)

    async def save(self, checkpoints: Sequence[tuple[Checkpoint, Grant]]) -> Sequence[Grant | Exception]:
        await self.outside.trouble.strike("save", self.context.worker)
        answers = await super().save(checkpoints)
        await self.outside.trouble.strike("save_after_write", self.context.worker)
        return answers

    def _write(self, partition: Partition, row: fencing.Row) -> None:
        before = self._row(partition)
        super()._write(partition, row)
        self.outside.ledger.written(partition.id, before, row)


class _World(World):
    def __init__(self, plan: Plan, subject: Subject, file: Path) -> None:
        self._file = file
        super().__init__(plan, subject)

    def _store(self, settings: MemorySettings, context: EngineContext) -> SqliteStore:
        store = _Watched(SqliteSettings(path=self._file), context)
        store.outside = self.outside
        return store


def test_nothing_is_lost_with_a_file_beside_the_group(tmp_path: Path) -> None:
    fenced = 0
    for seed in SEEDS:
        subject = subject_of(list(KINDS.values())[seed % len(KINDS)])
        plan = next(p for p in (plan_of(n, ownership="group") for n in range(1000 * seed, 1000 * seed + 1000)) if not p.own_store)
        fenced += _World(plan, subject, tmp_path / f"{seed}.db").live().counts["not checkpointed: FencedError"]
    assert fenced

"""When a newer claim exists: claim once more while the group says that it is ours, or be lost. Never save with an old grant."""

from __future__ import annotations

import asyncio

from streamkit.errors import StoreUnavailableError
from streamkit.model import Batch, Position
from streamkit.processing import Context, Processor
from streamkit.testing import Harness
from tests.unit.engine.rig import P0, Notes, failing


class Plain(Processor):
    epochs: list[int]

    def process(self, batch: Batch, context: Context) -> None:
        type(self).epochs.append(context.epoch)


def plain() -> type[Plain]:
    return type("Made", (Plain,), {"epochs": []})


def test_fenced_while_assigned_claims_once_more_and_goes_on() -> None:
    made = plain()
    with Harness(made) as h:
        h.deliver(b"a")
        h.script.take(P0)
        h.deliver(b"b")
        h.deliver(b"c")
        assert h.checkpoint == 2
        assert h.hooks == ["initialize", "process", "process", "process"]
        assert made.epochs == [1, 1, 3]  # 2 was the other's
        assert any("epoch 1 was shown" in problem for problem in h.problems)


def test_fenced_while_the_store_is_down_waits_for_the_store() -> None:
    with Harness(plain()) as h:
        h.deliver(b"a")
        h.script.take(P0)
        h.script.fail("claim", StoreUnavailableError("gone"), times=5)
        h.deliver(b"b")
        assert h.checkpoint == 1
        assert "partition_lost" not in h.hooks


def test_fenced_again_and_again_is_lost_and_begun_anew_from_the_store() -> None:
    notes = Notes()
    with Harness(plain(), observer=notes) as h:
        h.script.answers = lambda answers: h.script.take(P0) or answers  # type: ignore[func-returns-value]
        for _ in range(6):
            h.write(b"x")
            h.advance(10)
        assert h.hooks.count("partition_lost") == len(notes.named("lost")) == 1
        assert h.hooks.count("initialize") == 2  # the group still says that it is ours
        h.script.answers = lambda answers: answers
        h.deliver(b"y")
        assert h.checkpoint == 6


def test_a_partition_that_was_lost_by_fencing_is_read_no_more() -> None:
    with Harness(plain()) as h:
        h.script.answers = lambda answers: h.script.take(P0) or answers  # type: ignore[func-returns-value]
        for _ in range(6):
            h.write(b"x")
            h.advance(10)
        assert ("remove", (P0,)) in h.script.journal


def test_lost_while_claiming_once_more_stays_lost() -> None:
    with Harness(plain()) as h:
        h.deliver(b"a")
        h.script.take(P0)
        h.script.fail("claim", StoreUnavailableError("gone"), times=99)
        h.write(b"b")
        h.advance(8)
        h.lose()
        h.script.failures.clear()
        before = len(h.script.journal)
        h.advance(30)
        assert "claim" not in [operation for operation, _ in h.script.journal[before:]]
        assert h.hooks.count("partition_lost") == 1


def test_a_revoke_while_claiming_once_more_ends_in_order() -> None:
    with Harness(plain()) as h:
        h.deliver(b"a")
        h.script.take(P0)
        h.script.fail("claim", StoreUnavailableError("gone"), times=3)
        h.write(b"b")
        h.advance(5.2)
        h.revoke(deadline=20)
        assert h.hooks[-2:] == ["partition_revoked", "close"]
        assert h.checkpoint == 1


def test_a_stored_checkpoint_that_went_back_is_not_written_over_but_begun_from() -> None:
    from streamkit.model import Checkpoint, StartPosition

    with Harness(plain()) as h:
        h.deliver(b"a", b"b", b"c")
        back = Checkpoint(P0, StartPosition.after(Position(0)))
        h.advance(0.1)
        h._alive().runtime.run(_overwrite(h, back))  # as `streamkit checkpoints set` does
        h.write(b"d")
        h.advance(6)
        assert h.hooks[-3:] == ["process", "partition_lost", "close"]
        assert h.checkpoint == 0
        h.settle()
        assert [record.value for record in h.seen[-4:]] == [b"d", b"b", b"c", b"d"]
        assert h.checkpoint == 3


async def _overwrite(harness: Harness, checkpoint: object) -> None:
    from streamkit.testing.scripted import ScriptedStore

    await ScriptedStore(harness.script, asyncio.sleep).overwrite(checkpoint)  # type: ignore[arg-type]


def test_an_old_owner_cannot_move_the_checkpoint() -> None:
    with Harness(failing({}), checkpoint_interval="10s") as h:
        h.write(b"a")
        h.advance(1)
        h.lose()
        h.advance(30)
        assert h.checkpoint is None
        assert h.script.rows[P0].owner == "somebody else"

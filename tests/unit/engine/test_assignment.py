"""From claim to the first record: absence needs proof, the start is saved first, and ends while beginning are clean."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from streamkit.errors import ConfigurationError, StoreUnavailableError
from streamkit.model import Batch, Checkpoint, Partition, Position, StartPosition
from streamkit.processing import Context, Processor
from streamkit.testing import Harness
from streamkit.testing.virtual import EPOCH
from tests.unit.engine.rig import P0, Notes, failing, values


class Plain(Processor):
    contexts: list[Context]

    def initialize(self, context: Context) -> None:
        type(self).contexts.append(context)

    def process(self, batch: Batch, context: Context) -> None:
        return None


def plain() -> type[Plain]:
    return type("Made", (Plain,), {"contexts": []})


def operations(harness: Harness) -> list[str]:
    return [operation for operation, _ in harness.script.journal]


# -- claiming ------------------------------------------------------------------------------------------------------------


def test_a_claim_is_tried_again_while_the_store_is_down_and_nothing_is_read_meanwhile() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=999)
        h.write(b"a")
        h._hold({P0})
        h.advance(60)
        assert h.hooks == []
        assert "add" not in operations(h)
        assert 6 < operations(h).count("claim") < 30
        h.script.failures.clear()
        h.settle()
        assert h.checkpoint == 0


def test_a_claim_that_waits_is_reported_once_and_shown_in_health() -> None:
    notes = Notes()
    with Harness(plain(), assigned=False, observer=notes) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=999)
        h._hold({P0})
        h.advance(60)
        (status,) = h._alive().supervisor.snapshot()
        assert (status.state, status.problem) == ("claiming", "gone")
        assert len(notes.events) == 1
        h.script.failures.clear()
        h.settle()
        (status,) = h._alive().supervisor.snapshot()
        assert (status.state, status.problem) == ("caught up", "")


def test_doubt_is_not_absence() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.fail("list", StoreUnavailableError("cut"), times=4)
        h.deliver(b"a")
        assert operations(h).index("add") > len([o for o in operations(h) if o == "list"])
        assert operations(h).count("list") == 5
        assert h.checkpoint == 0


def test_one_partition_that_cannot_be_claimed_leaves_the_others_alone() -> None:
    with Harness(plain(), partitions=2, assigned=False) as h:
        h.deliver(b"a", partition="1")
        h.script.fail("claim", StoreUnavailableError("gone"), times=999)
        h._hold({P0})
        h.write(b"b", partition="1")
        h.advance(10)
        assert h.checkpoint_of("1") == 1
        h.crash()


def test_a_store_that_refuses_for_good_stops_the_app_at_once_and_names_the_cause() -> None:
    with Harness(plain(), partitions=2, assigned=False) as h:
        h.script.fail("claim", ConfigurationError("another cluster's checkpoint"))
        h._hold({P0})
        before = h.time
        with pytest.raises(ConfigurationError, match="another cluster"):
            h.settle()
        assert h.time - before < 3
        with pytest.raises(ConfigurationError):
            h.stop()
        assert h.exit_code == 1


def test_a_store_with_a_bug_stops_the_app_at_once() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.fail("claim", ZeroDivisionError("bug"))
        h._hold({P0})
        before = h.time
        h._run_until(lambda: not h.is_running, "over")
        assert h.time - before < 3
        h.stop()
        assert h.exit_code == 1
        assert any("bug" in problem for problem in h.problems)


# -- the first start -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["earliest", "latest", "2026-01-01T00:00:00Z"])
def test_the_first_start_is_saved_before_the_first_record(start: str) -> None:
    with Harness(plain(), start=start, assigned=False) as h:
        h.deliver(b"a")
        assert operations(h)[:5] == ["claim", "list", "save", "saved", "add"]
        assert h.checkpoints[0].at.kind in ("earliest", "at")
        assert h.checkpoints[0].partitions_at_start == 1


def test_latest_is_resolved_once_so_a_crash_before_the_first_checkpoint_loses_nothing() -> None:
    with Harness(failing({}), start="latest", assigned=False, checkpoint_interval="10s") as h:
        h.write(b"old")
        h.assign()
        h.write(b"a")
        h.advance(1)
        h.crash()
        h.write(b"b")
        h.assign()
        assert values(h) == [b"a", b"a", b"b"]


def test_a_first_start_that_cannot_be_saved_is_tried_again() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.fail("save", StoreUnavailableError("gone"), times=3)
        h.deliver(b"a")
        assert h.checkpoint == 0
        assert operations(h)[:3] == ["claim", "list", "save"]
        assert "add" not in operations(h)[: operations(h).index("saved")]


def test_fenced_between_claim_and_first_save_claims_once_more() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.answers = _fence_once(h)
        h.deliver(b"a")
        assert operations(h).count("claim") == 2
        assert h.checkpoint == 0
        assert h.time < 20


def _fence_once(harness: Harness):  # type: ignore[no-untyped-def]
    left = [1]

    def answers(given):  # type: ignore[no-untyped-def]
        from streamkit.errors import FencedError

        if left:
            left.pop()
            harness.script.rows.clear()
            harness.script.take(P0)
            return [FencedError("a newer claim") for _ in given]
        return given

    return answers


def test_the_stored_checkpoint_is_where_the_next_owner_begins() -> None:
    made = plain()
    with Harness(made) as h:
        h.deliver(b"a", b"b")
        h.revoke()
        h.deliver(b"c")
        assert [str(context.start) for context in made.contexts] == ["earliest", "after 1"]
        assert [context.epoch for context in made.contexts] == [1, 2]


def test_a_pending_checkpoint_is_given_to_initialize_and_kept_by_later_saves() -> None:
    made = plain()
    with Harness(made, assigned=False) as h:
        stored = Checkpoint(P0, StartPosition.EARLIEST, pending=Position(7), pending_state=b"state", partitions_at_start=1)
        from streamkit.plugin.fencing import Row

        h.script.rows[P0] = Row(4, "w", stored)
        h.deliver(b"a")
        assert made.contexts[0].pending == (Position(7), b"state")
        assert h.checkpoints[-1].pending == Position(7)
        assert h.checkpoints[-1].pending_state == b"state"
        assert h.checkpoints[-1].epoch == 5
        assert h.checkpoints[-1].partitions_at_start == 1


def test_a_partition_whose_end_is_saved_calls_no_hook() -> None:
    with Harness(plain()) as h:
        h.end()
        before = len(h.hooks)
        h.crash()
        h.assign()
        assert len(h.hooks) == before
        assert h.is_running


def test_partitions_that_appear_later_begin_at_earliest() -> None:
    with Harness(failing({}), start="latest") as h:
        h.deliver(b"a")
        h.crash()
        h.script.logs[Partition("stream", "1")] = []
        h.write(b"early", partition="1")
        h.assign()
        assert b"early" in values(h)


def test_a_time_as_start_is_resolved_and_saved() -> None:
    h = Harness(failing({}), assigned=False, start=datetime.fromtimestamp(EPOCH + 50, UTC).isoformat())
    with h:
        h.write(b"old")
        h.advance(100)
        h.write(b"new")
        h.assign()
        assert h.checkpoints[0].at == StartPosition.at(Position(1))
        assert values(h) == [b"new"]


def test_under_latest_a_partition_that_was_there_loses_nothing_however_late_it_is_claimed() -> None:
    with Harness(failing({}), partitions=2, start="latest", assigned=False) as h:
        h.write(b"old", partition="1")
        h.advance(200)
        h.assign("0")
        h.advance(300)
        h.write(b"new", partition="1")
        h.assign("1")
        assert values(h) == [b"new"]


# -- ends while beginning ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["revoke", "lose"])
def test_ended_while_claiming_calls_no_hook_and_is_over_at_once(how: str) -> None:
    notes = Notes()
    with Harness(plain(), assigned=False, observer=notes) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=999)
        h._hold({P0})
        h.advance(3)
        before = h.time
        getattr(h, how)()
        assert h.time - before < 1
        assert h.hooks == []
        assert [name for name, _ in notes.events] == ["problem"]  # neither assigned nor revoked nor lost


def test_a_stop_while_claiming_is_over_at_once() -> None:
    with Harness(plain(), assigned=False) as h:
        h.script.fail("claim", StoreUnavailableError("gone"), times=999)
        h._hold({P0})
        h.advance(3)
        before = h.time
        h.stop()
        assert h.time - before < 1
        assert h.exit_code == 0


@pytest.mark.parametrize(("how", "told"), [("revoke", "partition_revoked"), ("lose", "partition_lost")])
def test_ended_while_initializing_tells_the_processor_once_initialize_returned(how: str, told: str) -> None:
    class Slow(Processor):
        async def initialize(self, context: Context) -> None:
            await asyncio.sleep(5)

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Slow, assigned=False) as h:
        h.write(b"a")
        h._hold({P0})
        h.advance(2)
        getattr(h, how)()
        assert h.hooks == ["initialize", told, "close"]
        assert "add" not in operations(h)


def test_ended_while_initialize_fails_only_calls_close() -> None:
    class Broken(Processor):
        def initialize(self, context: Context) -> None:
            raise ValueError("no database")

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Broken, retry_attempts=2) as h:
        assert "no database" in str(h.halted)
        h.revoke()
        assert h.hooks == ["initialize", "initialize", "close"]
        assert len(h.errors) == 2


def test_a_processor_that_cannot_be_made_is_a_failure_like_that_of_initialize() -> None:
    made: list[int] = []

    class Fragile(Processor):
        def __init__(self) -> None:
            made.append(threading.get_ident())
            if len(made) < 5:
                raise ValueError("no database")

        def process(self, batch: Batch, context: Context) -> None:
            return None

    with Harness(Fragile, retry_attempts=3) as h:
        assert "no database" in str(h.halted)
        assert len(made) == 3
        h.advance(35)
        h.deliver(b"a")
        assert h.hooks == ["initialize", "process"]
        assert threading.get_ident() not in made  # made in the assignment's thread, not on the control loop

"""The harness as its users meet it."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path

import pytest

import streamkit
import streamkit.testing
from streamkit.errors import RetriesExhaustedError, StoreUnavailableError, UnsupportedError
from streamkit.model import Batch, Position, Record
from streamkit.outcome import Outcome, Retry
from streamkit.plugin import NewRecord
from streamkit.processing import Context, Processor, processor, record_processor
from streamkit.testing import Harness


@record_processor
def handle(record: Record, context: Context) -> None:
    if record.value == b"bad":
        raise ValueError("not this one")


class Hooked(Processor):
    def process(self, batch: Batch, context: Context) -> None:
        return None


def test_five_lines_are_enough() -> None:
    with Harness(handle) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1


@pytest.mark.parametrize("decorator", [record_processor, processor])
def test_coroutine_functions_work_the_same(decorator: object) -> None:
    @decorator  # type: ignore[operator]
    async def coroutine(item: object, context: Context) -> None:
        await asyncio.sleep(100)

    with Harness(coroutine) as h:
        h.deliver(b"a", b"b")
        assert h.checkpoint == 1


def test_a_factory_of_processors_works_the_same() -> None:
    def factory() -> Processor:
        return Hooked()

    with Harness(factory) as h:
        h.deliver(b"a")
        assert h.hooks == ["initialize", "process"]


def test_what_is_no_processor_is_refused_as_in_an_app() -> None:
    with pytest.raises(streamkit.ConfigurationError, match="print is not a processor") as caught:
        Harness(print)
    assert "@record_processor" in caught.value.fix


def test_settings_that_are_not_built_are_refused_as_in_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.settings.NOT_YET", {"bisect": "batches are retried whole"})
    with pytest.raises(UnsupportedError):
        Harness(handle, bisect=True)


def test_values_pairs_and_whole_records_may_be_delivered() -> None:
    with Harness(handle, partitions=2) as h:
        written = h.deliver(b"a", (b"b", b"key"), None, NewRecord(b"c", headers=streamkit.model.Headers([("h", b"1")])))
        h.deliver(NewRecord(b"d", partition="1"))
        assert [(record.value, record.key) for record in h.seen] == [(b"a", None), (b"b", b"key"), (None, None), (b"c", None), (b"d", None)]
        assert written == h.seen[:4]
        assert h.seen[3].headers.get("h") == b"1"
        assert h.seen[4].partition.id == "1"
        assert h.checkpoint_of("1") == 0


def test_an_error_that_the_test_has_not_looked_at_is_raised_when_the_block_is_left() -> None:
    with pytest.raises(ValueError, match="not this one"), Harness(handle) as h:
        h.deliver(b"bad")


def test_an_error_that_the_test_has_looked_at_is_not() -> None:
    with Harness(handle, retry_attempts=2) as h:
        h.deliver(b"bad")
        assert [str(error) for error in h.errors] == ["not this one", "not this one"]


def test_a_halted_partition_tells_why() -> None:
    with Harness(handle, retry_attempts=2) as h:
        h.deliver(b"a", b"bad")
        assert isinstance(h.halted, RetriesExhaustedError)
        assert isinstance(h.halted.__cause__, ValueError)
    assert h.exit_code == 1


def test_an_assertion_of_the_test_is_not_hidden_by_an_error_of_the_processor() -> None:
    with pytest.raises(AssertionError, match="mine"), Harness(handle) as h:
        h.deliver(b"bad")
        raise AssertionError("mine")


def test_retry_is_no_error() -> None:
    @record_processor
    def again(record: Record, context: Context) -> Outcome | None:
        return Retry() if context.attempt < 3 else None

    with Harness(again) as h:
        h.deliver(b"a")
        assert h.errors == []
        assert [call.attempt for call in h.calls] == [1, 2, 3]


def test_revoke_lose_and_end_are_seen_by_the_processor() -> None:
    with Harness(Hooked) as h:
        h.deliver(b"a")
        h.revoke()
        assert h.hooks == ["initialize", "process", "partition_revoked", "close"]
        h.calls.clear()
        h.deliver(b"b")
        h.lose()
        assert h.hooks == ["initialize", "process", "partition_lost", "close"]
        h.calls.clear()
        h.deliver(b"c")
        h.end(children=["1", "2"])
        assert h.hooks == ["initialize", "process", "partition_ended", "close"]
        assert h.checkpoint == Position.END


def test_a_crash_calls_nothing_and_the_next_owner_begins_at_the_checkpoint() -> None:
    with Harness(Hooked, checkpoint_interval="5s") as h:
        h.deliver(b"a")
        h.write(b"b")
        h.advance(1)
        h.crash()
        assert not h.is_running
        assert h.hooks == ["initialize", "process", "process"]
        h.deliver(b"c")
        assert [record.value for record in h.seen] == [b"a", b"b", b"b", b"c"]
        assert h.checkpoint == 2


def test_a_crash_in_the_middle_of_a_call_and_of_a_save_leaves_no_trace() -> None:
    after: list[str] = []

    @record_processor(checkpoint="manual")
    def slow(record: Record, context: Context) -> None:
        context.checkpoint().result()
        after.append("saved")

    with Harness(slow) as h:
        h.script.save_seconds = 10
        h.write(b"a")
        h.advance(5)
        h.crash()
        assert h.checkpoint is None
        assert after == []
        assert h.errors == []
        h.script.save_seconds = 0
        h.assign()
        assert h.checkpoint == 0


def test_time_is_virtual_and_goes_on_over_a_crash() -> None:
    with Harness(handle) as h:
        h.advance(600)
        h.crash()
        h.assign()
        assert 600 <= h.time < 610


def test_state_is_the_contexts_state() -> None:
    seen: list[object] = []

    @record_processor
    def stateful(record: Record, context: Context) -> None:
        seen.append(context.state)

    pool = object()
    with Harness(stateful, state=pool) as h:
        h.deliver(b"a")
        assert seen == [pool]


def test_checkpoints_are_all_that_were_saved() -> None:
    with Harness(handle) as h:
        h.deliver(b"a")
        h.deliver(b"b")
        assert [str(c.at) for c in h.checkpoints] == ["earliest", "after 0", "after 1"]


def test_what_never_comes_to_rest_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamkit.testing.harness.PATIENCE_SECONDS", 60.0)
    with Harness(handle) as h:
        h.script.fail("save", StoreUnavailableError("gone for lunch"), times=10_000)
        with pytest.raises(TimeoutError, match="gone for lunch"):
            h.deliver(b"a")
        h.crash()


def test_an_unknown_partition_is_named_with_those_that_exist() -> None:
    with Harness(handle, partitions=["a", "b"]) as h, pytest.raises(KeyError, match="there are a, b"):
        h.deliver(b"x", partition="c")


def test_after_stop_the_exit_code_is_known_and_a_new_owner_can_start() -> None:
    with Harness(handle) as h:
        h.deliver(b"a")
        assert h.exit_code is None
        h.stop()
        assert h.exit_code == 0
        h.deliver(b"b")
        assert h.exit_code is None
        assert h.checkpoint == 1


def test_nothing_can_be_written_to_a_closed_partition() -> None:
    with Harness(handle) as h:
        h.end()
        with pytest.raises(ValueError, match="stream/0 is closed"):
            h.deliver(b"a")


def test_the_public_names_of_testing() -> None:
    assert {"Harness", "VirtualRuntime"} <= set(streamkit.testing.__all__)


def test_nothing_outside_testing_imports_it() -> None:
    root = Path(streamkit.__file__).parent
    importing = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if "testing" not in path.relative_to(root).parts[:1]
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("streamkit.testing"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("streamkit.testing") for alias in node.names))
    ]
    assert importing == []

"""A processor with `flush` may buffer: a checkpoint is taken only of what a flush has made durable."""

from __future__ import annotations

from streamkit.model import Batch, Position
from streamkit.processing import Context, Processor
from streamkit.testing import Harness
from tests.unit.engine.rig import Notes


class Buffering(Processor):
    """Keeps values in memory until flush; `durable` survives a crash."""

    durable: list[bytes | None]
    fails = 0
    failures = 0
    running = 0

    def __init__(self) -> None:
        self.buffer: list[bytes | None] = []

    def process(self, batch: Batch, context: Context) -> None:
        self.buffer.extend(batch.values())

    def flush(self, context: Context) -> None:
        if type(self).fails > 0:
            type(self).fails -= 1
            raise OSError("disk full")
        type(self).durable.extend(self.buffer)
        self.buffer.clear()


def buffering(fails: int = 0) -> type[Buffering]:
    return type("Made", (Buffering,), {"durable": [], "fails": fails})


def test_nothing_is_checkpointed_before_it_is_flushed() -> None:
    made = buffering()
    seen: list[tuple[int | None, int]] = []
    with Harness(made, checkpoint_interval="1s", max_batch=2) as h:
        h.script.answers = lambda answers: seen.append((h.checkpoints[-1].at.position.sequence, len(made.durable))) or answers  # type: ignore[union-attr,func-returns-value]
        for number in range(30):
            h.write(b"%d" % number)
            h.advance(0.3)
        h.settle()
        assert h.checkpoint == 29
        assert len(seen) > 5
        assert all(sequence is None or sequence < durable for sequence, durable in seen)


def test_flush_is_called_at_each_interval_with_news_and_only_then() -> None:
    with Harness(buffering(), checkpoint_interval="2s") as h:
        h.deliver(b"a")
        assert h.hooks.count("flush") == 1
        h.advance(20)
        assert h.hooks.count("flush") == 1
        h.deliver(b"b")
        assert h.hooks.count("flush") == 2


def test_flush_is_called_before_checkpoint_records() -> None:
    made = buffering()
    with Harness(made, checkpoint_interval="1h", checkpoint_records=2, max_batch=1) as h:
        h.write(b"a", b"b")
        h.advance(1)
        assert h.checkpoint == 1
        assert made.durable == [b"a", b"b"]


def test_a_crash_loses_nothing_that_was_only_buffered() -> None:
    made = buffering()
    with Harness(made, checkpoint_interval="10s", max_batch=1) as h:
        h.write(b"a", b"b")
        h.advance(3)
        h.crash()
        h.deliver(b"c")
        assert made.durable == [b"a", b"b", b"c"]
        assert h.checkpoint == 2


def test_flush_comes_before_the_checkpoint_of_a_revoke() -> None:
    made = buffering()
    with Harness(made, checkpoint_interval="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.revoke()
        assert made.durable == [b"a"]
        assert h.checkpoint == 0
        assert h.hooks[-3:] == ["flush", "partition_revoked", "close"]


def test_flush_comes_before_end_and_stop() -> None:
    made = buffering()
    with Harness(made, partitions=2, checkpoint_interval="30s") as h:
        h.write(b"a", partition="0")
        h.write(b"b", partition="1")
        h.end(partition="0")
        assert h.checkpoint == Position.END
        assert b"a" in made.durable
        h.stop()
        assert h.checkpoint_of("1") == 0


def test_a_failing_flush_moves_no_checkpoint_and_is_called_again() -> None:
    made = buffering(fails=2)
    with Harness(made, checkpoint_interval="1s") as h:
        h.deliver(b"a")
        assert h.checkpoint == 0
        assert len(h.errors) == 2
        assert made.durable == [b"a"]


def test_a_flush_that_fails_for_good_halts_and_says_why() -> None:
    made = buffering(fails=99)
    notes = Notes()
    with Harness(made, checkpoint_interval="1s", retry_attempts=3, observer=notes) as h:
        h.deliver(b"a")
        assert len(h.errors) == 3
        assert "disk full" in str(h.halted)
        made.fails = 0
        h.advance(31)
        h.settle()
        assert h.halted is None
        assert h.checkpoint == 0
        assert len(notes.named("recovered")) == 1


def test_a_flush_that_fails_for_good_stops_the_process_if_that_is_the_policy() -> None:
    made = buffering(fails=99)
    with Harness(made, checkpoint_interval="1s", retry_attempts=2, on_failure="stop") as h:
        h.deliver(b"a")
        assert h.errors
        assert not h.is_running
    assert h.exit_code == 1
    assert h.checkpoint is None


def test_a_flush_that_fails_at_revoke_gives_back_what_was_flushed_before() -> None:
    made = buffering()
    with Harness(made, checkpoint_interval="2s") as h:
        h.deliver(b"a")
        made.fails = 99
        h.write(b"b")
        h.advance(0.5)
        h.revoke()
        assert h.errors
        assert h.checkpoint == 0


def test_flush_never_runs_beside_process() -> None:
    import asyncio

    class Slow(Processor):
        running = 0
        most = 0

        async def _run(self) -> None:
            type(self).running += 1
            type(self).most = max(self.most, self.running)
            await asyncio.sleep(0.4)
            type(self).running -= 1

        async def process(self, batch: Batch, context: Context) -> None:
            await self._run()

        async def flush(self, context: Context) -> None:
            await self._run()

    with Harness(Slow, checkpoint_interval="300ms", max_batch=2) as h:
        for _ in range(20):
            h.write(b"x")
            h.advance(0.25)
        h.settle()
        assert Slow.most == 1
        assert h.hooks.count("flush") > 3


def test_flushes_are_not_held_up_by_a_record_that_is_retried() -> None:
    class Stuck(Buffering):
        durable: list[bytes | None] = []  # noqa: RUF012

        def process(self, batch: Batch, context: Context) -> None:
            if b"bad" in batch.values():
                raise ValueError
            super().process(batch, context)

    with Harness(Stuck, checkpoint_interval="1s", retry_attempts=20, retry_backoff="30s", max_batch=1) as h:
        h.write(b"a", b"bad")
        h.advance(25)
        assert h.errors
        assert h.checkpoint == 0


def test_a_flush_that_fails_while_the_partition_is_halted_is_not_called_as_fast_as_possible() -> None:
    flushed: list[float] = []

    class Buffering(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            if batch.first.sequence == 1:
                raise ValueError("bad")

        def flush(self, context: Context) -> None:
            flushed.append(h.time)
            if len(flushed) < 50:
                raise OSError("database away")

    with Harness(Buffering, retry_backoff="0s", retry_attempts=3, checkpoint_interval="1s") as h:
        h.write(b"a")
        h.advance(0.3)
        h.write(b"b")
        h.advance(2.7)
        assert h.halted is not None
        assert 10 < len(flushed) < 30
        assert h.errors
        h.crash()

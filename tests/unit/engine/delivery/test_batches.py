"""What a batch is made of: joined up to MAX_BATCH, waited for up to MAX_WAIT, sliced when it is larger."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit.model import Batch
from streamkit.processing import Context, Processor, processor
from streamkit.testing import Harness
from tests.unit.engine.rig import batch


@processor
def handle(batch: Batch, context: Context) -> None:
    return None


def sizes(harness: Harness) -> list[int]:
    return [len(call.records) for call in harness.calls]


def test_no_call_gets_more_than_max_batch() -> None:
    with Harness(handle, max_batch=3) as h:
        h.deliver(*[b"x"] * 8)
        assert max(sizes(h)) == 3
        assert sum(sizes(h)) == 8


def test_a_large_batch_of_the_broker_is_sliced() -> None:
    with Harness(handle, max_batch=4) as h:
        h.write(*[b"x"] * 10)
        h.script.events.append(batch(*range(10)))
        h.settle()
        assert sizes(h) == [4, 4, 2]


def test_what_waits_is_joined() -> None:
    with Harness(handle, max_batch=10) as h:
        h.write(*[b"x"] * 6)
        h.script.events.extend([batch(0, 1), batch(2, 3), batch(4, 5)])
        h.settle()
        assert sizes(h) == [6]


def test_what_is_there_is_delivered_at_once_without_max_wait() -> None:
    with Harness(handle) as h:
        before = h.time
        h.write(b"a")
        h.advance(0.1)
        assert sizes(h) == [1]
        assert h.time - before < 0.2


def test_max_wait_lets_a_batch_fill() -> None:
    with Harness(handle, max_wait="2s", max_batch=3) as h:
        h.write(b"a")
        h.advance(1)
        h.write(b"b")
        h.advance(0.5)
        assert sizes(h) == []
        h.advance(0.6)
        assert sizes(h) == [2]


def test_a_full_batch_does_not_wait() -> None:
    with Harness(handle, max_wait="1h", max_batch=3) as h:
        h.write(b"a", b"b", b"c")
        h.advance(0.1)
        assert sizes(h) == [3]


def test_a_revoke_does_not_wait_for_a_batch_to_fill() -> None:
    with Harness(handle, max_wait="1h") as h:
        h.write(b"a")
        h.advance(1)
        h.revoke(deadline=5)
        assert h.time < 5
        assert sizes(h) == []  # no new calls once the assignment ends


def test_the_end_of_a_partition_does_not_wait_for_a_batch_to_fill() -> None:
    with Harness(handle, max_wait="1h") as h:
        h.write(b"a")
        h.end()
        assert sizes(h) == [1]
        assert h.time < 60


def test_a_flush_does_not_wait_for_a_batch_to_fill() -> None:
    class Buffering(Processor):
        def process(self, batch: Batch, context: Context) -> None:
            return None

        def flush(self, context: Context) -> None:
            return None

    with Harness(Buffering, max_wait="30m", max_batch=2, checkpoint_interval="5s") as h:
        h.write(b"a", b"b", b"c")
        h.advance(11)
        assert h.checkpoint == 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 7), st.sampled_from(["0s", "1s"]))
def test_nothing_is_lost_or_repeated_however_batches_are_cut(parts: list[int], max_batch: int, max_wait: str) -> None:
    with Harness(handle, max_batch=max_batch, max_wait=max_wait) as h:
        total = 0
        h.write(*[b"x"] * sum(parts))
        for count in parts:
            h.script.events.append(batch(*range(total, total + count)))
            total += count
        h.settle()
        assert [record.position.sequence for record in h.seen] == list(range(total))
        assert max(sizes(h)) <= max_batch
        assert h.checkpoint == total - 1

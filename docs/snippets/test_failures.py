"""What each failure policy does, with the Harness; this file itself is run by the tests of the documentation."""

# --8<-- [start:handler]
import asyncio

from streamkit import Batch, Context, Record, Reject, processor, record_processor
from streamkit.testing import Harness

done: list[bytes | None] = []


@record_processor
def handle(record: Record, context: Context) -> Reject | None:
    if record.value == b"not an order":
        return Reject("it never will be one")
    if record.value == b"bad":
        raise ValueError("perhaps next time")
    done.append(record.value)
    return None


# --8<-- [end:handler]


# --8<-- [start:halt]
def test_halt() -> None:
    with Harness(handle, on_failure="halt", retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"b")
        assert h.halted is not None
        assert len(h.errors) == 3
        assert b"b" not in [record.value for record in h.seen]  # it waits behind the bad one
        h.advance(6)
        assert h.checkpoint == 0
    assert h.exit_code == 1


# --8<-- [end:halt]


# --8<-- [start:stop]
def test_stop() -> None:
    with Harness(handle, on_failure="stop", retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"b")
        assert not h.is_running
        assert len(h.errors) == 3
    assert h.exit_code == 1
    assert h.checkpoint == 0


# --8<-- [end:stop]


# --8<-- [start:dead_letter]
def test_dead_letter() -> None:
    with Harness(handle, on_failure="dead_letter", retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"not an order", b"b")
        assert h.put_aside == [(1, "dead_letter"), (2, "dead_letter")]
        assert [letter.value for letter in h.dead_letters] == [b"bad", b"not an order"]
        assert len(h.calls) == 1 + 3 + 1 + 1  # what was rejected had one attempt
        assert h.checkpoint == 3
    assert h.exit_code == 0


# --8<-- [end:dead_letter]


# --8<-- [start:limit]
def test_a_bad_deploy_does_not_drain_the_stream() -> None:
    with Harness(handle, on_failure="dead_letter", retry_attempts=1, dead_letter_max_consecutive=2) as h:
        h.deliver(b"bad", b"bad", b"bad", b"bad")
        assert len(h.dead_letters) == 2
        assert "2 records in a row were put aside before it" in str(h.halted)


# --8<-- [end:limit]


# --8<-- [start:park]
def test_park() -> None:
    with Harness(handle, on_failure="park", retry_attempts=3) as h:
        h.deliver((b"bad", b"anna"), (b"a", b"anna"), (b"b", b"ben"))
        assert h.put_aside == [(0, "park"), (1, "park")]
        assert [letter.value for letter in h.dead_letters] == [b"bad", b"a"]
        assert b"a" not in [record.value for record in h.seen]  # it waits behind the bad one
        assert h.checkpoint == 2
        h.stop()  # and it does so for the next owner
        h.deliver((b"c", b"anna"), (b"d", b"ben"))
        assert [letter.value for letter in h.dead_letters] == [b"bad", b"a", b"c"]


# --8<-- [end:park]


# --8<-- [start:skip]
def test_skip() -> None:
    with Harness(handle, on_failure="skip", retry_attempts=3) as h:
        h.deliver(b"a", b"bad", b"b")
        assert h.put_aside == [(1, "skip")]  # in the log and in the metrics, and nowhere else
        assert h.checkpoint == 2


# --8<-- [end:skip]


# --8<-- [start:bisect]
@processor
def insert(batch: Batch, context: Context) -> None:
    if b"bad" in batch.values():
        raise ValueError("the database refuses all of them")


def test_bisect() -> None:
    with Harness(insert, bisect=True, on_failure="dead_letter", retry_attempts=2) as h:
        h.deliver(*[b"good"] * 5, b"bad", *[b"good"] * 10)
        assert h.put_aside == [(5, "dead_letter")]
        assert [len(call.records) for call in h.calls] == [16, 8, 4, 2, 1, 1, 1, 10]


# --8<-- [end:bisect]


# --8<-- [start:timeout]
@record_processor
async def ask(record: Record, context: Context) -> None:
    await asyncio.sleep(60 if record.value == b"slow" else 0)


def test_timeout() -> None:
    with Harness(ask, process_timeout="5s", retry_attempts=2, on_failure="skip") as h:
        h.deliver(b"a", b"slow", b"b")
        assert h.put_aside == [(1, "skip")]


# --8<-- [end:timeout]

"""Order by key and several calls at once, shown with the Harness; this file itself is run by the tests of the documentation."""

# --8<-- [start:handler]
import asyncio

from streamkit import Context, Record, record_processor
from streamkit.testing import Harness

done: list[str] = []


@record_processor
async def handle(record: Record, context: Context) -> None:
    if record.value == b"declined" and context.attempt == 1:
        raise ConnectionError("the bank does not answer")
    await asyncio.sleep(0.1)  # a call to another service
    done.append(f"{(record.key or b'').decode()} {(record.value or b'').decode()}")


# --8<-- [end:handler]


# --8<-- [start:order]
def test_order_by_key() -> None:
    done.clear()
    with Harness(handle, ordering="key", concurrency=3, retry_backoff="10s", retry_max_backoff="10s") as h:
        h.deliver(
            (b"declined", b"ann"),  # (value, key)
            (b"paid", b"bob"),
            (b"shipped", b"ann"),
            (b"shipped", b"bob"),
            (b"paid", b"cleo"),
        )
        assert done == ["bob paid", "cleo paid", "bob shipped", "ann declined", "ann shipped"]  # ann waited alone
        assert len(h.errors) == 1
        assert h.checkpoint == 4


# --8<-- [end:order]


# --8<-- [start:crash]
def test_a_crash() -> None:
    done.clear()
    with Harness(handle, ordering="key", concurrency=3, retry_backoff="1m", retry_max_backoff="1m", checkpoint_interval="1s") as h:
        h.write((b"paid", b"bob"), (b"declined", b"ann"), (b"paid", b"cleo"), (b"shipped", b"cleo"))
        h.advance(2)
        assert set(done) == {"bob paid", "cleo paid", "cleo shipped"}  # ann waits for her second attempt
        assert h.checkpoint == 0  # everything before ann's record is done, so that is what is saved
        h.crash()
        h.assign()
        assert set(done[3:]) == {"cleo paid", "cleo shipped", "ann declined"}  # what lies above the checkpoint comes again
        assert len(h.errors) == 2
        assert h.checkpoint_of("0") == 3


# --8<-- [end:crash]

"""Tests of small processors with the Harness; this file itself is run by the tests of the documentation."""

# --8<-- [start:first]
from streamkit import Batch, Context, Processor, Record, Reject, Retry, record_processor
from streamkit.testing import Harness

prices: list[int] = []


@record_processor
def handle(record: Record, context: Context) -> Reject | Retry | None:
    if record.value is None:
        return Reject("no price")
    prices.append(int(record.value))
    return None


def test_prices_are_read_and_checkpointed() -> None:
    with Harness(handle) as h:
        h.deliver(b"3", b"4")
        assert prices[-2:] == [3, 4]
        assert h.checkpoint == 1  # the position of the second record: both are done


# --8<-- [end:first]


# --8<-- [start:failures]
def test_a_record_that_is_no_number_halts_its_partition_and_is_not_skipped() -> None:
    with Harness(handle, retry_attempts=3) as h:
        h.deliver(b"3", b"three")
        assert h.halted
        assert len(h.errors) == 3  # looked at; otherwise the first one is raised again at the end of the block
        h.advance(5)  # virtual seconds: the next checkpoint
        assert h.checkpoint == 0  # the record before it


# --8<-- [end:failures]


# --8<-- [start:lifecycle]
class Sum(Processor):
    written: int = 0

    def initialize(self, context: Context) -> None:
        self.sum = 0

    def process(self, batch: Batch, context: Context) -> None:
        self.sum += sum(int(value or b"0") for value in batch.values())

    def flush(self, context: Context) -> None:
        Sum.written += self.sum
        self.sum = 0


def test_what_was_not_flushed_comes_again_after_a_crash() -> None:
    with Harness(Sum) as h:
        h.deliver(b"1", b"2")
        written = Sum.written
        h.write(b"4")
        h.advance(1)  # processed, but neither flushed nor saved
        h.crash()
        h.assign()  # a new owner, from the stored checkpoint
        assert [record.value for record in h.seen] == [b"1", b"2", b"4", b"4"]
        assert Sum.written == written + 4


def test_a_partition_that_is_taken_back_is_flushed_first() -> None:
    with Harness(Sum) as h:
        h.deliver(b"1")
        h.revoke()
        assert h.hooks[-3:] == ["flush", "partition_revoked", "close"]


# --8<-- [end:lifecycle]

"""A record processor of the KCL, as it is written for streamkit; and that it does at a split what it did there. Run by the tests."""

# --8<-- [start:processor]
from streamkit import Batch, Context, LostContext, Processor
from streamkit.testing import Harness


class Totals(Processor):
    def initialize(self, context: Context) -> None:  # initialize(shardId, …)
        self.total = 0

    def process(self, batch: Batch, context: Context) -> None:  # processRecords(records, checkpointer, …)
        for record in batch:
            self.total += int(record.value or b"0")
        # No checkpointer.checkpoint(): what has returned is checkpointed every few seconds, and before the shard is given back.

    def partition_ended(self, context: Context) -> None:  # shardEnded(checkpointer); SHARD_END is written when this returns
        print("the end of", context.partition.id, "goes on in", [child.id for child in context.children])

    def partition_revoked(self, context: Context) -> None:  # shutdownRequested(checkpointer)
        print(context.partition.id, "goes to another worker, or this one stops:", context.reason)

    def partition_lost(self, context: LostContext) -> None:  # leaseLost()
        self.total = 0


# --8<-- [end:processor]


def test_the_hooks_come_as_those_of_the_kcl_did() -> None:
    with Harness(Totals) as h:
        h.deliver(b"1", b"2")
        h.end()
        assert h.hooks[0] == "initialize"
        assert h.hooks[-2:] == ["partition_ended", "close"]
    with Harness(Totals) as h:
        h.deliver(b"1")
        h.revoke()
        assert h.hooks[-2:] == ["partition_revoked", "close"]
        assert h.checkpoint == 0


def test_a_batch_that_fails_is_not_skipped_as_the_kcl_does() -> None:
    with Harness(Totals, retry_attempts=2) as h:
        h.deliver(b"1", b"two", b"3")
        assert h.halted
        assert len(h.errors) == 2

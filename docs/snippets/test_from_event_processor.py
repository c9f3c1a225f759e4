"""A consumer of `EventHubConsumerClient`, as it is written for streamkit; and that it does what it did there. Run by the tests."""

# --8<-- [start:processor]
from streamkit import Batch, Context, LostContext, Processor
from streamkit.testing import Harness


class Totals(Processor):
    def initialize(self, context: Context) -> None:  # on_partition_initialize(partition_context)
        self.total = 0

    def process(self, batch: Batch, context: Context) -> None:  # on_event_batch(partition_context, events)
        for record in batch:
            self.total += int(record.value or b"0")
        # No partition_context.update_checkpoint(): what has returned is checkpointed every few seconds, and before it is given back.

    def partition_revoked(self, context: Context) -> None:  # on_partition_close(partition_context, CloseReason.SHUTDOWN)
        print(context.partition.id, "goes to another worker, or this one stops:", context.reason)

    def partition_lost(self, context: LostContext) -> None:  # on_partition_close(partition_context, CloseReason.OWNERSHIP_LOST)
        self.total = 0


# --8<-- [end:processor]


def test_the_hooks_come_as_the_callbacks_did() -> None:
    with Harness(Totals) as h:
        h.deliver(b"1", b"2")
        h.revoke()
        assert h.hooks[0] == "initialize"
        assert h.hooks[-2:] == ["partition_revoked", "close"]
        assert h.checkpoint == 1


def test_an_exception_does_not_give_the_partition_away() -> None:
    with Harness(Totals, retry_attempts=2) as h:
        h.deliver(b"1", b"two")
        assert h.halted
        assert len(h.errors) == 2
        assert "partition_lost" not in h.hooks

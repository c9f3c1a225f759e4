"""Effects in two phases: a prepared checkpoint says which transaction belongs to which position. Runs on the memory broker."""

# --8<-- [start:prepared]
from typing import ClassVar, Literal

from streamkit import Batch, Context, Processor

committed: dict[bytes, list[bytes | None]] = {}
"""Stands for a system that takes whole transactions, each with a name of ours."""


class Transfer(Processor):
    checkpoint: ClassVar[Literal["automatic", "manual"]] = "manual"
    prepares = True  # a store that keeps no prepared checkpoints refuses to start

    def initialize(self, context: Context) -> None:
        if context.pending is not None:  # an earlier owner died between the phases
            position, transaction = context.pending
            if transaction in committed:  # the effect has happened: the checkpoint follows it
                context.prepare_checkpoint(position, transaction).result().commit()

    def process(self, batch: Batch, context: Context) -> None:
        transaction = str(batch.last).encode()
        prepared = context.prepare_checkpoint(batch.last, transaction).result()  # 1: written down, nothing has moved
        committed[transaction] = list(batch.values())  # 2: the effect
        prepared.commit()  # 3: the checkpoint moves


# --8<-- [end:prepared]

if __name__ == "__main__":
    from streamkit.testing import Harness

    class Dies(Transfer):
        """Dies once, between the effect and the commit."""

        deaths = 0

        def process(self, batch: Batch, context: Context) -> None:
            if Dies.deaths or batch.first.sequence == 0:
                super().process(batch, context)
                return
            Dies.deaths += 1
            transaction = str(batch.last).encode()
            context.prepare_checkpoint(batch.last, transaction).result()
            committed[transaction] = list(batch.values())

    with Harness(Dies) as h:
        h.deliver(b"1", b"2")
        h.write(b"3", b"4")
        h.advance(1)
        h.crash()
        h.deliver(b"5")
        assert committed == {b"1": [b"1", b"2"], b"3": [b"3", b"4"], b"4": [b"5"]}, committed
        assert h.checkpoint == 4

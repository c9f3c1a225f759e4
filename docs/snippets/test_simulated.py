"""Processors in simulated lives; this file itself is run by the tests of the documentation."""

# --8<-- [start:shop]
from collections.abc import Sequence

import pytest

from streamkit import Batch, Context, Processor, Record
from streamkit.testing import SimulationFailed, simulate

sent: set[bytes | None] = set()


class Shop(Processor):
    """Sends orders on, a few at a time."""

    def initialize(self, context: Context) -> None:
        self.waiting: list[bytes | None] = []

    def process(self, batch: Batch, context: Context) -> None:
        self.waiting.extend(batch.values())
        if len(self.waiting) >= 5:
            self.send()

    def partition_revoked(self, context: Context) -> None:
        self.send()

    def partition_ended(self, context: Context) -> None:
        self.send()

    def send(self) -> None:
        sent.update(self.waiting)
        self.waiting.clear()


def all_were_sent(records: Sequence[Record]) -> None:
    missing = [record.value for record in records if record.value not in sent]
    assert not missing, f"{missing[0]!r} was never sent"


# --8<-- [end:shop]


def test_the_shop_forgets() -> None:
    with pytest.raises(SimulationFailed, match="was never sent"):
        simulate(Shop, setup=sent.clear, check=all_were_sent)


# --8<-- [start:mended]
class MendedShop(Shop):
    def flush(self, context: Context) -> None:
        self.send()


def test_nothing_is_forgotten() -> None:
    simulate(MendedShop, setup=sent.clear, check=all_were_sent, seeds=20)


# --8<-- [end:mended]

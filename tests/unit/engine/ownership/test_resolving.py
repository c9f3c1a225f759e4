"""Where a first start begins: many questions at once but not all, and none twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from streamkit.engine.ownership.resolving import AT_ONCE, Resolving
from streamkit.errors import ThrottledError
from streamkit.model import Partition, Position, StartPosition
from streamkit.testing.virtual import VirtualRuntime

PARTITIONS = [Partition("orders", str(number)) for number in range(3 * AT_ONCE)]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Broker:
    """Takes a second for each answer."""

    def __init__(self) -> None:
        self.asked: list[Partition] = []
        self.most = self.now = 0
        self.refused: set[Partition] = set()

    async def resolve(self, partition: Partition, start: StartPosition) -> StartPosition:
        self.asked.append(partition)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(1)
        self.now -= 1
        if partition in self.refused:
            raise ThrottledError("too many")
        return StartPosition.at(Position(int(partition.id)))


def test_so_many_are_asked_at_once_and_the_answers_are_in_order() -> None:
    runtime, broker = VirtualRuntime(1), Broker()
    resolving = Resolving(broker.resolve, runtime.control)
    found = runtime.run(resolving.starts(PARTITIONS, StartPosition.LATEST))
    assert found == [StartPosition.at(Position(number)) for number in range(len(PARTITIONS))]
    assert broker.most == AT_ONCE
    assert runtime.monotonic() <= 2 * len(PARTITIONS) / AT_ONCE
    runtime.stop()


def test_after_a_failure_only_the_rest_is_asked_again() -> None:
    runtime, broker = VirtualRuntime(1), Broker()
    resolving = Resolving(broker.resolve, runtime.control)
    broker.refused = {PARTITIONS[3]}
    with pytest.raises(ThrottledError):
        runtime.run(resolving.starts(PARTITIONS, StartPosition.LATEST))
    assert broker.now == 0, "what was asked has been answered"
    broker.refused.clear()
    runtime.run(resolving.starts(PARTITIONS, StartPosition.LATEST))
    assert [one for one in PARTITIONS if broker.asked.count(one) > 1] == [PARTITIONS[3]]
    runtime.stop()


def test_another_wish_is_another_question() -> None:
    runtime, broker = VirtualRuntime(1), Broker()
    resolving = Resolving(broker.resolve, runtime.control)
    for wish in (StartPosition.LATEST, StartPosition.at_time(NOON)):
        runtime.run(resolving.starts(PARTITIONS[:1], wish))
    assert len(broker.asked) == 2
    assert runtime.run(resolving.starts(PARTITIONS, StartPosition.EARLIEST)) == [StartPosition.EARLIEST] * len(PARTITIONS)
    assert len(broker.asked) == 2
    runtime.stop()


def test_the_time_of_the_first_try_stays_until_its_leases_exist() -> None:
    runtime, broker = VirtualRuntime(1), Broker()
    resolving = Resolving(broker.resolve, runtime.control)
    later = NOON + timedelta(minutes=1)
    assert resolving.began(NOON) == resolving.began(later) == NOON
    runtime.run(resolving.starts(PARTITIONS[:1], StartPosition.LATEST))
    resolving.used()
    assert resolving.began(later) == later
    runtime.run(resolving.starts(PARTITIONS[:1], StartPosition.LATEST))
    assert len(broker.asked) == 2
    runtime.stop()

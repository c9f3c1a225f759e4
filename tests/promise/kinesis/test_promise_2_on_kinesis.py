"""Promise 2 on Kinesis and DynamoDB: LATEST is the group's first start, whoever dies before the first checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.promise.kinesis.running import Place

pytestmark = pytest.mark.integration

MARGIN_SECONDS = 2.0
"""LATEST reaches so far back (docs/brokers/kinesis.md): what must not come is older, by the time that a process takes to start."""
SHARD = "shardId-000000000000"


def test_latest_and_kills_before_the_first_checkpoint_lose_nothing(place: Callable[..., Place]) -> None:
    here = place(1)
    here.write(["old"])
    time.sleep(MARGIN_SECONDS)
    for worker in ("one", "two", "three"):
        here.start(worker, lease_duration="1s", start="latest")
    here.until(lambda: here.lines("begin"), "the first owner")
    here.kill(here.owner(SHARD))
    here.write(["held"], verb="hold")
    here.write(["new"])
    here.until(lambda: here.lines("call"), "the second one is in its first call")
    here.kill(here.owner(SHARD))
    assert here.names() == []
    here.gate.touch()
    here.until(lambda: here.names() == ["held", "new"], "what came after the first start, from the third one")
    assert len({line.worker for line in here.lines("begin")}) == 3

"""Promise 2, with leases in a store: LATEST is the group's first start, whoever dies before the first checkpoint."""

from __future__ import annotations

import time

from tests.promise.workers.running import MakePlace

__all__ = ["test_latest_and_kills_before_the_first_checkpoint_lose_nothing"]


def test_latest_and_kills_before_the_first_checkpoint_lose_nothing(place: MakePlace) -> None:
    here = place()
    first = here.partition(0)
    here.write(["old"])
    time.sleep(here.latest_margin_seconds)
    for worker in ("one", "two", "three"):
        here.start(worker, lease_duration=here.short_lease, start="latest")
    here.until(lambda: here.lines("begin"), "the first owner")
    here.kill(here.owner(first))
    here.write(["held"], verb="hold")
    here.write(["new"])
    here.until(lambda: here.lines("call"), "the second one is in its first call")
    here.kill(here.owner(first))
    assert here.names() == []
    here.gate.touch()
    here.until(lambda: here.names() == ["held", "new"], "what came after the first start, from the third one")
    assert len({line.worker for line in here.lines("begin")}) == 3

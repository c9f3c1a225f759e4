"""Promise 1 on Kinesis and DynamoDB: kill -9 at any moment and records that fail lose nothing; no checkpoint passes what is not done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.promise.kinesis.running import Place

pytestmark = pytest.mark.integration

NAMES = [f"r{number:02}" for number in range(30)]
KILLS = (0, 12)
"""How many different records are done when the owner is killed; the first one dies before its first record."""
SHARD = "shardId-000000000000"
QUICK = {"lease_duration": "1s", "retry_attempts": "1000", "retry_backoff": "50ms", "retry_max_backoff": "50ms"}


def test_nothing_is_lost_when_workers_die_and_records_fail(place: Callable[..., Place]) -> None:
    """And checkpoints move forward only meanwhile (promise 5), from owner to owner."""
    here = place(1)
    for name in NAMES:
        here.write([name], verb="thrice" if name in ("r03", "r20") else "go")
    for worker in ("one", "two", "three"):
        here.start(worker, **QUICK, PACE_SECONDS="0.05")
    saved: list[int] = []

    def done() -> int:
        """How many different records; looks at the checkpoint as well, which is never ahead of them."""
        if here.lines("begin") and (checkpoint := here.rows()[SHARD].checkpoint).isdigit():
            saved.append(int(checkpoint))
            assert saved[-1] <= max(line.sequence for line in here.lines("record"))
        return len(set(here.names()))

    for lives, count in enumerate(KILLS, 1):
        here.until(lambda: len({line.worker for line in here.lines("begin")}) >= lives, f"owner {lives}")  # noqa: B023
        here.until(lambda: done() >= count, f"{count} records are done")  # noqa: B023
        here.kill(here.owner(SHARD))
    here.until(lambda: done() == len(NAMES), "every record is done")
    here.stop(here.owner(SHARD))
    done()
    lines = here.lines("record")
    assert list(dict.fromkeys(line.name for line in lines)) == NAMES, "none is left out, and first sightings are in order"
    assert saved[-1] == lines[-1].sequence
    assert saved == sorted(saved)
    assert len(set(saved)) > 5
    print(f"{len(KILLS)} kills, {len(NAMES)} records delivered {len(lines)} times")


def test_a_record_that_fails_is_never_passed(place: Callable[..., Place]) -> None:
    """Not by a checkpoint either when its worker dies and another one comes."""
    here = place(1)
    here.write(["a", "b"])
    here.write(["bad"], verb="fail")
    here.write(["c", "d"])
    for worker in ("one", "two"):
        here.start(worker, **QUICK)
    here.until(lambda: calls_of(here, "bad") > 3, "it fails again and again")
    before = here.lines("record")[-1]
    here.until(lambda: here.rows()[SHARD].checkpoint == str(before.sequence), "what is done is saved, and no more")
    here.kill(here.owner(SHARD))
    called = calls_of(here, "bad")
    here.until(lambda: calls_of(here, "bad") > called, "the next worker meets it")
    assert here.names() == ["a", "b"]
    assert here.rows()[SHARD].checkpoint == str(before.sequence)
    here.gate.touch()
    here.until(lambda: here.names() == ["a", "b", "bad", "c", "d"], "all are done")


def calls_of(here: Place, name: str) -> int:
    return sum(line.name == name for line in here.lines("call"))

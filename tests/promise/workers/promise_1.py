"""Promise 1, with leases in a store: kill -9 at any moment and records that fail lose nothing; no checkpoint passes what is not done."""

from __future__ import annotations

from tests.promise.workers.running import MakePlace, Place

__all__ = ["test_a_record_that_fails_is_never_passed", "test_nothing_is_lost_when_workers_die_and_records_fail"]

NAMES = [f"r{number:02}" for number in range(30)]
KILLS = (0, 12)
"""How many different records are done when the owner is killed; the first one dies before its first record."""
QUICK = {"retry_attempts": "1000", "retry_backoff": "50ms", "retry_max_backoff": "50ms"}


def test_nothing_is_lost_when_workers_die_and_records_fail(place: MakePlace) -> None:
    """And checkpoints move forward only meanwhile (promise 5), from owner to owner."""
    here = place()
    first = here.partition(0)
    for name in NAMES:
        here.write([name], verb="thrice" if name in ("r03", "r20") else "go")
    for worker in ("one", "two", "three"):
        here.start(worker, lease_duration=here.short_lease, **QUICK, PACE_SECONDS="0.05")
    saved: list[int] = []

    def done() -> int:
        """How many different records; looks at the checkpoint as well, which is never ahead of them."""
        if here.lines("begin") and (sequence := here.leases()[first].sequence) is not None:
            saved.append(sequence)
            assert saved[-1] <= max(line.sequence for line in here.lines("record"))
        return len(set(here.names()))

    for lives, count in enumerate(KILLS, 1):
        here.until(lambda: len({line.worker for line in here.lines("begin")}) >= lives, f"owner {lives}")  # noqa: B023
        here.until(lambda: done() >= count, f"{count} records are done")  # noqa: B023
        here.kill(here.owner(first))
    here.until(lambda: done() == len(NAMES), "every record is done")
    here.stop(here.owner(first))
    done()
    lines = here.lines("record")
    assert list(dict.fromkeys(line.name for line in lines)) == NAMES, "none is left out, and first sightings are in order"
    assert saved[-1] == lines[-1].sequence
    assert saved == sorted(saved)
    assert len(set(saved)) > 5
    print(f"{len(KILLS)} kills, {len(NAMES)} records delivered {len(lines)} times")


def test_a_record_that_fails_is_never_passed(place: MakePlace) -> None:
    """Not by a checkpoint either when its worker dies and another one comes."""
    here = place()
    first = here.partition(0)
    here.write(["a", "b"])
    here.write(["bad"], verb="fail")
    here.write(["c", "d"])
    for worker in ("one", "two"):
        here.start(worker, lease_duration=here.short_lease, **QUICK)
    here.until(lambda: calls_of(here, "bad") > 3, "it fails again and again")
    before = here.lines("record")[-1]
    here.until(lambda: here.leases()[first].sequence == before.sequence, "what is done is saved, and no more")
    here.kill(here.owner(first))
    called = calls_of(here, "bad")
    here.until(lambda: calls_of(here, "bad") > called, "the next worker meets it")
    assert here.names() == ["a", "b"]
    assert here.leases()[first].sequence == before.sequence
    here.gate.touch()
    here.until(lambda: here.names() == ["a", "b", "bad", "c", "d"], "all are done")


def calls_of(here: Place, name: str) -> int:
    return sum(line.name == name for line in here.lines("call"))

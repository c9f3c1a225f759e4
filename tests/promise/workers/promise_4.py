"""Promise 4, with leases in a store: one owner. How soon another one takes over, and what becomes of one that was frozen."""

from __future__ import annotations

from tests.promise.workers.running import MakePlace, Place, Writer

__all__ = [
    "test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed",
    "test_others_take_over_soon_after_sigterm_and_after_kill_9",
]

PARTITIONS = 6
WORKERS = ("one", "two", "three")
LEASE_SECONDS = 20.0
"""Twice the default: so far apart are what was given back and what had to run out that a machine which stands still is not taken for
one that waits."""
GIVEN_BACK_SECONDS = 12.0
"""After SIGTERM; on a quiet machine one or two. What is not given back ends a lease after its last renewal: after 13 at the earliest."""
RUN_OUT_SECONDS = LEASE_SECONDS + 10.0
"""After SIGKILL; on a quiet machine one or two beyond the lease. Who waited for a second one would take 33 at the least."""


def seconds_until_delivered_elsewhere(here: Place, victims: set[str], victim: str, moment: int) -> float:
    """From `moment` to the first record of the last of these partitions that another worker was given."""

    def firsts() -> dict[str, int]:
        later = [line for line in here.lines("call", after=moment) if line.worker != victim]
        return {line.partition: line.at for line in reversed(later)}

    here.until(lambda: victims <= firsts().keys(), f"{victims} of {victim} go on elsewhere", 3 * LEASE_SECONDS)
    return max(at for partition, at in firsts().items() if partition in victims) / 1e9 - moment / 1e9


def test_others_take_over_soon_after_sigterm_and_after_kill_9(place: MakePlace) -> None:
    here = place(PARTITIONS)
    writer = Writer(here, PARTITIONS)
    try:
        for worker in WORKERS:
            here.start(worker, lease_duration=f"{LEASE_SECONDS:g}s")
        here.until(lambda: all(len(here.owned(worker)) == PARTITIONS // 3 for worker in WORKERS), "each has its share")
        here.until(lambda: len({line.partition for line in here.lines("record")}) == PARTITIONS, "all are read")
        victims = here.owned("one")
        after_sigterm = seconds_until_delivered_elsewhere(here, victims, "one", here.stop("one"))
        victims = here.owned("two")
        after_kill = seconds_until_delivered_elsewhere(here, victims, "two", here.kill("two"))
    finally:
        writer.end()
    here.until(lambda: set(here.names()) >= set(writer.written), "nothing is lost")
    print(f"taken over {after_sigterm:.2f} s after SIGTERM, {after_kill:.2f} s after SIGKILL")
    assert after_sigterm <= GIVEN_BACK_SECONDS, "it was given back: nobody had to wait until it is over"
    assert after_kill <= RUN_OUT_SECONDS


def test_a_frozen_worker_cannot_save_afterwards_and_its_successor_is_not_disturbed(place: MakePlace) -> None:
    here = place()
    first = here.partition(0)
    here.write(["a"])
    here.write(["held"], verb="hold")
    here.write(["b", "c"])
    for worker in ("one", "two"):
        here.start(worker, lease_duration=here.short_lease)
    here.until(lambda: "held" in [line.name for line in here.lines("call")], "the owner is in a call")
    frozen = here.owner(first)
    successor = {"one": "two", "two": "one"}[frozen]
    here.freeze(frozen)
    here.gate.touch()
    here.until(lambda: here.names(successor)[-1:] == ["c"], "the successor has done all")
    here.until(lambda: here.leases()[first].sequence == here.lines("record", successor)[-1].sequence, "and saved it")
    woken = here.thaw(frozen)
    here.until(lambda: here.lines("lost", frozen), "the frozen one knows")
    here.write(["d"])
    here.until(lambda: here.names(successor)[-1:] == ["d"], "the successor goes on")
    here.until(lambda: here.leases()[first].sequence == here.lines("record", successor)[-1].sequence, "and saves")
    assert here.lines("saved", frozen, after=woken) == []
    assert [line.name for line in here.lines("call", frozen, after=woken)] == [], "nothing is begun after the lease"
    assert here.lines("begin", after=woken) == here.lines("lost", successor) == here.lines("revoked") == []
    epochs = {line.epoch for line in here.lines("call", successor)}
    assert len(epochs) == 1
    assert epochs.pop() > max(line.epoch for line in here.lines("call", frozen))
    assert here.leases()[first].owner == successor

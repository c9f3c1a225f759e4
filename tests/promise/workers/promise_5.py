"""Promise 5, with leases in a store: an operator's `checkpoints set` is the one way back, and fences whoever was there.

That all others move forward is looked at where workers die: promise_1.py.
"""

from __future__ import annotations

from tests.promise.workers.running import MakePlace

__all__ = ["test_only_an_operator_sets_a_checkpoint_back_and_whoever_was_there_is_fenced"]


def test_only_an_operator_sets_a_checkpoint_back_and_whoever_was_there_is_fenced(place: MakePlace) -> None:
    here = place()
    first = here.partition(0)
    here.write(["a", "b", "c"])
    here.write(["held"], verb="hold")
    here.start("one", lease_duration=here.short_lease)
    here.until(lambda: "held" in [line.name for line in here.lines("call")], "it is in a call")
    here.until(lambda: here.leases()[first].sequence == here.lines("record")[-1].sequence, "what is done is saved")
    refused = here.command("checkpoints", "set", "--all", "earliest", lease_duration=here.short_lease)
    assert refused.returncode == 1, "its owner is alive"
    assert "one" in refused.stderr

    here.freeze("one")
    before = here.leases()[first]
    moved = here.command("checkpoints", "set", "--all", "earliest", lease_duration=here.short_lease)
    assert moved.returncode == 0, moved.stderr
    after = here.leases()[first]
    assert (after.sequence, after.owner) == (None, "")
    assert after.epoch > before.epoch

    here.gate.touch()
    woken = here.thaw("one")
    here.until(lambda: here.lines("lost", "one"), "it has lost the partition")
    here.until(lambda: here.names(after=woken)[-4:] == ["a", "b", "c", "held"], "it takes it again, and begins where the operator said")
    (again,) = here.lines("begin", after=woken)
    assert again.sequence == -1
    assert again.epoch > after.epoch
    assert all(line.epoch == again.epoch for line in here.lines("saved", after=woken)), "nothing of before was saved"

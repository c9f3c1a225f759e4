"""Promise 5 on Kinesis and DynamoDB: an operator's `checkpoints set` is the one way back, and fences whoever was there.

That all others move forward is looked at where workers die: test_promise_1_on_kinesis.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.promise.kinesis.running import Place

pytestmark = pytest.mark.integration

SHARD = "shardId-000000000000"


def test_only_an_operator_sets_a_checkpoint_back_and_whoever_was_there_is_fenced(place: Callable[..., Place]) -> None:
    here = place(1)
    here.write(["a", "b", "c"])
    here.write(["held"], verb="hold")
    here.start("one", lease_duration="1s")
    here.until(lambda: "held" in [line.name for line in here.lines("call")], "it is in a call")
    here.until(lambda: here.rows()[SHARD].checkpoint == str(here.lines("record")[-1].sequence), "what is done is saved")
    refused = here.command("checkpoints", "set", "--all", "earliest", lease_duration="1s")
    assert refused.returncode == 1, "its owner is alive"
    assert "one" in refused.stderr

    here.freeze("one")
    before = here.rows()[SHARD]
    moved = here.command("checkpoints", "set", "--all", "earliest", lease_duration="1s")
    assert moved.returncode == 0, moved.stderr
    after = here.rows()[SHARD]
    assert (after.checkpoint, after.owner) == ("TRIM_HORIZON", None)
    assert after.counter > before.counter

    here.gate.touch()
    woken = here.thaw("one")
    here.until(lambda: here.lines("lost", "one"), "it has lost the shard")
    here.until(lambda: here.names(after=woken)[-4:] == ["a", "b", "c", "held"], "it takes it again, and begins where the operator said")
    (again,) = here.lines("begin", after=woken)
    assert again.sequence == -1
    assert again.epoch > after.counter
    assert all(line.epoch == again.epoch for line in here.lines("saved", after=woken)), "nothing of before was saved"

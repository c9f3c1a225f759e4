"""What operators ask of owners: one partition holds up no other, and nothing is forgotten before it is done."""

from __future__ import annotations

from typing import Any, ClassVar

from streamkit.engine.requests import release_request
from streamkit.errors import CheckpointPositionError
from streamkit.model import Partition
from streamkit.plugin import Grant
from streamkit.testing import Harness
from tests.unit.engine.delivery.test_park import P0, PARK, ask, both, called, names, stored
from tests.unit.engine.rig import failing

P1 = Partition("stream", "1")


def test_a_partition_whose_store_refuses_holds_up_no_other() -> None:
    with Harness(failing({b"a0": 1, b"b0": 1}), **PARK, partitions=2, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"), partition="0")
        h.deliver((b"b0", b"b"), partition="1")
        h.advance(3)

        def refuse(answers: list[Grant | Exception]) -> list[Grant | Exception]:
            saved = next(subject for operation, subject in reversed(h.script.journal) if operation == "save")
            assert isinstance(saved, tuple)
            error = CheckpointPositionError("refused", position=None, low=None, high=None)
            return [error if partition == P0 else answer for partition, answer in zip(saved, answers, strict=True)]

        h.script.answers = refuse
        ask(h, {b"a": names(h, b"a")})
        h.script.requests[P1] = release_request({b"b": names(h, b"b")})
        h.advance(30)
        row = h.script.rows[P1].checkpoint
        assert row is not None
        assert row.parked == {}
        assert list(h.script.requests) == [P0], "it is tried again"
        h.deliver((b"b1", b"b"), partition="1")
        assert called(h, b"b") == [b"b0", b"b1"]
        h.script.answers = lambda answers: answers
        h.advance(10)
        assert h.script.requests == {}
        assert len(h.errors) >= 2
        assert len(h.problems) >= 1


@both
def test_a_request_is_there_until_what_it_asks_for_is_in_the_store(order: dict[str, Any]) -> None:
    """Though it is looked at a second time while the first answer is being saved: a crash must not lose it."""

    class Watched(dict[Partition, str]):
        forgotten: ClassVar[list[set[bytes]]] = []

        def __delitem__(self, partition: Partition) -> None:
            self.forgotten.append(stored(h))
            super().__delitem__(partition)

    Watched.forgotten = []
    with Harness(failing({b"a0": 1}), **PARK, **order, checkpoint_interval="1s") as h:
        h.deliver((b"a0", b"a"))
        h.stop()
        h.script.requests = Watched()
        ask(h, {b"a": names(h, b"a")})
        h.script.save_seconds = 6
        h.assign()
        h.advance(30)
        assert Watched.forgotten == [set()]
        assert stored(h) == set()

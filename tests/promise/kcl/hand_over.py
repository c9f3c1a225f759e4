"""Turns of the KCL and of streamkit on one lease table, and what each turn owes to the one before it.

A turn is one process, from its start to its end. What it delivered is read from its own log; where it began and where it stopped, from the
table itself, in the KCL's own columns. `Proof` then says what was lost, out of order, or repeated without need.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from tests.promise.aws import plain_environment

__all__ = ["Delivery", "Place", "Proof", "Row", "StreamkitWorker", "Turn", "lease_rows"]

HERE = Path(__file__).parent


class Place(NamedTuple):
    """A position, as both sides have it: compared as they compare it."""

    sequence: int
    sub_sequence: int


@dataclass(frozen=True, slots=True)
class Row:
    """The KCL's own columns of a lease."""

    checkpoint: str
    sub_sequence: int
    owner: str | None
    counter: int
    parents: frozenset[str]
    children: frozenset[str]

    @property
    def is_ended(self) -> bool:
        return self.checkpoint == "SHARD_END"

    def has_done(self, place: Place) -> bool:
        """Whether who goes on here leaves this record out."""
        if not self.checkpoint.isdigit():
            return self.is_ended
        return place <= Place(int(self.checkpoint), self.sub_sequence)


class Delivery(NamedTuple):
    time: int
    shard: str
    place: Place
    key: str
    number: int


class Left(Protocol):
    """What a turn leaves of a partition, for the other side to go on from."""

    def has_done(self, place: Place, /) -> bool:
        """Whether who goes on here leaves this record out."""


R = TypeVar("R", bound=Left)


@dataclass(slots=True)
class Turn(Generic[R]):
    """What one of the two did between a start and an end. `begun`, `ended`: a shard and when (nanoseconds, the machine's clock)."""

    name: str
    deliveries: list[Delivery]
    begun: dict[str, int]
    ended: dict[str, int]
    before: Mapping[str, R]
    """The table, or what else it is, when the turn began, and when it was over."""
    after: Mapping[str, R]
    seconds: float


@dataclass(slots=True)
class Proof(Generic[R]):
    """All turns, one after the other."""

    turns: list[Turn[R]] = field(default_factory=list)

    def window(self, turn: Turn[R]) -> set[tuple[str, int]]:
        """The records that had been delivered by then and were not checkpointed: only these may come again."""
        earlier = [delivery for one in self.turns[: self.turns.index(turn)] for delivery in one.deliveries]
        return {(one.key, one.number) for one in earlier if one.shard in turn.before and not turn.before[one.shard].has_done(one.place)}

    def repeated(self, turn: Turn[R]) -> set[tuple[str, int]]:
        earlier = {(one.key, one.number) for before in self.turns[: self.turns.index(turn)] for one in before.deliveries}
        return {(one.key, one.number) for one in turn.deliveries} & earlier

    def prove_turn(self, turn: Turn[R]) -> None:
        """It went on exactly behind the checkpoints: no record of before, none left out, none twice, keys in order."""
        for one in turn.deliveries:
            row = turn.before.get(one.shard)
            assert row is None or not row.has_done(one.place), f"{turn.name}: {one} was checkpointed before, {row}"
        assert self.repeated(turn) == self.window(turn), f"{turn.name}: repeated is not what was delivered and not checkpointed"
        assert len({(one.key, one.number) for one in turn.deliveries}) == len(turn.deliveries), f"{turn.name}: twice in one turn"
        newest: dict[str, int] = {}
        for one in turn.deliveries:
            assert one.number > newest.get(one.key, -1), f"{turn.name}: {one} came after number {newest[one.key]} of its key"
            newest[one.key] = one.number

    def prove_whole(self, written: Mapping[str, int], parents: Mapping[str, Sequence[str]]) -> None:
        """Nothing is lost, keys are first seen in order, both sides have one position for a record, children came after parents."""
        seen: dict[tuple[str, int], tuple[str, Place]] = {}
        newest: dict[str, int] = {}
        for one in (delivery for turn in self.turns for delivery in turn.deliveries):
            place = seen.setdefault((one.key, one.number), (one.shard, one.place))
            assert place == (one.shard, one.place), f"{one} was at {place} before"
            assert one.number <= newest.get(one.key, -1) + 1, f"{one} was first seen after number {newest.get(one.key, -1)} of its key"
            newest[one.key] = max(newest.get(one.key, -1), one.number)
        lost = {(key, number) for key, count in written.items() for number in range(count)} - set(seen)
        assert not lost, f"lost: {sorted(lost)[:10]}"
        begun = {shard: moment for turn in reversed(self.turns) for shard, moment in turn.begun.items()}
        ended = {shard: moment for turn in reversed(self.turns) for shard, moment in turn.ended.items()}
        for shard, above in parents.items():
            for parent in above:
                assert ended[parent] < begun[shard], f"{shard} began before its parent {parent} had ended"

    def figures(self) -> str:
        """A line for each turn."""
        return "\n".join(
            f"{turn.name}: {len(turn.deliveries)} deliveries, {len(self.repeated(turn))} repeats, {len(self.window(turn))} allowed, "
            f"shards {len(turn.begun)} begun {len(turn.ended)} ended, {turn.seconds:.1f} s"
            for turn in self.turns
        )


class StreamkitWorker:
    """`streamkit run` on the processor beside this file."""

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str]) -> None:
        self._log, self._errors = folder / f"{name}.log", folder / f"{name}.err"
        told = plain_environment() | dict(environment) | {"STREAMKIT_WORKER": name, "WORKER_LOG": str(self._log)}
        with self._errors.open("wb") as errors:
            command = [sys.executable, "-m", "streamkit", "run", "work:Noting"]
            self._process = subprocess.Popen(command, cwd=HERE, env=told, stdout=errors, stderr=errors)

    def _lines(self, what: str) -> list[Delivery]:
        """Complete lines of this kind."""
        found = []
        text = self._log.read_text() if self._log.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():
            moment, kind, shard, sequence, sub_sequence, key, number = line.split()
            if kind == what:
                found.append(Delivery(int(moment), shard, Place(int(sequence), int(sub_sequence)), key, int(number)))
        return sorted(found)

    def deliveries(self) -> list[Delivery]:
        return self._lines("record")

    def held(self) -> list[Delivery]:
        """Where it waits to be stopped."""
        return self._lines("held")

    def times(self, what: str) -> dict[str, int]:
        """The first of this kind for each shard."""
        return {line.shard: line.time for line in reversed(self._lines(what))}

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process.poll() is None, f"it ended with {self._process.returncode}\n{self.said()}"
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{self.said()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, and it ends in order."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(60) == 0, self.said()

    def kill(self) -> None:
        """SIGKILL: it gives nothing back."""
        self._process.kill()
        self._process.wait(30)

    def refusal(self) -> str:
        """What it said, when it has ended by itself, not having begun."""
        assert self._process.wait(60) != 0, self.said()
        return self.said()

    def said(self) -> str:
        return self._errors.read_text()[-6000:]

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait(30)


def lease_rows(dynamodb: Any, table: str) -> dict[str, Row]:
    """The table as the KCL reads it; `dynamodb` is a client of boto3, which has no types."""
    found = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            found[item["leaseKey"]["S"]] = Row(
                item["checkpoint"]["S"],
                int(item["checkpointSubSequenceNumber"]["N"]),
                item["leaseOwner"]["S"] if "leaseOwner" in item else None,
                int(item["leaseCounter"]["N"]),
                frozenset(item["parentShardId"]["SS"] if "parentShardId" in item else ()),
                frozenset(item["childShardIds"]["SS"] if "childShardIds" in item else ()),
            )
    return found

"""What must hold after a run under fire, from the workers' own logs, the events of the hub, and the blobs as they were all the while."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from azure.core.exceptions import AzureError
from streamkit_sandbox.eventhubs.service import ReaderInfo

from tests.promise.eventhubs.running import EventHubsPlace
from tests.promise.workers.running import Line, Row

__all__ = ["Watch", "prove_epochs", "prove_nothing_lost", "prove_order", "prove_readers", "prove_silence_after_loss"]

LOOK_SECONDS = 0.3


class Watch:
    """Looks at the checkpoint blobs again and again. A context manager; leaving it raises AssertionError for what went back."""

    def __init__(self, place: EventHubsPlace) -> None:
        self.looks = self.blind = 0
        """How often it has seen the blobs, and how often nobody answered."""
        self._place = place
        self._newest: dict[str, Row] = {}
        self._problems: list[str] = []
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch of the blobs")

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        self.check()

    def check(self) -> None:
        """Raises AssertionError if an epoch or a position has gone back by now."""
        assert not self._failures, self._failures
        assert not self._problems, self._problems[:10]

    def forget_places(self) -> None:
        """The store was killed: it may have lost its last seconds, and places that only they had."""
        with self._lock:
            self._newest = {}

    def _run(self) -> None:
        try:
            while not self._over.wait(LOOK_SECONDS):
                self._look()
        except BaseException as error:
            self._failures.append(error)

    def _look(self) -> None:
        with self._lock:
            try:
                rows = self._place.leases()
            except AzureError:
                self.blind += 1
                return
            self.looks += 1
            for partition, row in rows.items():
                before = self._newest.get(partition, row)
                if row.epoch < before.epoch or _sequence(row) < _sequence(before):
                    self._problems.append(f"partition {partition} went back from {before} to {row}")
                if row.epoch == before.epoch and row.owner and before.owner and row.owner != before.owner:
                    self._problems.append(f"partition {partition}: two owners have one epoch: {before} and {row}")
            self._newest = {**self._newest, **rows}


def prove_nothing_lost(lines: Sequence[Line], log: Mapping[str, Collection[int]], written: Collection[str]) -> None:
    """Every event of the hub was done, and every record that its producer was told is there."""
    done = {(line.partition, line.sequence) for line in lines if line.what == "record"}
    lost = sorted({(partition, sequence) for partition, sequences in log.items() for sequence in sequences} - done)
    assert not lost, f"{len(lost)} lost: {lost[:10]}"
    names = set(written) - {line.name for line in lines if line.what == "record"}
    assert not names, f"{len(names)} acknowledged and never seen: {sorted(names)[:10]}"


def prove_order(lines: Sequence[Line]) -> None:
    """First sightings in order, in each partition."""
    newest: dict[str, int] = defaultdict(lambda: -1)
    seen = set()
    for line in lines:
        if line.what != "record" or (line.partition, line.sequence) in seen:
            continue
        seen.add((line.partition, line.sequence))
        assert line.sequence > newest[line.partition], f"first seen after {newest[line.partition]}: {line}"
        newest[line.partition] = line.sequence


def prove_epochs(lines: Sequence[Line]) -> None:
    """An epoch begins once, by one worker, and processors see them rise. A call that ran when another owner came may be noted late."""
    begun = Counter((line.partition, line.epoch) for line in lines if line.what == "begin")
    assert max(begun.values()) == 1, f"begun twice: {[key for key, count in begun.items() if count > 1]}"
    newest: dict[str, int] = defaultdict(int)
    late: Counter[tuple[str, int]] = Counter()
    for line in lines:
        if line.what in ("begin", "call"):
            if line.epoch < newest[line.partition]:
                late[line.partition, line.epoch] += 1
                assert late[line.partition, line.epoch] == 1, f"after epoch {newest[line.partition]}: {line}"
            newest[line.partition] = max(line.epoch, newest[line.partition])


def prove_silence_after_loss(lines: Sequence[Line]) -> None:
    """Who has lost a partition begins nothing more of it and saves nothing more, nor does it save behind its successor's back."""
    lost = {(line.worker, line.partition, line.epoch): line.at for line in lines if line.what == "lost"}
    for line in lines:
        since = lost.get((line.worker, line.partition, line.epoch))
        assert since is None or line.what not in ("call", "saved") or line.at < since, f"{line} after the loss"
    saves: dict[tuple[str, int], list[int]] = defaultdict(list)
    for line in lines:
        if line.what == "saved":
            saves[line.partition, line.epoch].append(line.sequence)
    for key, sequences in saves.items():
        assert all(before <= after for before, after in pairwise(sequences)), f"checkpoints of {key} went back: {sequences}"


def prove_readers(lines: Sequence[Line], admitted: Sequence[ReaderInfo]) -> None:
    """The service knows the same owners: what a processor was called with was read by a link of that owner level, and none was without."""
    assert None not in {reader.epoch for reader in admitted}, "somebody read without an owner level"
    known = {(reader.partition, reader.epoch) for reader in admitted}
    unknown = {(line.partition, line.epoch) for line in lines if line.what == "call"} - known
    assert not unknown, f"called without a link of that owner level: {sorted(unknown)[:10]}"


def _sequence(row: Row) -> int:
    return -1 if row.sequence is None else row.sequence

"""Releasing parked keys after a replay: which letters have been dealt with, and telling whoever owns the partitions.

An owner decides itself, by a request in the store: it alone knows the newest letter of a key. Where nobody owns anything, this
process is the owner for as long as one save takes, fenced like any other.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamkit.cli.connection import Connection, connect
from streamkit.cli.letters import first, replay_overrides, starts
from streamkit.cli.output import remark
from streamkit.cli.owners import refusal
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.parked import Replayed, is_replayed, still_parked, without
from streamkit.engine.requests import release_request
from streamkit.model import Checkpoint, Partition, Position, Record, StartPosition

__all__ = ["Released", "release"]

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 5.0
"""So long an owner may take to answer, beyond the two checkpoint intervals in which it looks."""


@dataclass(frozen=True, slots=True)
class Released:
    """What has come of it."""

    keys: int
    left: int
    """Keys that are still parked."""
    more: bool
    """Another round may help: there are letters that no replay has dealt with, or an owner that has come meanwhile."""


def release(config: Path | None, given: Mapping[str, object]) -> Released:
    """Have the keys called again of which every letter has been dealt with. `given`: settings of the app's own code."""
    with connect(config, given) as app:
        before = _parked(app)
        if not before:
            return Released(0, 0, more=False)
        with connect(config, replay_overrides(config, given)) as letters:
            replayed = _replayed(letters, app.settings.group)
            wanted = {partition: replayed.of(checkpoint.parked) for partition, checkpoint in before.items()}
            _tell(app, letters, {partition: found for partition, found in wanted.items() if found})
            after = _parked(app)
            is_news = any(before[partition].parked != checkpoint.parked for partition, checkpoint in after.items() if partition in before)
            more = is_news or bool(first(letters, starts(letters), 1))
    left = _keys(after)
    return Released(len(_keys(before) - left), len(left), more)


def _parked(app: Connection) -> dict[Partition, Checkpoint]:
    """What has ended is not asked: its children have what it has parked."""
    return {c.partition: c for c in app.checkpoints() if still_parked(c.parked) and not c.at.is_end}


def _keys(found: Mapping[Partition, Checkpoint]) -> set[tuple[str, bytes]]:
    """Of all partitions of a stream, since both children of one that was split take what it has parked."""
    return {(partition.stream, key) for partition, checkpoint in found.items() for key in still_parked(checkpoint.parked)}


def _replayed(letters: Connection, group: str) -> Replayed:
    """All of the target is read: a letter that was dealt with long ago may be the last of its key, and one that waits keeps it parked."""
    found = Replayed(group)
    ends = _ends(letters)

    def see(record: Record) -> bool:
        letter = original_of(record)
        if isinstance(letter, Letter):
            end = ends.get(record.partition)
            found.see(letter, is_dealt_with=end is not None and record.position <= end)
        return True

    letters.read({partition: letters.resolve(partition, StartPosition.EARLIEST) for partition in letters.partitions()}, see)
    return found


def _ends(letters: Connection) -> dict[Partition, Position]:
    """How far replays have come in each partition of the target, unless it has been made anew since."""
    stored = {checkpoint.partition: checkpoint for checkpoint in letters.checkpoints()}
    found = {}
    for partition in letters.partitions():
        checkpoint = stored.get(partition)
        if checkpoint is None or checkpoint.at.kind != "after" or checkpoint.at.position is None:
            continue
        incarnation = checkpoint.partition.incarnation
        if "" in (incarnation, partition.incarnation) or incarnation == partition.incarnation:
            found[partition] = checkpoint.at.position
    return found


def _tell(app: Connection, letters: Connection, wanted: Mapping[Partition, Mapping[bytes, set[str]]]) -> None:
    """Whoever owns these, or do it ourselves."""
    if wanted and refusal(app) is None:
        fenced = app.own(list(wanted), lambda found: _released(letters, app.settings.group, found))
        if app.members():  # somebody has joined meanwhile, and may have written a letter before we have fenced it
            fenced = list(wanted)
        wanted = {partition: replayed for partition, replayed in wanted.items() if partition in fenced}
    texts = {partition: release_request(replayed) for partition, replayed in wanted.items()}
    for partition, text in texts.items():
        app.ask(partition, text)
    until = time.monotonic() + 2 * app.settings.checkpoint_interval.total_seconds() + PATIENCE_SECONDS
    while texts and time.monotonic() < until:
        waiting = app.requests()
        if not any(waiting.get(partition) == text for partition, text in texts.items()):
            return
        time.sleep(LOOK_SECONDS)
    if texts:
        remark("not every owner has answered: the request waits for whoever reads the partition next")


def _released(letters: Connection, group: str, owned: Sequence[Checkpoint]) -> Sequence[Checkpoint]:
    """As they are saved. The target is read again: nobody else writes to it any more, so what there is now is all."""
    replayed = _replayed(letters, group)
    changed = []
    for checkpoint in owned:
        found = replayed.of(checkpoint.parked)
        keys = [key for key, names in found.items() if is_replayed(checkpoint.parked[key], names)]
        changed.append(replace(checkpoint, parked=without(checkpoint, keys)))
    return changed

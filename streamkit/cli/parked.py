"""Releasing parked keys after a replay: which letters have been dealt with, and telling whoever owns the partitions.

An owner decides itself, by a request in the store: it alone knows the newest letter of a key. Where nobody owns anything, this
process is the owner for as long as one save takes, fenced like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from streamkit.cli.connection import Connection, connect
from streamkit.cli.letters import first, replay_overrides, starts
from streamkit.cli.output import remark
from streamkit.cli.owners import refusal
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.markers import is_replayed
from streamkit.engine.requests import release_request
from streamkit.errors import FencedError
from streamkit.model import Checkpoint, Partition, Record, StartPosition

__all__ = ["Released", "release"]

LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 5.0
"""So long an owner may take to answer, beyond the two checkpoint intervals in which it looks."""

Replayed = Mapping[bytes, set[str]]
"""For each key the last of its letters that were dealt with, one of each partition that wrote any."""


@dataclass(frozen=True, slots=True)
class Released:
    """What has come of it."""

    keys: int
    left: int
    """Keys that are still parked."""
    more: bool
    """Letters wait that no replay has dealt with."""


def release(config: Path | None, given: Mapping[str, object]) -> Released:
    """Have the keys called again of which every letter has been dealt with. `given`: settings of the app's own code."""
    with connect(config, given) as app:
        before = _parked(app)
        if not before:
            return Released(0, 0, more=False)
        group, streams = app.settings.group, {partition.stream for partition in before}
        keys = {key for checkpoint in before.values() for key in checkpoint.parked}
        with connect(config, replay_overrides(config, given)) as letters:
            replayed = _dealt_with(letters, lambda letter: letter.group == group and letter.origin_stream in streams and letter.key in keys)
            wanted = {p: {key: replayed[key] for key in checkpoint.parked if key in replayed} for p, checkpoint in before.items()}
            _tell(app, {partition: found for partition, found in wanted.items() if found})
            left = sum(len(checkpoint.parked) for checkpoint in _parked(app).values())
            more = bool(first(letters, starts(letters), 1))
    return Released(sum(len(checkpoint.parked) for checkpoint in before.values()) - left, left, more)


def _parked(app: Connection) -> dict[Partition, Checkpoint]:
    """What has ended is not asked: its children have what it has parked."""
    return {c.partition: c for c in app.checkpoints() if c.parked and not c.at.is_end}


def _dealt_with(letters: Connection, is_ours: Callable[[Letter], bool]) -> dict[bytes, set[str]]:
    """All of the target is read, up to where replays have come: a letter that was dealt with long ago may be the last of its key."""
    ends = {c.partition: c.at.position for c in letters.checkpoints() if c.at.kind == "after" and c.at.position is not None}
    last: dict[bytes, dict[tuple[str, str], str]] = {}

    def see(record: Record) -> bool:
        if record.position <= ends[record.partition]:
            letter = original_of(record)
            if isinstance(letter, Letter) and letter.parked and letter.key is not None and is_ours(letter):
                last.setdefault(letter.key, {})[letter.origin_stream, letter.origin_partition] = letter.parked.partition(" ")[2]
        return True

    begin = {p: letters.resolve(p, StartPosition.EARLIEST) for p in letters.partitions() if p in ends and _is_same(letters, p)}
    if begin:
        letters.read(begin, see)
    return {key: set(found.values()) for key, found in last.items()}


def _is_same(letters: Connection, partition: Partition) -> bool:
    """The target has not been made anew since the last replay."""
    stored = next((c.partition.incarnation for c in letters.checkpoints() if c.partition == partition), "")
    return "" in (stored, partition.incarnation) or stored == partition.incarnation


def _tell(app: Connection, wanted: Mapping[Partition, Replayed]) -> None:
    if not wanted:
        return
    if refusal(app) is None:
        for partition, replayed in wanted.items():
            try:
                app.own(partition, partial(_without, replayed))
            except FencedError:  # somebody has come meanwhile
                app.ask(partition, release_request(replayed))
        return
    texts = {partition: release_request(replayed) for partition, replayed in wanted.items()}
    for partition, text in texts.items():
        app.ask(partition, text)
    until = time.monotonic() + 2 * app.settings.checkpoint_interval.total_seconds() + PATIENCE_SECONDS
    while time.monotonic() < until:
        waiting = app.requests()
        if not any(waiting.get(partition) == text for partition, text in texts.items()):
            return
        time.sleep(LOOK_SECONDS)
    remark("not every owner has answered: the request waits for whoever reads the partition next")


def _without(replayed: Replayed, checkpoint: Checkpoint) -> Checkpoint:
    kept = {key: one for key, one in checkpoint.parked.items() if not is_replayed(one, replayed.get(key, ()))}
    return replace(checkpoint, parked=kept)

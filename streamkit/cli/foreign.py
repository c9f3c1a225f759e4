"""`streamkit checkpoints import --from` and `export --to`: taking a group over from another program, and giving it back.

Two programs that read one stream as one group would process everything twice, and the one that is stopped later would lose what
the other has done. So nothing is taken or given while a worker of either is alive: its rows are watched for a while.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streamkit.cli.checkpoint_lines import adopted
from streamkit.cli.connection import Connection, connect
from streamkit.cli.output import remark
from streamkit.cli.owners import refusal
from streamkit.engine.parked import still_parked
from streamkit.errors import ConfigurationError, OwnershipError
from streamkit.model import Checkpoint, Lease, Partition, StartPosition
from streamkit.plugin import Foreign

__all__ = ["WATCH_SECONDS", "Watch", "export_to", "store", "taken_over"]

LOOK_SECONDS = 1.0
WATCH_SECONDS = 15.0
Watch = Annotated[
    float,
    typer.Option("--watch", metavar="SECONDS", min=0, help="With a table: so long nothing of the other program may move in it."),
]


def taken_over(
    connection: Connection,
    source: str,
    stored: Mapping[Partition, Checkpoint],
    *,
    table: str | None,
    file: Path | None,
    watch: float,
    force: bool,
) -> list[Checkpoint]:
    """What the other program has stored, as this group will keep it, for partitions that are there or have ended.

    Raises OwnershipError if one of its workers is alive or may be, ConfigurationError for a row that cannot be understood.
    """
    partitions = connection.partitions(StartPosition.EARLIEST)
    if table is not None:
        found = connection.foreign(table, partitions)
        if connection.is_store(found):
            raise ConfigurationError(
                f"{table!r} is this group's own store: there is nothing to import",
                fix="start the workers: they go on with its rows as they are",
            )
        if not force:
            found = _watched(lambda: connection.foreign(table, partitions), found, source, watch)
    else:
        assert file is not None  # the command has seen to that
        found = connection.exchange.parse(_text(file), partitions, connection.settings.start)
        if not force:
            _refuse_alive(found, source)
            cause = f"a file does not tell whether a worker of {source} is alive"
            raise OwnershipError(cause, fix="make sure that none is, then add --force; --table watches the table itself")
    for text in found.remarks:
        remark(text)
    if not found.checkpoints:
        raise ConfigurationError(f"{table or file} holds no checkpoints", fix=f"name what {source} has written")
    _refuse_gone(found.checkpoints, partitions)
    for one in found.checkpoints:
        _refuse_parked(stored.get(one.partition))
    return _begun(connection, adopted(found.checkpoints, partitions, stored), stored)


def _watched(read: Callable[[], Foreign], first: Foreign, source: str, seconds: float) -> Foreign:
    """As it is after the old workers were seen to do nothing for so long."""
    found = first
    _refuse_alive(found, source)
    if first.signs and seconds > 0:
        remark(f"watching for {seconds:g}s whether a worker of {source} is alive")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(LOOK_SECONDS, left))
        found = read()
        _refuse_alive(found, source)
        _refuse_moved(first.signs, found.signs, source)
    return found


def _refuse_alive(found: Foreign, source: str) -> None:
    if found.alive:
        raise OwnershipError(f"a worker of {source} is alive: {found.alive[0]}", fix="stop its workers, wait until their leases are over")


def _refuse_moved(before: Mapping[str, str], now: Mapping[str, str], source: str) -> None:
    for row in before.keys() | now.keys():
        if before.get(row) != now.get(row):
            was, is_now = before.get(row, "absent"), now.get(row, "gone")
            cause = f"a worker of {source} is alive: its row {row} was {was}, and is {is_now}"
            raise OwnershipError(cause, fix="stop all of its workers, then try again; --force goes ahead beside them")


def _refuse_gone(checkpoints: Sequence[Checkpoint], partitions: Sequence[Partition]) -> None:
    there = set(partitions)
    gone = [str(one.partition) for one in checkpoints if one.partition not in there and not one.at.is_end]
    if gone:
        raise ConfigurationError(
            f"not in the stream any more, and not done: {', '.join(gone)}",
            fix="if this is the right stream, their records have expired: take these rows out of a file of the table, and import that",
        )


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}", fix="name a file with the rows of the table") from None


def _begun(connection: Connection, checkpoints: Sequence[Checkpoint], stored: Mapping[Partition, Checkpoint]) -> list[Checkpoint]:
    """As this group keeps them: LATEST becomes now, and now is when the group has begun, if it had not. A lease names children once it
    has ended."""
    times = [one.group_started for one in stored.values() if one.group_started is not None]
    started = min(times, default=datetime.now(UTC))
    found = []
    for one in checkpoints:
        at = connection.resolve(one.partition, one.at) if one.at == StartPosition.LATEST else one.at
        partition = one.partition if at.is_end else replace(one.partition, children=())
        found.append(replace(one, partition=partition, at=at, group_started=started))
    return found


def store(connection: Connection, checkpoints: Sequence[Checkpoint]) -> None:
    """Rows that are not there are made as leases, with the children that they name; in others the checkpoint is overwritten."""
    stored = {one.partition for one in connection.checkpoints()}
    connection.create([Lease(one.partition, checkpoint=one) for one in checkpoints if one.partition not in stored])
    made = {one.partition: one.at for one in connection.checkpoints()}
    for one in checkpoints:
        if one.partition in stored or one.partition not in made:  # a row without a checkpoint stays as it is when it is made again
            connection.overwrite(one)
    kept = {one.partition: one.at for one in connection.checkpoints()}
    for one in checkpoints:
        if kept.get(one.partition) != one.at:
            cause = f"{one.partition} stands at {kept.get(one.partition)} and not at {one.at}: somebody else writes to the store"
            raise OwnershipError(cause, fix="stop the group's workers, and import again")


def export_to(target: str, table: str | None, config: Path | None, *, watch: float, force: bool) -> None:
    """Print the rows of another program, or put them into its table. Raises as `taken_over`."""
    with connect(config, exchange=target) as connection:
        if table is not None:
            _refuse_living(connection, target, table, watch=watch, force=force)
        leases = _exported(connection)  # after that: a worker that drained meanwhile has saved its last ones
        made = connection.exchange.export(leases) if table is None else connection.give(table, leases)
    for text in made.remarks:
        remark(text)
    print(made.text, end="")
    if table is not None:
        remark(f"{len(leases)} rows are in {table!r}, and belong to nobody")


def _exported(connection: Connection) -> list[Lease]:
    """All partitions of STREAMKIT_STREAM with a checkpoint, with their lineage. Raises ConfigurationError for parked keys."""
    leases = {lease.partition: lease for lease in connection.leases() or ()}
    found = []
    there = {partition: partition for partition in connection.partitions(StartPosition.EARLIEST)}
    streams = {partition.stream for partition in there}
    for checkpoint in connection.checkpoints():
        if checkpoint.partition.stream not in streams:
            remark(f"{checkpoint.partition}: of no stream that STREAMKIT_STREAM names, and left out")
            continue
        _refuse_parked(checkpoint)
        found.append(_with_lineage(checkpoint, leases.get(checkpoint.partition), there.get(checkpoint.partition)))
    done = {lease.partition for lease in found}
    for partition in leases.keys() - done:
        if partition.stream in streams:
            remark(f"{partition}: nobody has found out yet where it begins, and it is left out")
    if not found:
        raise ConfigurationError(f"group {connection.settings.group} has no checkpoints", fix="check STREAMKIT_GROUP and STREAMKIT_STORE")
    return found


def _refuse_parked(checkpoint: Checkpoint | None) -> None:
    """The other program would call keys that are parked, or, on the way here, their marks would be lost."""
    if checkpoint is not None and still_parked(checkpoint.parked) and not checkpoint.at.is_end:
        raise ConfigurationError(
            f"{checkpoint.partition} has parked keys, which would be called again out of order",
            fix="release them first: streamkit dead-letters replay",
        )


def _with_lineage(checkpoint: Checkpoint, lease: Lease | None, listed: Partition | None) -> Lease:
    known = [one for one in (lease.partition if lease else None, listed, checkpoint.partition) if one is not None]
    partition = replace(
        known[0],
        parents=next((one.parents for one in known if one.parents), ()),
        children=next((one.children for one in known if one.children), ()),
        key_range=next((one.key_range for one in known if one.key_range is not None), None),
        incarnation=next((one.incarnation for one in known if one.incarnation), ""),
    )
    return Lease(partition, checkpoint=checkpoint)


def _refuse_living(connection: Connection, target: str, table: str, *, watch: float, force: bool) -> None:
    """Raises OwnershipError while a worker of ours or of the other program is alive, ConfigurationError for our own table."""
    refused = None if force else refusal(connection)
    if refused is not None:
        raise refused
    partitions = connection.partitions(StartPosition.EARLIEST)
    if connection.has_table(table):
        found = connection.foreign(table, partitions)
        if connection.is_store(found):
            cause = f"{table!r} is this group's own store: there is nothing to export"
            raise ConfigurationError(cause, fix=f"stop the workers, and start those of {target}: they go on with its rows as they are")
        if not force:
            _watched(lambda: connection.foreign(table, partitions), found, target, watch)

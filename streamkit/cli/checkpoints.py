"""`streamkit checkpoints`: look at the positions of a group, and put them elsewhere.

Putting them elsewhere beside a living worker would be undone by its next checkpoint, or make it stop: so it is refused
unless nobody is there, or `--force` says that the user knows better. The epoch rises, and every older owner is fenced.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from streamkit.cli.checkpoint_lines import adopted, parsed
from streamkit.cli.connection import Connection, connect
from streamkit.cli.foreign import WATCH_SECONDS, Watch, export_to, store, taken_over
from streamkit.cli.output import ConfigFile, JsonFlag, examples, print_json, print_table, remark
from streamkit.cli.owners import refusal
from streamkit.engine.parked import after_a_claim, inherited, still_parked
from streamkit.errors import ConfigurationError
from streamkit.model import Checkpoint, ParkedKey, Partition, Position, StartPosition

__all__ = ["application"]

application = typer.Typer(help="Look at a group's checkpoints, or put them elsewhere.", no_args_is_help=False)

LIST_EXAMPLES = examples("streamkit checkpoints list", "streamkit checkpoints list --json > positions.json")
SET_EXAMPLES = examples(
    "streamkit checkpoints set --all earliest --dry-run",
    "streamkit checkpoints set --all 2025-01-31T09:00:00Z",
    "streamkit checkpoints set orders/3 1200",
)
EXPORT_EXAMPLES = examples(
    "streamkit checkpoints export > positions.jsonl",
    "streamkit checkpoints export --to kcl --table orders-app",
)
IMPORT_EXAMPLES = examples(
    "streamkit checkpoints import positions.jsonl --dry-run",
    "streamkit checkpoints export | STREAMKIT_STORE=sqlite streamkit checkpoints import -",
    "streamkit checkpoints import --from kcl --table orders-app",
)

_POSITION = re.compile(r"(\d+)(?:\.(\d+))?")
_POSITION_FORMS = "write earliest, latest, an ISO time such as 2025-01-31T09:00:00Z, or the number of the next record"


@application.callback(invoke_without_command=True)
def _begin(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@application.command("list", epilog=LIST_EXAMPLES)
def list_checkpoints(config: ConfigFile = None, as_json: JsonFlag = False) -> None:
    """Show the stored checkpoints of STREAMKIT_GROUP, of every stream."""
    with connect(config) as connection:
        found = connection.checkpoints()
    if as_json:
        print_json([_json(checkpoint) for checkpoint in found])
        return
    rows = [(str(c.partition), str(c.at), c.owner or "-", str(c.epoch), c.metadata) for c in found]
    print_table(("partition", "checkpoint", "owner", "epoch", "metadata"), rows)


@application.command("set", epilog=SET_EXAMPLES)
def set_checkpoints(
    partition: Annotated[
        str | None, typer.Argument(metavar="[PARTITION]", help="One partition: its id, or STREAM/ID.", show_default=False)
    ] = None,
    position: Annotated[
        str | None,
        typer.Argument(metavar="[POSITION]", help="earliest, latest, an ISO time, or the number of the next record.", show_default=False),
    ] = None,
    everywhere: Annotated[
        str | None, typer.Option("--all", metavar="POSITION", help="Put every partition of STREAMKIT_STREAM there.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do it even if a worker may be running: its work since is done again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Put checkpoints elsewhere, backwards too. Stop the group's workers first."""
    wanted, text = _wanted(partition, position, everywhere)
    start = _start(text)
    with connect(config) as connection:
        chosen = _choose(connection.partitions(), wanted)
        _write(connection, lambda: _changes(connection, chosen, start), force=force, dry_run=dry_run, as_json=as_json)


@application.command("export", epilog=EXPORT_EXAMPLES)
def export_checkpoints(
    to: Annotated[
        str | None, typer.Option("--to", metavar="PROGRAM", help="As another program keeps them: kcl.", show_default=False)
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="With --to: put them into that program's table.", show_default=False)
    ] = None,
    watch: Watch = WATCH_SECONDS,
    force: Annotated[bool, typer.Option("--force", help="With --table: do it even if a worker may be running.")] = False,
    config: ConfigFile = None,
) -> None:
    """Write the stored checkpoints of STREAMKIT_GROUP to stdout, one JSON object a line: all that is kept, of every stream.

    With --to, the rows of another program, of STREAMKIT_STREAM: to stdout, or straight into its table. Stop all workers first.
    """
    if to is not None:
        export_to(to, table, config, watch=watch, force=force)
        return
    if table is not None:
        raise ConfigurationError(f"--table {table} goes with --to", fix="add --to kcl, or leave it out")
    with connect(config) as connection:
        for checkpoint in connection.checkpoints():
            print(checkpoint.to_text())


@application.command("import", epilog=IMPORT_EXAMPLES)
def import_checkpoints(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="What `export` has written; - reads stdin.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option("--from", metavar="PROGRAM", help="From another program: kcl.", show_default=False)] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="With --from: that program's table.", show_default=False)
    ] = None,
    watch: Watch = WATCH_SECONDS,
    force: Annotated[bool, typer.Option("--force", help="Do it even if a worker may be running: its work since is done again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Put checkpoints where a file says: into another store, for another group, or back. Stop the group's workers first.

    With --from, where another program was, by its table or by a file of its rows. Its workers must be stopped, too.
    """
    if (file is None) == (table is None) or (table is not None and source is None):
        raise ConfigurationError("it is not said what to import", fix="name a FILE, or a --table with --from")
    read = _read(file) if file is not None and source is None else []
    with connect(config, exchange=source) as connection:

        def changes() -> Sequence[_Change]:
            stored = {checkpoint.partition: checkpoint for checkpoint in connection.checkpoints()}
            if source is not None:
                new = taken_over(connection, source, stored, table=table, file=file, watch=watch, force=force or dry_run)
            else:
                new = adopted(read, connection.partitions(), stored)
            return [_Change(stored.get(checkpoint.partition), checkpoint) for checkpoint in new]

        _write(connection, changes, force=force, dry_run=dry_run, as_json=as_json, put=store if source is not None else _overwrite)


def _read(file: Path) -> list[Checkpoint]:
    if str(file) == "-":
        return parsed(sys.stdin, "stdin")
    try:
        with file.open(encoding="utf-8") as lines:
            return parsed(lines, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{file} cannot be read: {error}", fix="name a file that `streamkit checkpoints export` has written"
        ) from None


@dataclass(frozen=True, slots=True)
class _Change:
    before: Checkpoint | None
    after: Checkpoint


def _overwrite(connection: Connection, checkpoints: Sequence[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        connection.overwrite(checkpoint)


def _write(
    connection: Connection,
    make: Callable[[], Sequence[_Change]],
    *,
    force: bool,
    dry_run: bool,
    as_json: bool,
    put: Callable[[Connection, Sequence[Checkpoint]], None] = _overwrite,
) -> None:
    """Nothing is written beside a living worker, unless forced; and nothing at all on trial."""
    refused = None if force else refusal(connection)
    if refused is not None and not dry_run:
        raise refused
    changes = make()  # after that: a worker that drained meanwhile has saved, and has parked keys perhaps
    if not dry_run:
        put(connection, [change.after for change in changes])
    _show(changes, as_json)
    if dry_run:
        remark("nothing was changed (--dry-run)" + (f"; without it this would be refused: {refused}" if refused is not None else ""))


def _wanted(partition: str | None, position: str | None, everywhere: str | None) -> tuple[str | None, str]:
    """One partition (None: all), and where to put it."""
    if everywhere is not None:
        if partition is not None:
            raise ConfigurationError("--all and a partition were both given", fix="give one of them")
        return None, everywhere
    if partition is None or position is None:
        raise ConfigurationError("it is not said what to put where", fix="write PARTITION POSITION, or --all POSITION")
    return partition, position


def _start(text: str) -> StartPosition:
    """A number is the next record to be delivered, as in Kafka's own tools."""
    if text in ("earliest", "latest"):
        return StartPosition.EARLIEST if text == "earliest" else StartPosition.LATEST
    if match := _POSITION.fullmatch(text):
        return StartPosition.at(Position(int(match[1]), int(match[2] or 0)))
    try:
        return StartPosition.at_time(datetime.fromisoformat(text))
    except ValueError as error:
        naive = "has no time zone" in str(error)
        cause = "has no time zone" if naive else "is not a position"
        fix = "add one, such as the Z in 2025-01-31T09:00:00Z" if naive else _POSITION_FORMS
        raise ConfigurationError(f"{text!r} {cause}", fix=fix) from None


def _choose(found: Sequence[Partition], wanted: str | None) -> Sequence[Partition]:
    if wanted is None:
        return found
    chosen = [partition for partition in found if wanted in (partition.id, str(partition))]
    if not chosen:
        names = ", ".join(str(partition) for partition in found[:20])
        raise ConfigurationError(f"there is no partition {wanted!r}", fix=f"those that there are: {names}")
    if len(chosen) > 1:
        raise ConfigurationError(f"{wanted!r} is the id of several partitions", fix=f"write {' or '.join(map(str, chosen))}")
    return chosen


def _changes(connection: Connection, chosen: Sequence[Partition], start: StartPosition) -> list[_Change]:
    """What would be written. How many partitions the stream had at the group's first start is kept: see `first_start`."""
    stored = connection.checkpoints()
    by_partition = {checkpoint.partition: checkpoint for checkpoint in stored}
    counts: dict[str, int] = {}
    for partition in connection.partitions():
        counts[partition.stream] = counts.get(partition.stream, 0) + 1
    for checkpoint in stored:
        if checkpoint.partitions_at_start is not None:
            counts[checkpoint.partition.stream] = checkpoint.partitions_at_start
    changes = []
    for partition in chosen:
        before = by_partition.get(partition)
        if before is not None and before.partition.extra:  # columns of another program stay as they are
            partition = replace(partition, extra={**before.partition.extra, **partition.extra})
        at = connection.resolve(partition, start)
        after = Checkpoint(
            partition,
            at,
            epoch=before.epoch if before else 0,
            partitions_at_start=counts.get(partition.stream),
            group_started=min((c.group_started for c in stored if c.group_started is not None), default=None),
            parked=_parked(partition, by_partition),
        )
        changes.append(_Change(before, after))
    return changes


def _parked(partition: Partition, stored: Mapping[Partition, Checkpoint]) -> Mapping[bytes, ParkedKey]:
    """The letters of these keys are still to be replayed. What has not begun gets what its parents have parked now: with a position of
    its own it counts as begun, and their rows may go."""
    before = stored.get(partition)
    own = before.parked if before is not None else {}
    if before is not None and before.owner:  # it may have died, and nobody will see that any more
        own = after_a_claim(own, partition, before.epoch)
    if before is not None and before.at.kind == "after":
        return own
    parents = (stored.get(Partition(partition.stream, parent)) for parent in partition.parents)
    return inherited(own, [parent.parked for parent in parents if parent is not None])


def _show(changes: Sequence[_Change], as_json: bool) -> None:
    if as_json:
        print_json([{**_json(c.after), "before": str(c.before.at) if c.before else None} for c in changes])
        return
    rows = [(str(c.after.partition), str(c.before.at) if c.before else "-", str(c.after.at)) for c in changes]
    print_table(("partition", "before", "after"), rows)


def _json(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        "stream": checkpoint.partition.stream,
        "partition": checkpoint.partition.id,
        "checkpoint": str(checkpoint.at),
        "owner": checkpoint.owner,
        "epoch": checkpoint.epoch,
        "metadata": checkpoint.metadata,
        "parked": len(still_parked(checkpoint.parked)),
    }

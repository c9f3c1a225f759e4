"""`streamkit dead-letters`: look at the records that were put aside, run them again in order, or let them be.

A replay is an ordinary run: the user's processor, over the stream that STREAMKIT_DEAD_LETTER names, as the group
`<group>.replay`. Its checkpoints say what has been dealt with, so nothing else has to be remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from streamkit import app
from streamkit.assembly.registry import Registry
from streamkit.assembly.telemetry import export_if_asked
from streamkit.cli.connection import Connection, connect, load_for_command
from streamkit.cli.letters import error_text, find, first, json_of, name_of, printable, replay_overrides, starts, summary_of, text_of
from streamkit.cli.output import DOTENV, ConfigFile, JsonFlag, examples, print_json, print_table, remark
from streamkit.cli.owners import refusal
from streamkit.cli.parked import release
from streamkit.cli.run import Target
from streamkit.cli.target import app_of, raised_by_user_code
from streamkit.engine.delivery.letter import Letter, original_of
from streamkit.engine.delivery.replaying import replaying
from streamkit.errors import ConfigurationError, OwnershipError, StreamGoneError, StreamkitError
from streamkit.model import Checkpoint, Partition, Position, Record, StartPosition

__all__ = ["application"]

application = typer.Typer(help="Look at the records that were put aside, and run them again.", no_args_is_help=False)

LIST_EXAMPLES = examples("streamkit dead-letters list", "streamkit dead-letters list --json | jq -r '.[].id'")
SHOW_EXAMPLES = examples("streamkit dead-letters show 0/12", "streamkit dead-letters show 12 --json")
REPLAY_EXAMPLES = examples("streamkit dead-letters replay orders:handle")
DISCARD_EXAMPLES = examples("streamkit dead-letters discard --yes", "streamkit dead-letters discard 0/12 --yes")

_LONGEST_ERROR = 100
ROUNDS = 5
"""So often a replay goes on with letters that have come behind a parked key meanwhile."""

Name = Annotated[str, typer.Argument(metavar="LETTER", help="PARTITION/POSITION, as `list` shows it.", show_default=False)]


@application.callback(invoke_without_command=True)
def _begin(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@application.command("list", epilog=LIST_EXAMPLES)
def list_letters(
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Show so many at most, the oldest of each partition.")] = 100,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the letters that no replay has dealt with yet."""
    found: list[Record] = []
    with connect(config, replay_overrides(config, {})) as connection:
        settings = connection.settings
        try:
            found = first(connection, starts(connection), limit + 1)
        except StreamGoneError as error:
            if settings.broker != "file" or Path(settings.stream[0]).exists():
                raise
            remark(f"{error}: nothing has been put aside there")  # it is made by its first letter
    shown = found[:limit]
    if as_json:
        print_json([summary_of(record) for record in shown])
    elif shown:
        print_table(("letter", "record", "attempts", "failed at", "error"), [_row(record) for record in shown])
    else:
        remark("no letter waits")
    if len(found) > limit:
        remark(f"there are more than these {limit}; --limit shows them")


@application.command("show", epilog=SHOW_EXAMPLES)
def show(letter: Name, config: ConfigFile = None, as_json: JsonFlag = False) -> None:
    """Show one letter in full: the record as it was, and why it failed."""
    with connect(config, replay_overrides(config, {})) as connection:
        record = _one(connection, letter)
    if as_json:
        print_json(json_of(record))
        return
    for name, text in _in_full(record):
        print(f"{name:<10} {text}".rstrip())


@application.command("replay", epilog=REPLAY_EXAMPLES)
def replay(
    context: typer.Context,
    target: Target,
    again: Annotated[bool, typer.Option("--again", help="Begin at the first letter, also where a replay has dealt with it.")] = False,
    config: ConfigFile = None,
) -> None:
    """Run a processor over the letters that wait, in their order. It sees each record as it was when it failed.

    A letter that fails again stops the replay of its partition; the next replay goes on with it. Exit codes as of `run`.
    Keys that were parked are released when all of their letters have been dealt with.
    """
    pipeline = app_of(target)
    export_if_asked(target.partition(":")[0])
    given = dict(pipeline.overrides)
    parks = load_for_command(Registry(), config, given).settings.on_failure == "park"
    pipeline.overrides = replay_overrides(config, given)
    pipeline.code = replaying(pipeline.code)
    if again:
        with connect(config, pipeline.overrides) as connection:
            _refuse_beside_others(connection)
            for partition in connection.partitions():
                _put(connection, partition, connection.resolve(partition, StartPosition.EARLIEST))
    for _ in range(ROUNDS):
        code = _run(pipeline, target, config, debug=bool(context.obj))
        again = parks and not pipeline.was_told_to_stop and _release(config, given) and not code
        if not again:
            break
        pipeline.renew()
    if code:
        raise SystemExit(code)


def _run(pipeline: app.App, target: str, config: Path | None, *, debug: bool) -> object:
    """The exit code; 0 or None: all is well."""
    try:
        app.run(pipeline, dotenv=DOTENV, config=config, debug=debug)
    except StreamkitError:
        raise
    except SystemExit as ended:
        return ended.code
    except Exception as error:  # a lifespan that raises
        raise raised_by_user_code(f"{target} failed", error) from error
    return 0


def _release(config: Path | None, given: Mapping[str, object]) -> bool:
    """Whether keys are still parked behind letters that have come meanwhile."""
    released = release(config, given)
    if released.keys:
        remark(f"{_keys(released.keys)} no longer parked")
    if released.left:
        remark(f"{_keys(released.left)} still parked" + ("; more letters have come" if released.more else ""))
    return released.left > 0 and released.more


def _keys(count: int) -> str:
    return f"{count} key{'s are' if count != 1 else ' is'}"


@application.command("discard", epilog=DISCARD_EXAMPLES)
def discard(
    letter: Annotated[
        str | None,
        typer.Argument(metavar="[LETTER]", help="This one and those before it in its partition; without it, all.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, it is only said what would be done.")] = False,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Let letters be: no replay will bring them. They stay in the target until it forgets them itself."""
    with connect(config, replay_overrides(config, {})) as connection:
        to = _where_to(connection, letter)
        begin = {partition: start for partition, start in starts(connection).items() if partition in to}
        count, last = _waiting(connection, begin, to)
        if count and not yes:
            raise ConfigurationError(f"{_letters(count)} would be discarded, and no replay would bring them", fix="add --yes")
        if count:
            _refuse_beside_others(connection)
        for partition, position in last.items():
            _put(connection, partition, StartPosition.after(position))
    if count and load_for_command(Registry(), config).settings.on_failure == "park":
        _release(config, {})
    if as_json:
        print_json({"discarded": count})
    else:
        remark(f"{_letters(count)} discarded")


def _one(connection: Connection, name: str) -> Record:
    partitions = connection.partitions()
    partition, sequence = find(partitions, name)
    wanted = Position(sequence)
    found = first(connection, {partition: connection.resolve(partition, StartPosition.at(wanted))}, 1)
    if not found or found[0].position != wanted:
        raise ConfigurationError(f"there is no letter {name!r}", fix="`streamkit dead-letters list` shows those that wait")
    return found[0]


def _where_to(connection: Connection, name: str | None) -> dict[Partition, Position]:
    """The last letter to be discarded, for each partition that has any."""
    if name is not None:
        record = _one(connection, name)
        return {record.partition: record.position}
    partitions = connection.partitions()
    tips = zip(partitions, connection.tips(partitions), strict=True)
    return {partition: tip for partition, tip in tips if tip is not None}


def _waiting(
    connection: Connection, begin: Mapping[Partition, StartPosition], to: Mapping[Partition, Position]
) -> tuple[int, dict[Partition, Position]]:
    """How many letters wait up to `to`, and the last of them in each partition. They may be too many to be kept."""
    count = 0
    last: dict[Partition, Position] = {}

    def see(record: Record) -> bool:
        nonlocal count
        tip = to[record.partition]
        if tip.sequence is None or record.position <= tip:  # a broker that cannot tell its tips: all that is there
            count += 1
            last[record.partition] = record.position
        return True

    connection.read(begin, see)
    return count, last


def _put(connection: Connection, partition: Partition, at: StartPosition) -> None:
    """What else the checkpoints of the replay say stays."""
    before = next((c for c in connection.checkpoints() if c.partition == partition), None)
    if before is None:
        count = sum(1 for p in connection.partitions() if p.stream == partition.stream)
        before = Checkpoint(partition, at, partitions_at_start=count)
    connection.overwrite(replace(before, partition=partition, at=at, owner="", pending=None, pending_state=b""))


def _refuse_beside_others(connection: Connection) -> None:
    """Of a replay with static ownership nobody can tell."""
    group, fix = connection.settings.group, "wait for its end, or stop it"
    if connection.members():
        raise OwnershipError(f"a replay is running: group {group} has members", fix=fix)
    if connection.ownership == "lease" and (refused := refusal(connection)) is not None:
        raise OwnershipError(f"a replay is running: {refused}", fix=fix) from refused


def _letters(count: int) -> str:
    return f"{count} letter{'s' if count != 1 else ''}"


def _row(record: Record) -> tuple[str, ...]:
    error = printable(error_text(record))
    error = error if len(error) <= _LONGEST_ERROR else f"{error[: _LONGEST_ERROR - 1]}…"
    letter = original_of(record)
    if not isinstance(letter, Letter):
        return name_of(record), "-", "-", "-", error
    return name_of(letter), printable(letter.id), str(letter.attempts), letter.failed_at.isoformat(sep=" ", timespec="seconds"), error


def _in_full(record: Record) -> list[tuple[str, str]]:
    letter = original_of(record)
    rows = [("letter", name_of(letter))]
    if isinstance(letter, Letter):
        rows += [
            ("record", printable(letter.id)),
            ("written", letter.timestamp.isoformat()),
            ("failed", f"{letter.failed_at.isoformat()} after {letter.attempts} attempts, in group {printable(letter.group)}"),
            ("worker", printable(letter.worker)),
        ]
        if letter.parked:
            rows.append(("parked", printable(letter.parked.partition(" ")[0])))
        for error in letter.errors:
            rows.append((error.link or "error", printable(f"{error.type}: {error.message}")))
            rows += [("", printable(frame)) for frame in error.frames]
        rows += [("earlier", printable(f"{one.failed_at.isoformat()} in {one.group}: {one.error}")) for one in letter.earlier]
    rows.append(("key", text_of(letter.key)))
    rows += [("header", f"{printable(name)} = {text_of(value)}") for name, value in letter.headers]
    rows.append(("value", text_of(letter.value)))
    return rows

"""The settings of streamkit: their names, types, bounds and defaults. It reads nothing.

`streamkit.assembly.loader` fills `Settings` from code, environment, files and defaults; the engine gets the finished object.
`Duration` and `Size` are for the settings of plugins too. Each field `x` is the variable `STREAMKIT_X`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from streamkit.errors import UnsupportedError
from streamkit.model import StartPosition

__all__ = [
    "NOT_YET",
    "PREFIX",
    "Duration",
    "Settings",
    "Size",
    "StopWhen",
    "duration_text",
    "host_and_port",
    "parse_duration",
    "parse_size",
    "refuse_not_yet",
    "size_text",
    "variable_of",
]

PREFIX = "STREAMKIT_"


def variable_of(field: str, plugin: str = "") -> str:
    """The full name of a setting: `STREAMKIT_MAX_BATCH`, or with a plugin `STREAMKIT_KAFKA__OPTIONS`."""
    return f"{PREFIX}{plugin}__{field}".upper() if plugin else f"{PREFIX}{field}".upper()


def _refusal(cause: str, fix: str) -> PydanticCustomError:
    """A ValueError in two parts, so that the loader can show them apart. `cause` goes on where the value was named."""
    return PydanticCustomError("streamkit", "{cause}: {fix}", {"cause": cause, "fix": fix})


# -- durations -----------------------------------------------------------------------------------------------------------

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h)")
_DURATION_FORMS = "write a whole number with a unit, such as 500ms, 30s, 5m or 1h"


def parse_duration(value: object) -> timedelta:
    """`500ms`, `30s`, `5m`, `1h` or a timedelta. A bare number is refused, because its unit would be a guess; only 0 has none.

    Raises ValueError, which names the forms.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, bool) and value in (0, "0"):
        return timedelta(0)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _refusal("has no unit", _DURATION_FORMS)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        has_no_unit = isinstance(value, str) and re.fullmatch(r"[\d.]+", value.strip())
        raise _refusal("has no unit" if has_no_unit else "is not a duration", _DURATION_FORMS)
    try:
        return timedelta(milliseconds=int(match[1]) * _MILLISECONDS[match[2]])
    except OverflowError:
        raise _refusal("is too long", _DURATION_FORMS) from None


def duration_text(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: `5s`, `1h`, `1500ms`, `0`."""
    milliseconds = value / timedelta(milliseconds=1)
    if not milliseconds:
        return "0"
    unit = next((unit for unit in ("h", "m", "s") if milliseconds % _MILLISECONDS[unit] == 0), "ms")
    return f"{milliseconds / _MILLISECONDS[unit]:.12g}{unit}"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(duration_text, return_type=str, when_used="json")]
"""A timedelta that is written with a unit: `500ms`, `30s`, `5m`, `1h`."""


# -- sizes ---------------------------------------------------------------------------------------------------------------

_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"(\d+)\s*([a-z]*)")
_SIZE_FORMS = "write a whole number of bytes, or one with a unit, such as 64KiB, 32MiB or 10MB"


def parse_size(value: object) -> int:
    """`64KiB`, `10MB` (1000 * 1000), or a whole number of bytes. Raises ValueError, which names the forms."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if match is None or match[2] not in _BYTES:
        raise _refusal("is not a size", _SIZE_FORMS)
    return int(match[1]) * _BYTES[match[2]]


def size_text(value: int) -> str:
    """The shortest text that `parse_size` reads back: `64KiB`, `10MB`, `1500`."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "KB"):
        if value and value % _BYTES[unit.lower()] == 0:
            return f"{value // _BYTES[unit.lower()]}{unit}"
    return str(value)


Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(size_text, return_type=str, when_used="json")]
"""A number of bytes: `64KiB`, `10MB`, or a plain number."""


# -- lists, start and stop -----------------------------------------------------------------------------------------------


def _split(value: object) -> object:
    """A comma list from text; a sequence from code or TOML stays as it is."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


def _join(value: Sequence[str]) -> str:
    return ",".join(value)


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split), PlainSerializer(_join, return_type=str, when_used="json")]


def _check_streams(streams: tuple[str, ...]) -> tuple[str, ...]:
    if not streams:
        raise _refusal("names no stream", "name one or more, separated by commas")
    for stream in streams:
        if stream.startswith("^"):
            try:
                re.compile(stream)
            except re.error as error:
                cause = f"holds {stream!r}, which is not a regular expression ({error})"
                raise _refusal(cause, "mend it; a comma always separates streams, even inside brackets") from None
        elif set(stream) & set("{}[]()"):
            # The rest of `^a{1,3}`, whose first half is a valid expression of another meaning.
            cause = f"holds {stream!r}, which looks like a piece of a regular expression"
            raise _refusal(cause, "a comma always separates streams: write the expression without one, or give a JSON list")
        if streams.count(stream) > 1:
            raise _refusal(f"holds {stream!r} twice", "name each stream once")
    return streams


def _parse_start(value: object) -> StartPosition:
    if isinstance(value, StartPosition):
        if value.position is not None:
            raise _refusal("is a position of one partition", "use earliest, latest or a time")
        return value
    if value in ("earliest", "latest"):
        return StartPosition.EARLIEST if value == "earliest" else StartPosition.LATEST
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise _refusal("is not a place to start", "use earliest, latest or an ISO time such as 2025-01-31T09:00:00Z") from None
    if time.tzinfo is None:
        raise _refusal("has no time zone", "add one, such as the Z in 2025-01-31T09:00:00Z")
    return StartPosition.at_time(time)


@dataclass(frozen=True, slots=True)
class StopWhen:
    """When a run ends by itself: never, when every partition has reached its tip, or after a while without records."""

    kind: Literal["never", "at_end", "idle"]
    idle_seconds: float | None = None
    """With `idle` only: how long no partition may have delivered anything."""

    NEVER: ClassVar[StopWhen]
    AT_END: ClassVar[StopWhen]

    def __str__(self) -> str:
        return self.kind if self.idle_seconds is None else f"{self.kind}:{duration_text(timedelta(seconds=self.idle_seconds))}"


StopWhen.NEVER = StopWhen("never")
StopWhen.AT_END = StopWhen("at_end")


def _parse_stop(value: object) -> StopWhen:
    if isinstance(value, StopWhen):
        return value
    if value in ("never", "at_end"):
        return StopWhen.NEVER if value == "never" else StopWhen.AT_END
    kind, _, rest = str(value).partition(":")
    if kind == "idle":
        try:
            idle = parse_duration(rest)
        except ValueError:
            idle = timedelta(0)
        if idle > timedelta(0):
            return StopWhen("idle", idle.total_seconds())
        raise _refusal("does not say how long", "write idle: and a duration above 0, such as idle:30s")
    raise _refusal("is not a way to stop", "use never, at_end or idle:30s")


Start = Annotated[StartPosition, PlainValidator(_parse_start), PlainSerializer(str, return_type=str, when_used="json")]
Stop = Annotated[StopWhen, PlainValidator(_parse_stop), PlainSerializer(str, return_type=str, when_used="json")]


def _check_dead_letter(value: str) -> str:
    plugin, _, name = value.partition(":")
    if not plugin or not name:
        raise _refusal("is not a dead-letter target", "write <plugin>:<name>, such as file:dlq.jsonl")
    if name.startswith("^"):
        raise _refusal("is a pattern", "name one stream")
    _check_streams((name,))  # it is read as a stream again
    return value


def host_and_port(address: str) -> tuple[str, int]:
    """The two halves of a status address; `:8080` and `8080` are loopback. Raises ValueError, which names the forms."""
    found = re.fullmatch(r"(?:(\[[0-9a-fA-F:.]+\]|[\w.-]*):)?(\d{1,5})", address.strip(), re.ASCII)
    if found is None or int(found[2]) >= 2**16:
        raise _refusal("is not an address", "write host:port, such as 127.0.0.1:8080 or 0.0.0.0:8080; a port alone is loopback")
    return (found[1] or "127.0.0.1").strip("[]"), int(found[2])


def _status_address(value: object) -> str:
    host, port = host_and_port(str(value))
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# -- the settings --------------------------------------------------------------------------------------------------------

_ZERO = timedelta(0)
_MILLISECOND = timedelta(milliseconds=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)

AboveZero = Annotated[Duration, Field(gt=_ZERO, le=_DAY)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]


class Settings(BaseModel):
    """Everything that streamkit itself can be told, whatever the broker. Plugins have models of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    broker: str = Field(min_length=1, description="Plugin that reads the stream, by its name: kafka, memory, …")
    stream: Annotated[CommaList, AfterValidator(_check_streams)] = Field(
        description="Streams (topics) to read, separated by commas; a leading ^ makes a name a regular expression."
    )
    group: str = Field(
        min_length=1, max_length=255, description="Whose checkpoints these are: workers of one group share the partitions of the stream."
    )
    store: str | None = Field(
        default=None, min_length=1, description="Plugin that keeps the checkpoints; unset, the broker keeps them if it can."
    )
    start: Start = Field(
        default=StartPosition.EARLIEST,
        description="Where a partition without a checkpoint begins: earliest, latest or an ISO time; ignored once one exists.",
    )
    stop: Stop = Field(
        default=StopWhen.NEVER, description="When the run ends by itself: never, at_end (the tips at start), or idle:30s without a record."
    )
    ordering: Literal["partition", "key"] = Field(
        default="partition", description="What keeps its order: all records of a partition, or those of one key only."
    )
    concurrency: int = Field(
        default=1, ge=1, le=1024, description="How many handlers of one partition may run at once; more than one needs ORDERING=key."
    )
    max_batch: int = Field(default=1000, ge=1, le=1_000_000, description="The largest number of records that one call of a handler gets.")
    max_wait: Duration = Field(
        default=_ZERO, ge=_ZERO, le=_HOUR, description="How long records may wait for a batch to fill; 0 delivers what is there at once."
    )
    max_in_flight: Count = Field(
        default=100_000,
        description="Records above the saved checkpoint, per partition, before reading pauses: at most so many come again after a crash.",
    )
    max_in_flight_bytes: Size = Field(
        default=32 * 2**20, ge=2**10, le=2**40, description="Bytes that the whole process holds in memory before reading pauses."
    )
    checkpoint_interval: Duration = Field(
        default=timedelta(seconds=5), ge=_MILLISECOND, le=_HOUR, description="How often progress is saved."
    )
    checkpoint_records: Count | None = Field(
        default=None, description="Save progress after so many records too, if that comes before the interval."
    )
    on_failure: Literal["halt", "stop", "dead_letter", "park", "skip"] = Field(
        default="halt",
        description="What happens to a record that failed for good: halt its partition, stop the process, or put the record aside.",
    )
    dead_letter: Annotated[str, AfterValidator(_check_dead_letter)] | None = Field(
        default=None, description="Where failed records are written, as <plugin>:<name>, such as file:dlq.jsonl."
    )
    dead_letter_max_consecutive: Count = Field(
        default=100,
        description="So many records put aside (or skipped) in a row, and the next one halts its partition: a bad deploy drains no stream.",
    )
    retry_attempts: int = Field(
        default=5,
        ge=1,
        le=1_000_000,
        description="How often a failing call is made in all, the first one included, before ON_FAILURE applies.",
    )
    retry_backoff: Duration = Field(
        default=timedelta(milliseconds=200),
        ge=_ZERO,
        le=_HOUR,
        description="The longest pause before the second attempt; it doubles each time.",
    )
    retry_max_backoff: Duration = Field(
        default=timedelta(seconds=30),
        ge=_ZERO,
        le=_DAY,
        validate_default=True,
        description="What the pause between two attempts may grow to.",
    )
    process_timeout: AboveZero | None = Field(
        default=None,
        description="How long a handler may take for a record (or batch): an async one is cancelled and has failed, another is reported.",
    )
    stuck_after: AboveZero = Field(
        default=timedelta(minutes=5), description="How long one call may run before readiness turns red and the partition is given up."
    )
    bisect: bool = Field(
        default=False,
        description="Halve a failing batch to find the bad record, in place of retrying it whole. Means nothing for handlers of records.",
    )
    start_timeout: Duration = Field(
        default=timedelta(seconds=30),
        ge=_ZERO,
        le=_HOUR,
        description="How long a start goes on asking while broker, store or dead-letter target cannot be reached; 0: each is asked once.",
    )
    drain_timeout: AboveZero = Field(
        default=timedelta(seconds=25),
        description="How long a shutdown waits for running handlers; keep it below your platform's kill timeout.",
    )
    ownership: Literal["group", "static", "lease"] | None = Field(
        default=None,
        description="Who deals out partitions: the broker's group, PARTITIONS (static), or leases in the store; unset, the first there is.",
    )
    partitions: CommaList = Field(
        default=(), description="With static ownership: the partitions that this process reads, separated by commas."
    )
    max_partitions: Count | None = Field(default=None, description="With leases: the most partitions that this worker takes.")
    lease_duration: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=_HOUR,
        description="With leases: how long a silent worker keeps its partitions.",
    )
    handover_timeout: AboveZero = Field(
        default=timedelta(seconds=30), description="With leases: how long an owner that was asked for a partition may take to give it up."
    )
    worker: str = Field(
        default="", max_length=255, description="This process's name, unique in its group; unset, hostname-pid, made at start."
    )
    status_address: Annotated[str, BeforeValidator(_status_address)] | None = Field(
        default=None,
        description="Where health and metrics are served, as host:port; a port alone is for this host only, 0 is any that is free.",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="Log lines for people (text) or for a log collector (json).")
    config: Path | None = Field(
        default=None, description="A TOML file with settings: core names in lower case, and a table for each plugin."
    )
    secrets_dir: Path | None = Field(default=None, description="A folder of files that are named like variables, each holding one value.")

    @field_validator("retry_max_backoff")
    @classmethod
    def _not_below_first_backoff(cls, value: timedelta, info: ValidationInfo) -> timedelta:
        first = info.data.get("retry_backoff")
        if first is not None and value < first:
            raise _refusal(f"is below {variable_of('retry_backoff')}={duration_text(first)}", "raise it, or lower the other")
        return value


# -- what is not built yet -----------------------------------------------------------------------------------------------

NOT_YET: Mapping[str, str] = MappingProxyType({})
"""Settings whose feature does not exist: any value but the default is refused. The text says what holds. None at present."""


def refuse_not_yet(settings: Settings) -> None:
    """Raise UnsupportedError if a setting asks for something that is not built yet; several are listed, one per line."""
    texts = settings.model_dump(mode="json")
    errors = [
        UnsupportedError(f"{texts[field]!r} is not built yet; {reason}", setting=variable_of(field), fix=f"unset {variable_of(field)}")
        for field, reason in NOT_YET.items()
        if getattr(settings, field) != Settings.model_fields[field].default
    ]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise UnsupportedError("\n".join(str(error) for error in errors), fix="unset them")

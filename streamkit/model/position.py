"""Where a record stands in its partition, and where to begin to read. Pure values that round-trip through text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Literal

__all__ = ["Position", "StartPosition"]

_VERSION = "1"


@dataclass(frozen=True, slots=True, eq=False)
class Position:
    """One record's place in its partition; ordered by (sequence, sub_sequence), and gaps are normal.

    `token` is what the broker wants back (an Event Hubs offset, a Kafka leader epoch): opaque and never compared.
    `Position.END` stands after every record of a closed partition.
    Comparing a position whose sequence is not yet known raises ValueError: any answer would be a guess.
    """

    sequence: int | None
    sub_sequence: int = 0
    token: str = ""
    is_end: bool = False

    END: ClassVar[Position]

    def __post_init__(self) -> None:
        if self.sub_sequence < 0:
            raise ValueError(f"sub_sequence {self.sub_sequence} is negative")

    def _key(self) -> tuple[bool, int, int]:
        if self.sequence is None and not self.is_end:
            raise ValueError(f"position {self} has no sequence yet and cannot be compared")
        return (self.is_end, self.sequence or 0, self.sub_sequence)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Position):
            return NotImplemented
        if self.is_end or other.is_end:
            return self.is_end and other.is_end
        if self.sequence is None or other.sequence is None:
            return (self.sequence, self.token) == (other.sequence, other.token)
        return self.sequence == other.sequence and self.sub_sequence == other.sub_sequence

    def __hash__(self) -> int:
        return hash(() if self.is_end else (self.sequence, self.sub_sequence))

    def __lt__(self, other: Position) -> bool:
        return self._key() < other._key()

    def __le__(self, other: Position) -> bool:
        return self._key() <= other._key()

    def __gt__(self, other: Position) -> bool:
        return self._key() > other._key()

    def __ge__(self, other: Position) -> bool:
        return self._key() >= other._key()

    def __str__(self) -> str:
        if self.is_end:
            return "END"
        if self.sequence is None:
            return f"?{self.token}"
        return f"{self.sequence}.{self.sub_sequence}" if self.sub_sequence else str(self.sequence)

    def to_text(self) -> str:
        """As text with a version, for stores: `1:<sequence>:<sub_sequence>:<token>`."""
        if self.is_end:
            return f"{_VERSION}:END"
        sequence = "" if self.sequence is None else self.sequence
        return f"{_VERSION}:{sequence}:{self.sub_sequence}:{self.token}"

    @classmethod
    def from_text(cls, text: str) -> Position:
        """Read what `to_text` wrote. Raises ValueError on anything else, a newer version included."""
        version, _, rest = text.partition(":")
        if version != _VERSION:
            raise ValueError(f"position {text!r} is not of version {_VERSION}")
        if rest == "END":
            return cls.END
        try:
            sequence, sub_sequence, token = rest.split(":", 2)
            return cls(int(sequence) if sequence else None, int(sub_sequence), token)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a position") from error


Position.END = Position(None, is_end=True)


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where to begin: the same five on every broker.

    `EARLIEST`, `LATEST`, `at_time(datetime)`, `at(position)` (that record included) and `after(position)`.
    """

    kind: Literal["earliest", "latest", "time", "at", "after"]
    position: Position | None = None
    time: datetime | None = None

    EARLIEST: ClassVar[StartPosition]
    LATEST: ClassVar[StartPosition]
    END: ClassVar[StartPosition]

    @classmethod
    def at(cls, position: Position) -> StartPosition:
        return cls("at", position)

    @classmethod
    def after(cls, position: Position) -> StartPosition:
        return cls("after", position)

    @classmethod
    def at_time(cls, time: datetime) -> StartPosition:
        """The first record written at or after `time`. Raises ValueError for a naive datetime: which zone would it be?"""
        if time.tzinfo is None:
            raise ValueError(f"start time {time.isoformat()} has no time zone")
        return cls("time", time=time.astimezone(UTC))

    @property
    def is_end(self) -> bool:
        """The partition is closed and fully processed."""
        return self.position is not None and self.position.is_end

    def __str__(self) -> str:
        if self.position is not None:
            return f"{self.kind} {self.position}"
        return self.time.isoformat() if self.time is not None else self.kind

    def to_text(self) -> str:
        """As text with a version, for stores."""
        if self.position is not None:
            return f"{self.kind} {self.position.to_text()}"
        return f"time {self.time.isoformat()}" if self.time is not None else self.kind

    @classmethod
    def from_text(cls, text: str) -> StartPosition:
        """Read what `to_text` wrote. Raises ValueError on anything else."""
        kind, _, rest = text.partition(" ")
        if kind == "at":
            return cls.at(Position.from_text(rest))
        if kind == "after":
            return cls.after(Position.from_text(rest))
        if kind == "time":
            return cls.at_time(datetime.fromisoformat(rest))
        if rest or kind not in ("earliest", "latest"):
            raise ValueError(f"{text!r} is not a start position")
        return cls.EARLIEST if kind == "earliest" else cls.LATEST


StartPosition.EARLIEST = StartPosition("earliest")
StartPosition.LATEST = StartPosition("latest")
StartPosition.END = StartPosition.after(Position.END)

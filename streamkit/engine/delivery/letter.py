"""What a dead letter says: the record as it was, and headers about where it came from and why it failed. Pure.

A letter has the key, the value and all headers of its record, byte for byte, and after them one header of each name in `NAMES`,
all of them every time. The last header of each name is ours, so whatever headers the record had itself stay its own. A letter
that fails again is not put into another one: it goes on as a letter of the same record, with the newer failure, and a short
note of the earlier ones. `letter_of` is called by `DeadLetters`, `original_of` by what shows and replays letters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from streamkit.engine.delivery.enclosed import opened
from streamkit.engine.delivery.error_chain import ChainedError, chain_of
from streamkit.engine.delivery.messages import FailedRecord
from streamkit.model import Headers, Partition, Position, Record
from streamkit.plugin import NewRecord

__all__ = ["NAMES", "VERSION", "Earlier", "Letter", "letter_of", "original_of"]

VERSION = 1
MAX_EARLIER = 5

NAMES = tuple(
    f"streamkit-{name}"
    for name in (
        "version",
        "stream",
        "partition",
        "position",
        "timestamp",
        "id",
        "group",
        "worker",
        "attempts",
        "failed-at",
        "error",
        "earlier",
        "parked",
    )
)
"""Our headers, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A failure before the last one: the letter itself was processed, and failed."""

    group: str
    attempts: int
    failed_at: datetime
    error: str
    """Type and message of the error, cut short."""


class Letter(Record):
    """A record that failed, as it was when it failed: key, value, headers, timestamp, `id`; and what became of it.

    `partition` and `position` are the letter's own, in the dead-letter stream: that is what is checkpointed.
    """

    __slots__ = (
        "_headers",
        "_id",
        "_letter",
        "_timestamp",
        "attempts",
        "earlier",
        "errors",
        "failed_at",
        "group",
        "origin_partition",
        "origin_position",
        "origin_stream",
        "parked",
        "worker",
    )

    def __init__(self, letter: Record, headers: Headers, facts: dict[str, str]) -> None:
        """Raises ValueError if `facts`, our headers without their prefix, are not those of a letter."""
        version = int(facts["version"])
        if not 1 <= version <= VERSION + 1:
            raise ValueError(f"letter of version {version}; this is version {VERSION}")
        self._letter = letter
        self._headers = headers
        self._id = facts["id"]
        self._timestamp = _time(facts["timestamp"])
        self.origin_stream = facts["stream"]
        self.origin_partition = facts["partition"]
        self.origin_position = Position.from_text(facts["position"])
        self.group = facts["group"]
        self.worker = facts["worker"]
        self.attempts = int(facts["attempts"])
        self.failed_at = _time(facts["failed-at"])
        self.errors = tuple(ChainedError.from_json(item) for item in _list(facts["error"]))
        self.earlier = tuple(_earlier(item) for item in _list(facts["earlier"]))
        self.parked = "" if facts["parked"] == "no" else facts["parked"]
        """`first` or `behind`, and the name of this letter, if its key was parked with it; else empty."""

    @property
    def partition(self) -> Partition:
        return self._letter.partition

    @property
    def position(self) -> Position:
        return self._letter.position

    @property
    def key(self) -> bytes | None:
        return self._letter.key

    @property
    def value(self) -> bytes | None:
        return self._letter.value

    @property
    def headers(self) -> Headers:
        return self._headers

    @property
    def timestamp(self) -> datetime:
        return self._timestamp

    @property
    def native(self) -> object:
        return self._letter.native

    @property
    def id(self) -> str:
        """The original record's: `stream/partition/position` of where it failed, the same in every copy of its letter."""
        return self._id


def letter_of(failed: FailedRecord, *, group: str, worker: str, failed_at: datetime) -> NewRecord:
    """What is written for a record that failed for good. Its key decides about the partition, as the record's did."""
    record = original_of(failed.record)
    again = isinstance(record, Letter)
    earlier = (*record.earlier, _as_earlier(record))[-MAX_EARLIER:] if isinstance(record, Letter) else ()
    facts = {
        "version": str(VERSION),
        "stream": record.origin_stream if isinstance(record, Letter) else record.partition.stream,
        "partition": record.origin_partition if isinstance(record, Letter) else record.partition.id,
        "position": (record.origin_position if isinstance(record, Letter) else record.position).to_text(),
        "timestamp": record.timestamp.astimezone(UTC).isoformat(timespec="microseconds"),
        "id": record.id,
        "group": group,
        "worker": worker,
        "attempts": str(failed.attempts),
        "failed-at": failed_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "error": _compact([error.to_json() for error in chain_of(failed.error)]),
        "earlier": _compact([_earlier_json(one) for one in earlier]) if again else "[]",
        "parked": failed.parked or "no",
    }
    ours = [(name, _bytes(facts[name.removeprefix("streamkit-")])) for name in NAMES]
    return NewRecord(record.value, key=record.key, headers=Headers((*record.headers, *ours)))


def original_of(record: Record) -> Record:
    """The `Letter` that a record of a dead-letter stream is; a record that is none (anybody may write there) is returned as it is."""
    return _letter_in(opened(record) or record) or record


def _letter_in(record: Record) -> Letter | None:
    last: dict[str, int] = {}
    headers = record.headers
    for index, (name, _) in enumerate(headers):
        if name.startswith("streamkit-"):
            last[name] = index
    if not all(name in last for name in NAMES):
        return None
    ours = {last[name] for name in NAMES}
    try:
        facts = {name.removeprefix("streamkit-"): _text(headers[last[name]][1]) for name in NAMES}
        return Letter(record, Headers(header for index, header in enumerate(headers) if index not in ours), facts)
    except (ValueError, TypeError, KeyError):  # somebody else's headers of these names
        return None


def _as_earlier(letter: Letter) -> Earlier:
    first = letter.errors[0] if letter.errors else ChainedError("", "")
    return Earlier(letter.group, letter.attempts, letter.failed_at, f"{first.type}: {first.message}"[:300])


def _earlier_json(one: Earlier) -> dict[str, object]:
    return {
        "group": one.group,
        "attempts": one.attempts,
        "failed_at": one.failed_at.isoformat(timespec="microseconds"),
        "error": one.error,
    }


def _earlier(item: object) -> Earlier:
    if not isinstance(item, dict):
        raise ValueError("an earlier failure is not an object")
    return Earlier(str(item["group"]), int(item["attempts"]), _time(str(item["failed_at"])), str(item["error"]))


def _time(text: str) -> datetime:
    """Raises ValueError without a time zone: no letter of ours is."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return time


def _list(text: str) -> list[object]:
    found = json.loads(text)
    if not isinstance(found, list):
        raise ValueError("not a list")
    return found


def _compact(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair becomes an escape that JSON knows


def _bytes(text: str) -> bytes:
    """UTF-8. What it cannot hold (file names that are no text) becomes bytes that `_text` reads back."""
    return text.encode("utf-8", "surrogatepass")


def _text(value: bytes | None) -> str:
    if value is None:
        raise ValueError("one of our headers is empty")
    return value.decode("utf-8", "surrogatepass")

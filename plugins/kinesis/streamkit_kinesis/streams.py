"""Which streams there are and what is known of each: identity, retention, and the service's own time.

Names, ARNs and regular expressions are taken as `STREAMKIT_STREAM` gives them. Called on the broker's thread and on threads that
read; `StreamBook` remembers what was found for a moment, because the service answers 20 such questions a second for an account.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from streamkit.errors import BrokerUnavailableError, ConfigurationError, PositionInvalidError, StreamGoneError, StreamkitError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit_kinesis.client import Answer, KinesisClient
from streamkit_kinesis.errors import BROKER, translated

__all__ = ["StreamBook", "StreamInfo", "check_incarnation", "key_of", "required", "stream_argument"]

_NOT_READY = "CREATING"
_LEAVING = "DELETING"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream as the service described it."""

    stream: str
    """As it was asked for: a name or an ARN."""
    arn: str
    created: int
    """Unix seconds."""
    retention_seconds: float
    status: str
    found_at: float
    """When it was described, on our monotonic clock."""
    service_time: float | None
    """The same by the service's own clock, unix seconds, rounded down; None if it does not say."""

    @property
    def incarnation(self) -> str:
        """Which stream of that name it is: one that was deleted and made again is another."""
        return f"{self.arn}@{self.created}"


def stream_argument(stream: str) -> dict[str, str]:
    """The parameter that names a stream."""
    return {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}


def required(answer: Answer, key: str, doing: str) -> object:
    """What a whole answer must have. Raises BrokerUnavailableError: an answer that was cut says nothing about what is missing."""
    value = answer.get(key)
    if value is None:
        raise BrokerUnavailableError(f"Kinesis, {doing}: the answer is cut, it has no {key}", broker=BROKER)
    return value


def key_of(found: object, key: str, doing: str) -> object:
    """The same for a part of an answer."""
    if not isinstance(found, dict):
        raise BrokerUnavailableError(f"Kinesis, {doing}: the answer has {type(found).__name__} where {key} should be", broker=BROKER)
    return required(found, key, doing)


class StreamBook:
    """What was found lately. From any thread."""

    def __init__(self, client: KinesisClient, context: AdapterContext) -> None:
        self._client = client
        self._context = context
        self._known: dict[str, StreamInfo] = {}
        self._asking = threading.Lock()
        self._asked = 0
        self._told: dict[str, tuple[int, StreamkitError | None]] = {}
        """Of each stream: which question was the last one, and what has gone wrong with it."""

    def look_up(self, stream: str, max_age_seconds: float = 0.0) -> StreamInfo:
        """A stream as it is now, or was so long ago at most. Who asks at the same time as others asks once.

        Raises StreamGoneError if it does not exist or is being deleted, BrokerUnavailableError while it is being made.
        """
        if (known := self._known.get(stream)) is not None and self._age(known) < max_age_seconds:
            return _usable(known)
        before = self._asked
        with self._asking:
            number, error = self._told.get(stream, (0, None))
            if number > before:  # another one has asked while we waited, so this is good for us too, also that there is no answer:
                if error is not None:  # with all threads in one queue, each would wait for as many failures as there are others
                    raise error.with_traceback(None)
                known = self._known[stream]
            elif (known := self._known.get(stream)) is None or self._age(known) >= max_age_seconds:
                known = self._ask(stream)
        return _usable(known)

    def _ask(self, stream: str) -> StreamInfo:
        self._asked += 1
        number = self._asked
        try:
            known = self._known[stream] = self._describe(stream)
        except StreamkitError as error:
            self._told[stream] = (number, error)
            raise
        self._told[stream] = (number, None)
        return known

    def _age(self, known: StreamInfo) -> float:
        return self._context.monotonic() - known.found_at

    def _describe(self, stream: str) -> StreamInfo:
        doing = f"describing stream {stream}"
        found_at = self._context.monotonic()
        self._known.pop(stream, None)
        with translated(doing):
            answer = self._client.describe_stream_summary(**stream_argument(stream))
        summary = required(answer, "StreamDescriptionSummary", doing)
        created = key_of(summary, "StreamCreationTimestamp", doing)
        hours = key_of(summary, "RetentionPeriodHours", doing)
        return StreamInfo(
            stream,
            arn=str(key_of(summary, "StreamARN", doing)),
            created=int(created.timestamp() if isinstance(created, datetime) else float(str(created))),
            retention_seconds=float(str(hours)) * 3600,
            status=str(key_of(summary, "StreamStatus", doing)),
            found_at=found_at,
            service_time=_service_time(answer),
        )

    def matching(self, streams: Sequence[str]) -> list[StreamInfo]:
        """The streams that these names, ARNs and regular expressions mean, each once, as they are now.

        Raises StreamGoneError for a name without a stream and for an expression that matches none, and as `look_up`.
        """
        found: dict[str, StreamInfo] = {}
        for one in streams:
            for info in self._matching(one) if one.startswith("^") else [self.look_up(one)]:
                found.setdefault(info.stream, info)
        return list(found.values())

    def _matching(self, pattern: str) -> list[StreamInfo]:
        """What is only being made, or already being deleted, is not there for a pattern."""
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(f"{pattern!r} is not a regular expression: {error}", setting="STREAMKIT_STREAM") from error
        infos = []
        for name in self._names():
            if expression.match(name):
                try:
                    info = self.look_up(name)
                except (StreamGoneError, _NotReadyError):
                    continue
                infos.append(info)
        if not infos:
            raise StreamGoneError(f"no stream matches {pattern!r}", broker=BROKER, fix="make one, or correct STREAMKIT_STREAM")
        return infos

    def _names(self) -> list[str]:
        names: list[str] = []
        more = True
        page: dict[str, str] = {}
        while more:
            with translated("listing streams"):
                answer = self._client.list_streams(**page)
            got = required(answer, "StreamNames", "listing streams")
            assert isinstance(got, list)
            names += got
            more = bool(required(answer, "HasMoreStreams", "listing streams"))
            if more and not got:
                raise BrokerUnavailableError("Kinesis, listing streams: an empty page that others should follow", broker=BROKER)
            token = answer.get("NextToken")
            page = {"NextToken": token} if token else {"ExclusiveStartStreamName": names[-1]} if names else {}
        return list(dict.fromkeys(names))


class _NotReadyError(BrokerUnavailableError):
    """The stream is being made."""


def _usable(info: StreamInfo) -> StreamInfo:
    if info.status == _LEAVING:
        raise StreamGoneError(f"stream {info.stream} is being deleted", broker=BROKER, fix="correct STREAMKIT_STREAM")
    if info.status == _NOT_READY:
        raise _NotReadyError(f"stream {info.stream} is being made", broker=BROKER, fix="it can be read in a moment")
    return info


def _service_time(answer: Answer) -> float | None:
    """What the service's clock said when it answered."""
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return parsedate_to_datetime(said).timestamp() if said else None
    except ValueError:
        return None


def check_incarnation(partition: Partition, info: StreamInfo) -> None:
    """Raise PositionInvalidError if the partition is of another stream that had this name: its positions mean nothing here."""
    if partition.incarnation and partition.incarnation != info.incarnation:
        raise PositionInvalidError(
            f"{partition} is of {partition.incarnation}, but the stream is now {info.incarnation}",
            broker=BROKER,
            partition=str(partition),
            fix="the stream was made anew: take another STREAMKIT_GROUP, or say where to go on (streamkit checkpoints set)",
        )

"""A parser of answers for botocore: a cut body is an error, and records come without boto3's cost.

botocore reads a body without comparing its length with what was announced, and makes `{}` of one that is no JSON: a cut
answer would look like a closed shard, or like a stream without shards. `fast_parser_factory` is a component of a botocore
session (`response_parser_factory`; `client.py` registers it): it refuses such bodies for every operation, and takes the answers
of GetRecords apart with msgspec, base64 included, into one small object a record. Everything else is botocore's own parser, also
what msgspec does not like about an answer to GetRecords.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol, cast

import msgspec
from botocore.exceptions import HTTPClientError
from botocore.parsers import ResponseParserFactory
from pybase64 import b64decode

__all__ = ["LARGE_BYTES", "RawRecord", "UnusableAnswerError", "fast_parser_factory", "records_of", "strict_parser_factory"]


class RawRecord(msgspec.Struct, gc=False):
    """A record as the service sent it, with short names; `record.native` of what is delivered."""

    sequence: str = msgspec.field(name="SequenceNumber")
    data: bytes = msgspec.field(name="Data")
    key: str = msgspec.field(name="PartitionKey")
    arrived: float = msgspec.field(name="ApproximateArrivalTimestamp", default=0.0)
    """When the service took it in, unix seconds; 0 if it does not say."""


class UnusableAnswerError(HTTPClientError):  # type: ignore[misc]  # botocore has no types
    """An answer that arrived in part, or is not what the service sends. The same call may succeed when it is made again.

    An error of the connection like others of botocore's, but it is raised after botocore's own retries.
    """

    fmt = "{error}"


class Shape(Protocol):
    """What of botocore's output shapes is used here."""

    name: str
    members: Mapping[str, object]


class Parser(Protocol):
    """One of botocore's parsers."""

    def parse(self, response: dict[str, object], shape: Shape | None) -> dict[str, object]: ...


_NONE = msgspec.Raw(b"null")


class _Answer(msgspec.Struct, gc=False):
    records: list[RawRecord] = msgspec.field(name="Records")
    next_iterator: str | None = msgspec.field(name="NextShardIterator", default=None)
    millis_behind: int | None = msgspec.field(name="MillisBehindLatest", default=None)
    children: msgspec.Raw = msgspec.field(name="ChildShards", default=_NONE)


class _Encoded(msgspec.Struct, gc=False):
    """A `RawRecord` whose data is still base64."""

    sequence: str = msgspec.field(name="SequenceNumber")
    data: str = msgspec.field(name="Data")
    key: str = msgspec.field(name="PartitionKey")
    arrived: float = msgspec.field(name="ApproximateArrivalTimestamp", default=0.0)


class _EncodedAnswer(msgspec.Struct, gc=False):
    records: list[_Encoded] = msgspec.field(name="Records")
    next_iterator: str | None = msgspec.field(name="NextShardIterator", default=None)
    millis_behind: int | None = msgspec.field(name="MillisBehindLatest", default=None)
    children: msgspec.Raw = msgspec.field(name="ChildShards", default=_NONE)


LARGE_BYTES = 800
"""From here on a call of pybase64 for each record costs less than it saves: msgspec takes three times as long for the same base64."""
_decode_all = msgspec.json.Decoder(_Answer).decode
_decode_text = msgspec.json.Decoder(_EncodedAnswer).decode


def _decode(body: bytes) -> _Answer:
    """Either way the same. Raises ValueError: what only botocore puts up with."""
    first = body.find(b'"Data"')
    if body.find(b'"Data"', first + 1, first + LARGE_BYTES) >= 0 or len(body) < LARGE_BYTES:
        return _decode_all(body)
    found = _decode_text(body)
    records = [RawRecord(one.sequence, b64decode(one.data, None, True), one.key, one.arrived) for one in found.records]
    return _Answer(records, found.next_iterator, found.millis_behind, found.children)


class _StrictParser:
    """botocore's parser behind a check that the body is whole."""

    def __init__(self, parser: Parser) -> None:
        self._parser = parser

    def parse(self, response: dict[str, object], shape: Shape | None) -> dict[str, object]:
        body, status = response["body"], cast("int", response["status_code"])
        if isinstance(body, bytes) and status < 500:  # from 500 on the status says enough, and botocore tries again
            _check_length(body, response)
            if status < 300 and shape is not None:
                _check_json(body)
        return self._parser.parse(response, shape)


class _FastParser(_StrictParser):
    """The same, and records of GetRecords as `RawRecord`."""

    def parse(self, response: dict[str, object], shape: Shape | None) -> dict[str, object]:
        # DynamoDB Streams has a shape of that name as well, with other members.
        if shape is None or shape.name != "GetRecordsOutput" or cast("int", response["status_code"]) >= 300:
            return super().parse(response, shape)
        body = response["body"]
        if not isinstance(body, bytes) or "MillisBehindLatest" not in shape.members:
            return super().parse(response, shape)
        _check_length(body, response)
        try:
            answer = _decode(body)
        except (ValueError, RecursionError):
            return self._slowly(response, shape)  # cut after all, or something that only botocore puts up with
        # The rest of the answer is small, or nothing but its headers: botocore makes of it what it always does.
        if answer.children == _NONE:
            parsed = self._botocore({**response, "body": b""}, None)
        else:
            parsed = self._botocore({**response, "body": b'{"ChildShards":%b}' % answer.children}, shape)
        parsed["Records"] = answer.records
        if answer.next_iterator is not None:
            parsed["NextShardIterator"] = answer.next_iterator
        if answer.millis_behind is not None:
            parsed["MillisBehindLatest"] = answer.millis_behind
        return parsed

    def _slowly(self, response: dict[str, object], shape: Shape) -> dict[str, object]:
        _check_json(cast("bytes", response["body"]))
        parsed = self._botocore(response, shape)
        if "Records" in parsed:
            parsed["Records"] = records_of(parsed)
        return parsed

    def _botocore(self, response: dict[str, object], shape: Shape | None) -> dict[str, object]:
        try:
            return self._parser.parse(response, shape)
        except Exception as error:  # of many kinds: it does not expect a list where it looks for a number
            raise UnusableAnswerError(error=f"an answer of GetRecords of another form: {type(error).__name__}") from error


class _Factory(ResponseParserFactory):  # type: ignore[misc]  # botocore has no types
    """Makes one parser for each protocol; parsers keep nothing between two answers, so all threads may share it."""

    def __init__(self, kind: type[_StrictParser]) -> None:
        super().__init__()
        self._kind = kind
        self._made: dict[str, _StrictParser] = {}

    def set_parser_defaults(self, **kwargs: object) -> None:
        super().set_parser_defaults(**kwargs)
        self._made = {}

    def create_parser(self, protocol_name: str) -> Parser:
        parser = self._made.get(protocol_name)
        if parser is None:
            parser = self._made[protocol_name] = self._kind(super().create_parser(protocol_name))
        return parser


def fast_parser_factory() -> ResponseParserFactory:
    """For `session.register_component("response_parser_factory", …)`, before the client is made."""
    return _Factory(_FastParser)


def strict_parser_factory() -> ResponseParserFactory:
    """botocore's own parsers, but a cut answer is an error."""
    return _Factory(_StrictParser)


def records_of(answer: Mapping[str, object]) -> list[RawRecord]:
    """The records of an answer of GetRecords, whichever parser made it.

    Raises UnusableAnswerError if it has no `Records`: then it is no whole answer, and its other fields mean nothing either.
    """
    records = answer.get("Records")
    if not isinstance(records, list):
        raise UnusableAnswerError(error="an answer of GetRecords without Records")
    if records and not isinstance(records[0], RawRecord):
        return [_raw(record) for record in records]
    return records


def _raw(record: Mapping[str, object]) -> RawRecord:
    try:
        arrived = record.get("ApproximateArrivalTimestamp")
        return RawRecord(
            cast("str", record["SequenceNumber"]),
            cast("bytes", record["Data"]),
            cast("str", record["PartitionKey"]),
            arrived.timestamp() if isinstance(arrived, datetime) else 0.0,
        )
    except (KeyError, AttributeError) as error:
        raise UnusableAnswerError(error=f"a record of GetRecords without {error}") from None


def _check_length(body: bytes, response: Mapping[str, object]) -> None:
    announced = cast("Mapping[str, str]", response["headers"]).get("content-length")
    if announced is not None and announced.isdecimal() and int(announced) > len(body):
        raise UnusableAnswerError(error=f"an answer of {announced} bytes ended after {len(body)}")


def _check_json(body: bytes) -> None:
    try:
        if isinstance(json.loads(body.decode()), dict):
            return
    except (ValueError, RecursionError):
        pass
    raise UnusableAnswerError(error=f"an answer of {len(body)} bytes that is no JSON object")

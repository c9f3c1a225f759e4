"""One read of one shard, from request to answer: the calls that threads make. Keeps nothing of a shard.

What is wrong with a read is raised: `IteratorExpired` for an iterator that has grown too old, `Expired` for a position whose record
is not kept any more, and streamkit's errors for everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from streamkit.errors import BrokerError, BrokerUnavailableError, PositionExpiredError, PositionInvalidError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext
from streamkit_kinesis.client import Answer, KinesisClient
from streamkit_kinesis.cursor import Fetched, Request
from streamkit_kinesis.ends import Ends
from streamkit_kinesis.errors import BROKER, SDK_ERRORS, broker_error, code_of, translated
from streamkit_kinesis.parser import RawRecord, records_of
from streamkit_kinesis.record import Unpacker
from streamkit_kinesis.room import RECORD_OVERHEAD_BYTES, USER_RECORD_OVERHEAD_BYTES
from streamkit_kinesis.shards import child_of
from streamkit_kinesis.streams import StreamBook, StreamInfo, check_incarnation, required, stream_argument

__all__ = ["AT_THE_EDGE", "OWN_RECORD_GONE", "TIME_EXPIRED", "Fetch", "IteratorExpired", "LeftBehindError"]

OWN_RECORD_GONE = "the checkpoint's record was not there any more, though it should have been"
TIME_EXPIRED = "the start time is older than what the stream keeps, reading from its oldest record"

AT_THE_EDGE = "reading is behind by as long as the stream keeps records, some may have expired unread"

_EXPIRED_FIX = "read more often than the stream's retention, or make that longer; STREAMKIT_KINESIS__ON_EXPIRED says what then"
SHORTEST_RETENTION_SECONDS = 86400.0
"""The service keeps records for a day at least."""
INFO_SECONDS = 10.0
"""How old an answer about a stream may be when an iterator is opened: a thousand shards that begin together need one."""
MARGIN_SECONDS = 60.0
"""How far clocks may differ where an age decides."""


class IteratorExpired(Exception):
    """Another iterator is needed, from where the cursor stands."""


class LeftBehindError(PositionExpiredError):
    """What follows may have expired, or not quite: nobody has looked. So reading goes on behind what was read, not at the oldest
    record, which may have been read long ago."""


class Fetch:
    """Makes reads. From any number of threads at once."""

    def __init__(
        self, client: KinesisClient, ends: Ends, book: StreamBook, context: AdapterContext, out_of_range: Literal["drop", "deliver"]
    ) -> None:
        self._client = client
        self._ends = ends
        self._book = book
        self._context = context
        self._out_of_range = out_of_range

    def read(self, request: Request, opened: Callable[[str | None], None]) -> Fetched:
        """Make it; `opened` is told of a new iterator, so that a read that fails with it need not get another one, or that it is none.

        Raises BrokerError; IteratorExpired.
        """
        if request.confirm_end:
            return self._confirmed(request, opened)
        return self._next(request, opened)

    def _next(self, request: Request, opened: Callable[[str | None], None]) -> Fetched:
        if request.iterator is not None:
            return self._taken(request, self._get_records(request, request.iterator))
        iterator = self._open(request)
        opened(iterator)
        try:
            return self._taken(request, self._get_records(request, iterator))
        except IteratorExpired as error:
            opened(None)  # another one may be no better, so this is a failure that is counted
            raise BrokerUnavailableError(
                f"Kinesis, reading {request.partition}: an iterator had expired as soon as it was there",
                broker=BROKER,
                partition=str(request.partition),
            ) from error

    def _confirmed(self, request: Request, opened: Callable[[str | None], None]) -> Fetched:
        """The end of a shard, or what comes behind that which looked like it: that a shard is closed does not say that it was read to
        its end, so there must be nothing behind what was read."""
        children = self._ends.children(request.partition)
        if request.after is not None and request.after.is_end:
            return Fetched(None, is_last=True, children=children)
        fetched = self._next(request, opened)
        if fetched.is_last and not fetched.records:
            fetched.children = children
        return fetched

    # -- the calls ------------------------------------------------------------------------------------------------

    def _open(self, request: Request) -> str:
        """A new iterator, of the stream that we mean and no other one of its name."""
        partition, opening = request.partition, request.opening
        doing = f"opening {partition}"
        info = self._book.look_up(partition.stream, INFO_SECONDS)
        check_incarnation(partition, info)
        if request.through is not None and self._age(request.through) > info.retention_seconds - MARGIN_SECONDS:
            raise self._left_behind(request, info)
        if request.not_before is not None and self._age(request.not_before) > info.retention_seconds:
            self._context.noticed(partition, TIME_EXPIRED)
        try:
            answer = self._client.get_shard_iterator(ShardId=partition.id, **opening, **stream_argument(partition.stream))
        except SDK_ERRORS as error:
            raise self._open_failed(request, error, doing) from error
        return str(required(answer, "ShardIterator", doing))

    def _open_failed(self, request: Request, error: Exception, doing: str) -> BrokerError:
        partition = request.partition
        code = code_of(error)
        if code == "ResourceNotFoundException":
            return self._missing(partition, doing)
        if code == "InvalidArgumentException" and "StartingSequenceNumber" in request.opening:
            if self._is_expired(request):
                return self._expired(request, "")
            invalid = PositionInvalidError(
                f"{broker_error(error, doing)}",
                broker=BROKER,
                partition=str(partition),
                fix="say where to go on: streamkit checkpoints set",
            )
            invalid.__cause__ = error
            return invalid
        return broker_error(error, doing, str(partition))

    def _get_records(self, request: Request, iterator: str) -> Answer:
        partition = request.partition
        arn = stream_argument(partition.stream) if partition.stream.startswith("arn:") else {}
        doing = f"reading {partition}"
        try:
            return self._client.get_records(ShardIterator=iterator, Limit=request.limit, **arn)
        except SDK_ERRORS as error:
            code = code_of(error)
            if code == "ExpiredIteratorException":
                raise IteratorExpired from error
            if code == "ResourceNotFoundException":
                raise self._missing(partition, doing) from error
            raise broker_error(error, doing, str(partition)) from error

    def _missing(self, partition: Partition, doing: str) -> BrokerError:
        try:
            self._ends.missing(partition, doing)
        except BrokerError as error:
            return error
        raise AssertionError("it always raises")

    # -- what an answer means -------------------------------------------------------------------------------------

    def _taken(self, request: Request, answer: Answer) -> Fetched:
        partition = request.partition
        doing = f"reading {partition}"
        behind_ms = float(str(required(answer, "MillisBehindLatest", doing)))
        with translated(doing, str(partition)):
            records = records_of(answer)
        token = answer.get("NextShardIterator")
        fetched = Fetched(token or None, records=len(records))
        if not token:
            fetched.is_last = True
            if said := answer.get("ChildShards"):
                fetched.children = tuple(child_of(partition, child) for child in said)
        if behind_ms / 1000 > SHORTEST_RETENTION_SECONDS - MARGIN_SECONDS:
            self._look_at_edge(partition, behind_ms / 1000)
        if behind_ms == 0:
            fetched.through = self._context.unix_time()
        elif records and records[-1].arrived:
            fetched.through = records[-1].arrived
        fetched.at_tip = not records and behind_ms == 0
        fetched.behind = not fetched.is_last and (behind_ms > 0 or len(records) >= request.limit)
        if records:
            fetched.past_tip = behind_ms == 0 and records[-1].arrived > request.added + MARGIN_SECONDS
            self._unpack(request, records, fetched, behind_ms / 1000)
        return fetched

    def _unpack(self, request: Request, records: list[RawRecord], fetched: Fetched, lag_seconds: float) -> None:
        partition = request.partition
        if request.own is not None:
            self._check_own(request, records[0])
        fetched.last = records[-1].sequence
        whole = records
        if request.not_before is not None:
            records = _from(records, request.not_before)
        fetched.past_start = bool(records)

        def noticed(what: str, count: int) -> None:
            self._context.noticed(partition, what, count)

        unpacker = Unpacker(partition, out_of_range=self._out_of_range, noticed=noticed)
        received = self._context.unix_time()
        fetched.batch = unpacker.unpack(records, after=request.after, received=received, lag_seconds=lag_seconds)
        batch = fetched.batch
        if batch is not None and batch.is_plain and len(batch) == len(whole):
            fetched.data_bytes = batch.bytes
        else:
            fetched.data_bytes = sum(len(record.data) for record in whole)
        fetched.weight = fetched.data_bytes + len(whole) * RECORD_OVERHEAD_BYTES
        if batch is not None and not batch.is_plain:  # its values lie beside the aggregates that they were taken from
            fetched.weight += batch.bytes + len(batch) * USER_RECORD_OVERHEAD_BYTES

    def _check_own(self, request: Request, first: RawRecord) -> None:
        """The checkpoint's own record must come first. The service answers a position that has expired with its oldest record, and
        does not say so. Raises PositionExpiredError; where the age is not known, or not old enough, it is only noticed."""
        assert request.own is not None
        if int(first.sequence) <= request.own:
            return
        if self._is_expired(request):
            raise self._expired(request, first.sequence)
        self._context.noticed(request.partition, OWN_RECORD_GONE)

    def _is_expired(self, request: Request) -> bool:
        if request.written is None or request.own is None:
            return False
        retention = self._book.look_up(request.partition.stream, INFO_SECONDS).retention_seconds
        return self._age(request.written.timestamp()) > retention - MARGIN_SECONDS

    def _age(self, unix_time: float) -> float:
        return self._context.unix_time() - unix_time

    def _look_at_edge(self, partition: Partition, lag_seconds: float) -> None:
        """Who reads no faster than records expire is never told by the service what it has missed."""
        if lag_seconds > self._book.look_up(partition.stream, INFO_SECONDS).retention_seconds - MARGIN_SECONDS:
            self._context.noticed(partition, AT_THE_EDGE)

    def _left_behind(self, request: Request, info: StreamInfo) -> PositionExpiredError:
        """It was not read for so long that a new iterator would pass over what has expired meanwhile."""
        partition, through = request.partition, request.through
        assert through is not None
        return LeftBehindError(
            f"{partition} was read up to {datetime.fromtimestamp(through, UTC):%Y-%m-%d %H:%M:%S} UTC, "
            f"and the stream keeps {info.retention_seconds / 3600:g} hours",
            broker=BROKER,
            partition=str(partition),
            fix=_EXPIRED_FIX,
        )

    def _expired(self, request: Request, oldest: str) -> PositionExpiredError:
        partition, written = request.partition, request.written
        assert written is not None
        since = datetime.fromtimestamp(self._context.unix_time(), UTC) - written
        return PositionExpiredError(
            f"{partition}: the record of the checkpoint, {request.own}, was written {since} ago, and the stream does not keep it any more",
            earliest=oldest,
            broker=BROKER,
            partition=str(partition),
            fix=_EXPIRED_FIX,
        )


def _from(records: list[RawRecord], time: float) -> list[RawRecord]:
    """Without those at the beginning that arrived before. Arrival times are approximate, so what follows the first one is kept."""
    for index, record in enumerate(records):
        if record.arrived >= time or not record.arrived:
            return records[index:]
    return []

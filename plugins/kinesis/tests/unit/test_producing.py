"""The producer, over a service that is scripted: an answer for each record, never a false yes, and the order of keys through failures."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from streamkit_kinesis import sender
from streamkit_kinesis.producer import KinesisProducer
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.writing import Writing

from streamkit.errors import AccessDeniedError, BrokerError, BrokerUnavailableError, StreamGoneError, ThrottledError
from streamkit.model import Headers
from streamkit.plugin import NewRecord
from tests.conformance.context import PlainContext

SENDS = st.lists(st.lists(st.sampled_from([b"a", b"b", b"c", None]), max_size=12), min_size=1, max_size=4)
"""The keys of the records of each."""
THROTTLED = "ProvisionedThroughputExceededException"


class Service:
    """As a stream of two shards answers. `refuse(record)` gives an error code, or None; `broken` an answer in place of the true one."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.records: list[dict[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], str | None] = lambda record: None
        self.broken: dict[str, Any] | None = None
        self.raises: Exception | None = None
        self.before: Callable[[], None] = lambda: None
        self.closed = 0
        self.status = "ACTIVE"

    def put_records(self, **arguments: Any) -> dict[str, Any]:
        self.before()
        self.calls.append(arguments["Records"])
        if self.raises is not None:
            raise self.raises
        codes = [self.refuse(record) for record in arguments["Records"]]
        answers: list[dict[str, Any]] = []
        for record, code in zip(arguments["Records"], codes, strict=True):
            if code is None:
                self.records.append(record)
                answers.append({"SequenceNumber": str(len(self.records)), "ShardId": "shardId-000000000000"})
            else:
                answers.append({"ErrorCode": code, "ErrorMessage": "Rate exceeded for shard shardId-000000000000"})
        true = {"Records": answers, "FailedRecordCount": sum(1 for code in codes if code)}
        return true if self.broken is None else true | self.broken

    def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"
        summary = {"StreamStatus": self.status, "StreamARN": arn, "StreamCreationTimestamp": 1_700_000_000, "RetentionPeriodHours": 24}
        return {"StreamDescriptionSummary": summary} if self.status else {}

    def list_shards(self, **arguments: Any) -> dict[str, Any]:
        middle, last = str(1 << 127), str((1 << 128) - 1)
        first = {"ShardId": "shardId-000000000000", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": last}}
        low = {"ShardId": "shardId-000000000001", "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str((1 << 127) - 1)}}
        high = {"ShardId": "shardId-000000000002", "HashKeyRange": {"StartingHashKey": middle, "EndingHashKey": last}}
        first["SequenceNumberRange"] = {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9"}
        low["SequenceNumberRange"] = high["SequenceNumberRange"] = {"StartingSequenceNumber": "10"}
        if "NextToken" in arguments:
            assert set(arguments) == {"NextToken"}
            return {"Shards": [high]}
        return {"Shards": [first, low], "NextToken": "t"}

    def close(self) -> None:
        self.closed += 1


class Rig:
    def __init__(self, **fields: Any) -> None:
        self.service = Service()
        self.context = PlainContext(broker="kinesis")
        self.settings = KinesisSettings(**fields)

    def run(self, work: Callable[[KinesisProducer], Awaitable[Any]]) -> Any:
        async def body() -> Any:
            producer = KinesisProducer(self.settings, self.context)
            producer._writing = Writing(self.service, self.context)  # type: ignore[arg-type]
            try:
                return await asyncio.wait_for(work(producer), 20)
            finally:
                await producer.close()

        return asyncio.run(body())

    def send(self, *records: NewRecord) -> list[Any]:
        return list(self.run(lambda producer: producer.send("orders", records)))

    def values(self, key: str | None = None) -> list[bytes]:
        return [record["Data"] for record in self.service.records if key in (None, record["PartitionKey"])]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    no_pauses(monkeypatch)
    return Rig()


def no_pauses(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sender, "_FIRST_BACKOFF_SECONDS", 0.0)


def numbered(count: int, key: bytes | None = b"ada") -> list[NewRecord]:
    return [NewRecord(b"%d" % number, key) for number in range(count)]


def test_what_is_answered_with_none_is_in_the_stream(rig: Rig) -> None:
    assert rig.send(NewRecord(b"tea", b"ada"), NewRecord(b"", b"\xc3\xa9")) == [None, None]
    assert rig.service.records == [{"Data": b"tea", "PartitionKey": "ada"}, {"Data": b"", "PartitionKey": "é"}]
    assert rig.send() == []


def test_a_stream_may_be_named_by_its_arn(rig: Rig) -> None:
    seen: list[dict[str, Any]] = []
    put = rig.service.put_records
    rig.service.put_records = lambda **arguments: seen.append(arguments) or put(**arguments)  # type: ignore[func-returns-value,method-assign]
    arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/orders"
    rig.run(lambda producer: producer.send(arn, [NewRecord(b"v")]))
    assert [set(arguments) - {"Records"} for arguments in seen] == [{"StreamARN"}]


def test_records_without_a_key_spread(rig: Rig) -> None:
    assert rig.send(*numbered(50, None)) == [None] * 50
    assert len(rig.service.calls) == 1
    assert len({record["PartitionKey"] for record in rig.service.records}) == 50


def test_only_those_that_were_refused_are_sent_again(rig: Rig) -> None:
    tries = Counter[bytes]()

    def refuse(record: dict[str, Any]) -> str | None:
        tries[record["Data"]] += 1
        return THROTTLED if record["Data"] in (b"3", b"7") and tries[record["Data"]] < 3 else None

    rig.service.refuse = refuse
    assert rig.send(*numbered(10, None)) == [None] * 10
    assert [len(call) for call in rig.service.calls] == [10, 2, 2]
    assert sorted(rig.values()) == [b"%d" % number for number in range(10)]


@profile(deadline=None, max_examples=60)
@given(SENDS, st.randoms(use_true_random=False))
def test_records_of_one_key_keep_their_order_whatever_is_refused(sends: list[list[bytes | None]], random: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        no_pauses(patch)
        rig = Rig()
        rig.service.refuse = lambda record: random.choice([None, None, THROTTLED, "InternalFailure"])
        keys = [(number, key) for number, key in enumerate(key for send in sends for key in send)]
        records = iter([NewRecord(b"%d" % number, key) for number, key in keys])
        batches = [[next(records) for _ in send] for send in sends]

        async def work(producer: KinesisProducer) -> list[Any]:
            return await asyncio.gather(*(producer.send("orders", batch) for batch in batches))

        assert rig.run(work) == [[None] * len(batch) for batch in batches]
        for key in ("a", "b", "c"):
            assert rig.values(key) == [b"%d" % number for number, one in keys if one == key.encode()]


def test_without_order_one_call_holds_many_records_of_a_key() -> None:
    rig = Rig(keep_order=False)
    assert rig.send(*numbered(500)) == [None] * 500
    assert len(rig.service.calls) == 1


def test_with_order_a_call_holds_one_record_of_a_key(rig: Rig) -> None:
    assert rig.send(*numbered(3, b"a"), *numbered(2, b"b")) == [None] * 5
    assert [[record["PartitionKey"] for record in call] for call in rig.service.calls] == [["a", "b"], ["a", "b"], ["a"]]


def test_sends_that_run_beside_each_other_share_calls(rig: Rig) -> None:
    async def work(producer: KinesisProducer) -> Any:
        return await asyncio.gather(*(producer.send("orders", [NewRecord(b"v", b"%d" % number)]) for number in range(40)))

    assert rig.run(work) == [[None]] * 40
    assert len(rig.service.calls) == 1


def test_one_that_is_refused_for_too_long_is_given_up_and_what_is_behind_it_is_not_sent(rig: Rig) -> None:
    """Or it would be behind them when the caller sends it again. Other keys have nothing to do with it."""

    def pass_time() -> None:
        rig.context.now += 4

    rig.service.before = pass_time
    rig.service.refuse = lambda record: THROTTLED if record["Data"] == b"0" else None
    answers = rig.send(*numbered(3), NewRecord(b"x", b"bob"))
    assert isinstance(answers[0], ThrottledError)
    assert "too few shards" in answers[0].fix
    assert [type(answer) for answer in answers[1:]] == [BrokerUnavailableError, BrokerUnavailableError, type(None)]
    assert "not sent" in str(answers[1])
    assert rig.values() == [b"x"]
    assert 7 <= len(rig.service.calls) <= 9  # 30 seconds of 4 each


def test_a_call_that_is_throttled_as_a_whole_is_sent_again(rig: Rig) -> None:
    def once() -> None:
        rig.service.raises = ThrottledError("slow down") if not rig.service.calls else None

    rig.service.before = once
    assert rig.send(*numbered(2, None)) == [None, None]
    assert len(rig.service.calls) == 2


@pytest.mark.parametrize(
    "error", [BrokerUnavailableError("no answer"), AccessDeniedError("no", missing="kinesis:PutRecords"), StreamGoneError("gone")]
)
def test_a_call_that_fails_is_the_answer_of_each_of_its_records_and_is_not_repeated(rig: Rig, error: BrokerError) -> None:
    rig.service.raises = error
    answers = rig.send(*numbered(2, None), *numbered(2))
    assert answers[:3] == [error] * 3
    assert "not sent" in str(answers[3])
    assert len(rig.service.calls) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"Records": None},
        {"FailedRecordCount": None},
        {"FailedRecordCount": 1},
        {"Records": []},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}]},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}] * 3},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}, {}]},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}, {"SequenceNumber": "2"}]},
        {"Records": [{"SequenceNumber": "1", "ShardId": "s"}, None]},
    ],
)
def test_an_answer_that_is_not_whole_is_in_doubt_and_never_a_yes(rig: Rig, broken: dict[str, Any]) -> None:
    rig.service.broken = broken
    answers = rig.send(*numbered(2, None))
    assert [type(answer) for answer in answers] == [BrokerUnavailableError] * 2
    assert all("may be in the stream or not" in str(answer) for answer in answers)
    assert len(rig.service.calls) == 1  # sent again it might be there twice, and that is for the caller to decide


def test_what_kinesis_cannot_hold_is_refused_alone_with_the_limit(rig: Rig) -> None:
    limit = 1 << 20
    records = [
        NewRecord(b"x" * (limit - 3), b"ada"),
        NewRecord(b"x" * (limit - 2), b"ada"),
        NewRecord(b"v", b"\xff"),
        NewRecord(b"v", b""),
        NewRecord(b"v", b"k" * 257),
        NewRecord(None, b"ada"),
        NewRecord(b"v", b"ada", Headers([("a", b"1")])),
        NewRecord(b"last", b"ada"),
    ]
    answers = rig.send(*records)
    assert [index for index, answer in enumerate(answers) if answer is None] == [0, 7]
    assert all(type(answer) is BrokerError and answer.fix for answer in answers[1:7])
    assert "1048577 bytes" in str(answers[1])
    assert "STREAMKIT_KINESIS__MAX_RECORD" in answers[1].fix
    assert ["text" in str(answers[2]), "0 characters" in str(answers[3]), "257 characters" in str(answers[4])] == [True] * 3
    assert ["without a value" in str(answers[5]), "headers" in str(answers[6])] == [True] * 2


def test_streams_that_allow_larger_records_get_them() -> None:
    rig = Rig(max_record=10 << 20)
    assert rig.send(NewRecord(b"x" * (6 << 20)), NewRecord(b"y")) == [None, None]
    assert [len(call) for call in rig.service.calls] == [1, 1]


def test_a_named_shard_gets_a_hash_key_of_its_range(rig: Rig) -> None:
    records = [NewRecord(b"%d" % number, b"k", partition=f"shardId-00000000000{number}") for number in range(4)]
    closed, low, high, unknown = rig.send(*records)
    assert (low, high) == (None, None)
    assert {record["Data"]: record["ExplicitHashKey"] for record in rig.service.records} == {b"1": "0", b"2": str(1 << 127)}
    assert "closed" in str(closed)
    assert isinstance(unknown, StreamGoneError)


def test_check_looks_whether_the_stream_is_there(rig: Rig) -> None:
    rig.run(lambda producer: producer.check("orders"))
    rig.service.status = "DELETING"
    with pytest.raises(StreamGoneError):
        rig.run(lambda producer: producer.check("orders"))
    rig.service.status = ""
    with pytest.raises(BrokerUnavailableError, match="cut"):
        rig.run(lambda producer: producer.check("orders"))


def test_closing_answers_what_waits_and_gives_back_the_client() -> None:
    rig = Rig()  # with pauses: the first record rests, the second one waits for it
    rig.service.refuse = lambda record: THROTTLED

    async def work(producer: KinesisProducer) -> Any:
        sending = asyncio.create_task(producer.send("orders", numbered(2)))
        while not rig.service.calls:
            await asyncio.sleep(0)
        await producer.close()
        return await sending

    answers = rig.run(work)
    assert [type(answer) for answer in answers] == [BrokerUnavailableError] * 2
    assert rig.service.closed == 1


def test_a_closed_producer_sends_nothing(rig: Rig) -> None:
    async def work(producer: KinesisProducer) -> None:
        await producer.close()
        with pytest.raises(BrokerUnavailableError, match="closed"):
            await producer.send("orders", numbered(1))

    rig.run(work)


def test_dead_letters_come_to_it_as_one_value() -> None:
    assert KinesisProducer.keeps_headers is False

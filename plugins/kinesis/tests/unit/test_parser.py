"""Answers of GetRecords: the same as boto3's, faster, and none that was cut."""

from __future__ import annotations

import base64
import json
import random
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from streamkit_kinesis import parser
from streamkit_kinesis.parser import LARGE_BYTES, RawRecord, UnusableAnswerError, fast_parser_factory, records_of, strict_parser_factory

from plugins.kinesis.tests.canned import Canned

PLAIN = Canned()
FAST = Canned(fast_parser_factory())
STRICT = Canned(strict_parser_factory())

RECORD = {
    "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
    "Data": base64.b64encode(b"value").decode(),
    "PartitionKey": "key",
    "ApproximateArrivalTimestamp": 1794000000.123,
    "EncryptionType": "NONE",
}
RANGE = {"StartingHashKey": "0", "EndingHashKey": "99"}
CHILDREN = [{"ShardId": "shardId-1", "ParentShards": ["shardId-0"], "HashKeyRange": RANGE, "New": {"a": []}}]
ANSWER = {"Records": [RECORD, RECORD], "NextShardIterator": "next", "MillisBehindLatest": 1200}


def both(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    PLAIN.answer(body)
    FAST.answer(body)
    return PLAIN.get_records(), FAST.get_records()


def same(body: bytes) -> dict[str, Any]:
    """The fast parser's answer, which is boto3's in everything but the type of a record."""
    plain, fast = both(body)
    assert list(map(type, fast["Records"])) == [RawRecord] * len(fast["Records"])
    assert {**fast, "Records": None} == {**plain, "Records": None}
    for mine, theirs in zip(fast["Records"], plain["Records"], strict=True):
        assert (mine.sequence, mine.data, mine.key) == (theirs["SequenceNumber"], theirs["Data"], theirs["PartitionKey"])
        arrived = theirs.get("ApproximateArrivalTimestamp")
        assert mine.arrived == pytest.approx(arrived.timestamp(), abs=1e-6, rel=0) if arrived else mine.arrived == 0
    for mine, theirs in zip(records_of(fast), records_of(plain), strict=True):
        assert (mine.sequence, mine.data, mine.key) == (theirs.sequence, theirs.data, theirs.key)
    return fast


def bytes_of(answer: object) -> bytes:
    return json.dumps(answer).encode()


def test_an_answer_is_boto3s_with_records_of_our_own() -> None:
    fast = same(bytes_of({**ANSWER, "ChildShards": CHILDREN}))
    assert fast["Records"][0] == RawRecord(RECORD["SequenceNumber"], b"value", "key", 1794000000.123)
    assert fast["NextShardIterator"] == "next"
    assert fast["MillisBehindLatest"] == 1200
    assert fast["ChildShards"][0]["ParentShards"] == ["shardId-0"]
    assert fast["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert fast["ResponseMetadata"]["RequestId"] == "r"


LARGE = base64.b64encode(bytes(range(256)) * 5).decode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LARGE, id="whole"),
        pytest.param(LARGE.replace("/", "\\/"), id="escaped"),
        pytest.param(LARGE.replace("A", "\\u0041"), id="more escaped"),
        pytest.param(LARGE[:40] + "\\n" + LARGE[40:], id="in lines"),
        pytest.param(LARGE[:41] + "*" + LARGE[41:], id="a character that means nothing"),
        pytest.param("", id="empty"),
    ],
)
def test_large_records_are_boto3s_as_well(data: str) -> None:
    assert len(LARGE) > LARGE_BYTES
    record = bytes_of(RECORD).replace(bytes_of(RECORD["Data"]), b'"%b"' % data.encode())
    first = bytes_of({**RECORD, "Data": LARGE})
    fast = same(b'{"Records": [%b, %b, %b], "NextShardIterator": "next", "MillisBehindLatest": 7}' % (first, record, first))
    assert fast["Records"][0].data == fast["Records"][2].data == bytes(range(256)) * 5


def test_large_records_do_not_go_through_msgspecs_base64(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(parser, "b64decode", lambda text, *more: taken.append(text) or b"")
    FAST.answer(bytes_of({**ANSWER, "Records": [{**RECORD, "Data": LARGE}] * 3}))
    FAST.get_records()
    assert taken == [LARGE] * 3
    FAST.answer(bytes_of(ANSWER))
    FAST.get_records()
    assert len(taken) == 3


@pytest.mark.parametrize(
    "change", [{}, {"ChildShards": CHILDREN}, {"NextShardIterator": None, "New": [{}], "Records": [{**RECORD, "New": 1}]}]
)
def test_records_do_not_go_through_botocores_parser(change: dict[str, object]) -> None:
    """It is there for what msgspec does not like, and nobody would notice if that were every answer."""

    def refuse(text: object) -> bytes:
        raise AssertionError("botocore has read a record")

    factory = fast_parser_factory()
    factory.set_parser_defaults(blob_parser=refuse)
    canned = Canned(factory)
    canned.answer(bytes_of({**ANSWER, **change}))
    answer = canned.get_records()
    assert answer["Records"][0].data == b"value"
    assert ("ChildShards" in answer) == ("ChildShards" in change)


def test_whichever_parser_made_an_answer_its_records_are_equal() -> None:
    plain, fast = both(bytes_of(ANSWER))
    assert isinstance(plain["Records"][0]["ApproximateArrivalTimestamp"], datetime)
    assert records_of(plain) == records_of(fast) == fast["Records"]


@pytest.mark.parametrize(
    "change",
    [
        {"Records": []},
        {"NextShardIterator": None},
        {"NextShardIterator": None, "ChildShards": CHILDREN},
        {"ChildShards": None},
        {"ChildShards": []},
        {"MillisBehindLatest": None},
        {"MillisBehindLatest": 0},
        {"Records": [{**RECORD, "ApproximateArrivalTimestamp": 1794000000}]},
        {"Records": [{**RECORD, "ApproximateArrivalTimestamp": "2026-11-21T10:00:00Z"}]},
        {"Records": [{**RECORD, "ApproximateArrivalTimestamp": None}]},
        {"Records": [{**RECORD, "EncryptionType": "KMS"}]},
        {"Records": [{**RECORD, "EncryptionType": None, "Later": [{"deep": [1, None, "x"]}]}]},
        {"Records": [{**RECORD, "Data": ""}]},
        {"Records": [{**RECORD, "PartitionKey": 'ключ "\\/\b\n\u2028 😀'}]},
        {"Unknown": {"Records": [1]}, "records": 3},
    ],
)
def test_what_may_be_missing_or_new_changes_nothing(change: dict[str, object]) -> None:
    same(bytes_of({**ANSWER, **change}))
    same(json.dumps({**ANSWER, **change}, ensure_ascii=False, indent=1).encode())
    same(bytes_of({key: value for key, value in {**ANSWER, **change}.items() if value is not None}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
unknown = st.dictionaries(st.text(min_size=1, max_size=8).map("new-".__add__), json_values, max_size=3)
timestamps = st.none() | st.integers(0, 4_000_000_000) | st.floats(0, 4_000_000_000)
shards = st.fixed_dictionaries(
    {"ShardId": st.text(max_size=10), "ParentShards": st.lists(st.text(max_size=10), max_size=2)},
    optional={"HashKeyRange": st.none() | st.fixed_dictionaries({"StartingHashKey": st.text(max_size=5), "EndingHashKey": st.just("9")})},
)
records = st.fixed_dictionaries(
    {
        "SequenceNumber": st.integers(0, 1 << 186).map(str),
        "Data": st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode()),
        "PartitionKey": st.text(max_size=12),
    },
    optional={"ApproximateArrivalTimestamp": timestamps, "EncryptionType": st.sampled_from(["NONE", "KMS", "LATER", None])},
)
answers = st.fixed_dictionaries(
    {"Records": st.lists(st.builds(lambda a, b: {**a, **b}, records, unknown), max_size=5)},
    optional={
        "NextShardIterator": st.none() | st.text(max_size=20),
        "MillisBehindLatest": st.none() | st.integers(0, 1 << 62),
        "ChildShards": st.none() | st.lists(shards, max_size=2),
    },
)


def shuffled(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        items = [(key, shuffled(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(answers, unknown, st.randoms(use_true_random=False), st.booleans())
@settings(deadline=None, max_examples=50)
def test_any_answer_is_read_as_boto3_reads_it(
    answer: dict[str, object], new: dict[str, object], chance: random.Random, escaped: bool
) -> None:
    text = json.dumps(shuffled({**answer, **new}, chance), ensure_ascii=escaped, indent=chance.choice([None, 1]))
    same(text.encode())


@given(answers, st.data())
@settings(deadline=None, max_examples=40)
def test_a_cut_answer_is_an_error_wherever_it_is_cut(answer: dict[str, object], data: st.DataObject) -> None:
    """Also where nothing announces a length: what is no whole JSON is no answer."""
    body = bytes_of(answer)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    PLAIN.answer(cut)
    assert not PLAIN.get_records().keys() - {"ResponseMetadata"}, "boto3 alone says that there is nothing"
    for canned in (FAST, STRICT):
        canned.answer(cut)
        with pytest.raises(UnusableAnswerError, match="no JSON object"):
            canned.get_records()
        canned.answer(cut, length=len(body))
        with pytest.raises(UnusableAnswerError, match=f"of {len(body)} bytes ended after {len(cut)}"):
            canned.get_records()


@given(answers.filter(lambda answer: bool(answer["Records"])), st.data())
@settings(deadline=None, max_examples=80)
def test_bytes_that_have_changed_give_boto3s_answer_or_an_error_of_ours(answer: dict[str, object], data: st.DataObject) -> None:
    body = bytearray(bytes_of(answer))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from(b'0123456789{}[]",:.-eEnul\\ x\xff\x00'))
    PLAIN.answer(bytes(body))
    FAST.answer(bytes(body))
    try:
        fast = FAST.get_records()
        records_of(fast)
    except UnusableAnswerError:
        return
    try:
        plain = PLAIN.get_records()
        theirs = records_of(plain)
    except Exception:  # botocore raises what it stumbles upon; msgspec does not look into the text of what it skips
        return
    assert [(r.sequence, r.data, r.key) for r in records_of(fast)] == [(r.sequence, r.data, r.key) for r in theirs]
    assert {**fast, "Records": None} == {**plain, "Records": None}


@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"3", b"", b"<html></html>", b'{"Records":[]} {}', b"\xff\xfe{\x00}\x00"])
def test_a_whole_answer_is_a_json_object(body: bytes) -> None:
    for canned in (FAST, STRICT):
        canned.answer(body)
        with pytest.raises(UnusableAnswerError):
            canned.get_records()


@pytest.mark.parametrize(
    "change",
    [
        {"Records": {"a": 1}},
        {"Records": [None]},
        {"Records": [3]},
        {"Records": [{**RECORD, "Data": None}]},
        {"Records": [{**RECORD, "SequenceNumber": None}]},
        {"Records": [{**RECORD, "ApproximateArrivalTimestamp": "yesterday?"}]},
        {"ChildShards": 3},
        {"ChildShards": ["x"]},
    ],
)
def test_an_answer_of_another_form_is_an_error_not_an_accident(change: dict[str, object]) -> None:
    FAST.answer(bytes_of({**ANSWER, **change}))
    with pytest.raises(UnusableAnswerError):
        FAST.get_records()


@pytest.mark.parametrize("record", [RECORD, {**RECORD, "Data": LARGE}], ids=["small", "large"])
def test_an_answer_that_is_nested_too_deeply_is_an_error_not_an_accident(record: dict[str, object]) -> None:
    FAST.answer(b'{"Records":[%b],"X":%b}' % (bytes_of(record), b"[" * 100_000 + b"]" * 100_000))
    with pytest.raises(UnusableAnswerError):
        FAST.get_records()


@pytest.mark.parametrize("name", [b'"SequenceNumber"', b'"PartitionKey"'])
def test_text_that_is_no_utf8_is_an_error_not_an_accident(name: bytes) -> None:
    body = bytes_of({**ANSWER, "Records": [{**RECORD, "PartitionKey": "a key"}]})
    at = body.index(name) + len(name) + len(': "')
    FAST.answer(body[:at] + b"\xff" + body[at + 1 :])
    with pytest.raises(UnusableAnswerError):
        FAST.get_records()


def test_an_answer_without_records_is_none() -> None:
    for canned in (PLAIN, FAST, STRICT):
        canned.answer(b'{"NextShardIterator":"i","MillisBehindLatest":0}')
        answer = canned.get_records()
        assert answer["NextShardIterator"] == "i"
        with pytest.raises(UnusableAnswerError, match="without Records"):
            records_of(answer)


def test_errors_are_botocores_and_tried_again_by_it() -> None:
    body = b'{"__type":"com.amazonaws.kinesis#ExpiredIteratorException","message":"Iterator expired."}'
    errors = []
    for canned in (PLAIN, FAST, STRICT):
        canned.answer(body, status=400)
        with pytest.raises(canned.client.exceptions.ExpiredIteratorException) as error:
            canned.get_records()
        errors.append((error.value.response, str(error.value)))
    assert errors[0] == errors[1] == errors[2]


def test_an_answer_of_status_500_is_tried_again_by_botocore_even_if_it_was_cut() -> None:
    canned = Canned(fast_parser_factory())
    canned.client.meta.events.register_first("needs-retry.kinesis.GetRecords", lambda attempts, **_: 0 if attempts < 3 else None)
    canned.answer(b'{"__type":"InternalFailu', status=500, length=1000)
    with pytest.raises(ClientError):
        canned.get_records()
    assert canned.requests == 3


def test_an_error_that_was_cut_is_not_taken_for_another_one() -> None:
    body = b'{"__type":"ExpiredIteratorException","message":"Iterator expired."}'
    FAST.answer(body[:20], status=400, length=len(body))
    with pytest.raises(UnusableAnswerError):
        FAST.get_records()


@pytest.mark.parametrize("canned", [FAST, STRICT], ids=["fast", "strict"])
def test_other_operations_are_botocores_unless_they_were_cut(canned: Canned) -> None:
    whole = bytes_of({"Shards": [{"ShardId": "s", "HashKeyRange": {}, "SequenceNumberRange": {}}], "NextToken": "t", "New": 1})
    PLAIN.answer(whole)
    canned.answer(whole)
    assert canned.client.list_shards(StreamName="s") == PLAIN.client.list_shards(StreamName="s")
    for length in (len(whole), 40):
        PLAIN.answer(whole[:40], length=length)
        canned.answer(whole[:40], length=length)
        assert not PLAIN.client.list_shards(StreamName="s").keys() - {"ResponseMetadata"}
        with pytest.raises(UnusableAnswerError):
            canned.client.list_shards(StreamName="s")
    canned.answer(b"")
    assert canned.client.split_shard(StreamName="s", ShardToSplit="s", NewStartingHashKey="1")["ResponseMetadata"]


def test_another_service_with_a_shape_of_that_name_is_left_alone() -> None:
    body = bytes_of({"Records": [{"eventID": "1", "dynamodb": {"SequenceNumber": "1"}}], "NextShardIterator": "n"})
    plain, fast = Canned(service="dynamodbstreams"), Canned(fast_parser_factory(), service="dynamodbstreams")
    plain.answer(body)
    fast.answer(body)
    assert fast.get_records() == plain.get_records()


def test_the_error_is_one_of_botocores_and_says_what_is_wrong() -> None:
    FAST.answer(b'{"Rec', length=15_000_000)
    with pytest.raises(BotoCoreError, match="an answer of 15000000 bytes ended after 5"):
        FAST.get_records()

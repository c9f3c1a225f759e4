"""Which fault meets which request, what it looks like, and what a shard allows: no network, no clock."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.faults import Dice, Fault, Kind, error_answer, every_fault
from streamkit_sandbox.partial_failures import chosen, merged, without
from streamkit_sandbox.shard_limits import MIB, ShardLimits, ShardMeter


def thrown(dice: Dice, operation: str, times: int) -> list[Kind | None]:
    return [fault.kind if fault else None for _, fault, _ in (dice.throw(operation) for _ in range(times))]


def test_the_same_seed_does_the_same_to_an_operation_whatever_is_asked_in_between() -> None:
    rules = every_fault(0.1)
    alone, among = Dice(7, rules), Dice(7, rules)
    first = thrown(alone, "GetRecords", 200)
    mixed: list[Kind | None] = []
    for _ in range(200):
        mixed += thrown(among, "GetRecords", 1)
        thrown(among, "PutRecords", 3)
    assert first == mixed
    assert thrown(Dice(8, rules), "GetRecords", 200) != first


def test_chances_are_met_and_of_two_rules_the_first_one_counts() -> None:
    found = Counter(thrown(Dice(1, [Fault(Kind.RESET, 0.3), Fault(Kind.CUT, 0.5)]), "GetRecords", 2000))
    assert 520 < found[Kind.RESET] < 680
    assert 620 < found[Kind.CUT] < 780  # half of what the first rule left


def test_every_fault_is_every_kind_of_rule() -> None:
    seen = {(rule.kind, rule.acted) for rule in every_fault(0.05)}
    assert {kind for kind, _ in seen} == set(Kind) - {Kind.LIMIT}
    assert {kind for kind, acted in seen if acted} == {Kind.ERROR, Kind.RESET, Kind.BLACK_HOLE}


def test_a_rule_meets_its_operations_as_often_as_it_says() -> None:
    dice = Dice(0, [Fault(Kind.CUT, operations=("GetRecords", "GetItem"), times=2)])
    assert thrown(dice, "ListShards", 3) == [None, None, None]
    assert thrown(dice, "GetItem", 1) + thrown(dice, "GetRecords", 2) == [Kind.CUT, Kind.CUT, None]


def test_a_delay_comes_with_another_fault() -> None:
    dice = Dice(0, [Fault(Kind.RESET), Fault(Kind.DELAY, seconds=0.5), Fault(Kind.DELAY, seconds=0.25)])
    seconds, fault, _ = dice.throw("GetRecords")
    assert (seconds, fault) == (0.75, Fault(Kind.RESET))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kind": Kind.CUT, "chance": 1.5}, "chance=1.5 is no probability"),
        ({"kind": Kind.DELAY}, "give seconds="),
        ({"kind": Kind.LIMIT}, "use FaultProxy"),
        ({"kind": Kind.THROTTLE, "acted": True}, "acted=True means nothing to throttle"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SandboxError, match=said):
        Fault(**wrong)


@pytest.mark.parametrize(
    ("service", "operation", "name"),
    [
        ("Kinesis", "GetRecords", "ProvisionedThroughputExceededException"),
        ("Kinesis", "ListShards", "LimitExceededException"),
        ("DynamoDB", "UpdateItem", "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
        ("DynamoDB", "DescribeTable", "com.amazon.coral.availability#ThrottlingException"),
    ],
)
def test_a_throttle_has_the_name_that_the_service_gives_it(service: str, operation: str, name: str) -> None:
    status, body = error_answer(Fault(Kind.THROTTLE), service, operation)
    assert (status, json.loads(body)["__type"]) == (400, name)


def test_a_503_is_no_json_and_another_error_can_be_named() -> None:
    status, body = error_answer(Fault(Kind.ERROR, status=503), "Kinesis", "GetRecords")
    assert (status, body[:6]) == (503, b"<html>")
    status, body = error_answer(Fault(Kind.THROTTLE, error="KMSThrottlingException"), "Kinesis", "GetRecords")
    assert (status, json.loads(body)["__type"]) == (400, "KMSThrottlingException")


class TestPartial:
    def test_refused_entries_never_reach_the_server_and_stand_at_their_places(self) -> None:
        request = json.dumps({"StreamName": "s", "Records": [{"Data": str(number)} for number in range(20)]}).encode()
        refused = chosen("PutRecords", request, 0.4, Random(3))
        body = without("PutRecords", request, refused)
        assert body is not None
        kept = [record["Data"] for record in json.loads(body)["Records"]]
        assert 0 < len(refused) < 20
        assert sorted([*map(int, kept), *refused]) == list(range(20))
        answer = {"FailedRecordCount": 0, "Records": [{"SequenceNumber": data} for data in kept]}
        whole = json.loads(merged("PutRecords", json.dumps(answer).encode(), refused))
        assert whole["FailedRecordCount"] == len(refused)
        assert [number for number, entry in enumerate(whole["Records"]) if "ErrorCode" in entry] == refused
        assert all(entry["SequenceNumber"] == str(number) for number, entry in enumerate(whole["Records"]) if "ErrorCode" not in entry)

    def test_all_may_be_refused_and_at_least_one_is(self) -> None:
        request = json.dumps({"Statements": [{"Statement": "a"}, {"Statement": "b"}]}).encode()
        refused = chosen("BatchExecuteStatement", request, 1.0, Random(0))
        assert (without("BatchExecuteStatement", request, refused), refused) == (None, [0, 1])
        assert len(json.loads(merged("BatchExecuteStatement", b"", refused))["Responses"]) == 2
        assert len(chosen("BatchExecuteStatement", request, 0.0, Random(0))) == 1
        assert chosen("BatchExecuteStatement", b'{"Statements": []}', 1.0, Random(0)) == []
        assert chosen("PutRecords", b"no json", 1.0, Random(0)) == []


class TestShardMeter:
    @staticmethod
    def meter(limits: ShardLimits = ShardLimits()) -> ShardMeter:  # noqa: B008 - it is frozen
        meter = ShardMeter(limits)
        for shard in ("shard-0", "shard-1"):
            asked = json.dumps({"StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/orders", "ShardId": shard}).encode()
            meter.learn("GetShardIterator", asked, json.dumps({"ShardIterator": f"{shard}/0"}).encode())
        return meter

    @staticmethod
    def read(meter: ShardMeter, iterator: str, now: float, data: int = 0) -> str | None:
        """One GetRecords; the iterators of one shard are `shard/0`, `shard/1`, …"""
        request = json.dumps({"ShardIterator": iterator}).encode()
        refusal = meter.refusal(request, now)
        if refusal is None:
            shard, _, number = iterator.rpartition("/")
            records = [{"Data": "A" * (data * 4 // 3)}]
            meter.learn("GetRecords", request, json.dumps({"Records": records, "NextShardIterator": f"{shard}/{int(number) + 1}"}).encode())
        return refusal

    def test_a_shard_is_read_five_times_a_second_by_whatever_iterator(self) -> None:
        meter = self.meter()
        assert [self.read(meter, f"shard-0/{number}", 10.0) for number in range(5)] == [None] * 5
        assert self.read(meter, "shard-0/5", 10.0) == "Rate exceeded for shard shard-0 in stream orders under account 000000000000."
        assert self.read(meter, "shard-0/0", 10.1) is not None
        assert self.read(meter, "shard-1/0", 10.0) is None
        assert self.read(meter, "shard-0/5", 10.2) is None
        assert self.read(meter, "shard-0/6", 10.2) is not None

    def test_after_ten_megabytes_a_shard_rests_for_almost_five_seconds(self) -> None:
        meter = self.meter()
        assert self.read(meter, "shard-0/0", 0.0, 10 * MIB) is None
        assert self.read(meter, "shard-0/1", 3.9) is not None
        assert self.read(meter, "shard-0/1", 4.1) is None

    def test_a_limit_can_be_left_out(self) -> None:
        meter = self.meter(ShardLimits(reads=None))
        assert all(self.read(meter, f"shard-0/{number}", 0.0) is None for number in range(20))
        meter = self.meter(ShardLimits(read_bytes=None))
        assert self.read(meter, "shard-0/0", 0.0, 10 * MIB) is None
        assert self.read(meter, "shard-0/1", 0.0) is None

    def test_a_shard_takes_a_thousand_records_or_a_mebibyte_a_second_of_the_keys_in_its_range(self) -> None:
        meter = ShardMeter(ShardLimits(written_records=1000, written_bytes=MIB))
        ranges = [(0, 2**127 - 1), (2**127, 2**128 - 1)]
        shards: list[dict[str, Any]] = [
            {
                "ShardId": f"s{number}",
                "HashKeyRange": {"StartingHashKey": str(first), "EndingHashKey": str(last)},
                "SequenceNumberRange": {},
            }
            for number, (first, last) in enumerate(ranges)
        ]
        both = {"StartingHashKey": "0", "EndingHashKey": str(2**128 - 1)}
        closed = {"ShardId": "parent", "HashKeyRange": both, "SequenceNumberRange": {"EndingSequenceNumber": "1"}}
        many = [{"Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": "5"}] * 1200
        other = [{"Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": str(2**127)}]

        def put(records: list[dict[str, str]]) -> bytes:
            return json.dumps({"StreamName": "orders", "Records": records}).encode()

        assert not meter.knows_ranges(put(many))
        meter.learn_ranges(put(many), json.dumps({"Shards": [closed, *shards]}).encode())
        assert meter.knows_ranges(put(many))
        assert meter.refused_writes(put([*many, *other]), 0.0) == list(range(1000, 1200))
        assert meter.refused_writes(put(many[:200]), 0.1) == list(range(100, 200))
        big = {"Data": "A" * (MIB * 4 // 3 - 400), "PartitionKey": "k", "ExplicitHashKey": str(2**128 - 1)}
        assert meter.refused_writes(put([big, big]), 1.5) == [1]
        assert meter.refused_writes(json.dumps(big | {"StreamName": "orders"}).encode(), 1.6) == [0]
        meter.learn_of_reshards(put(many), b'{"Records": [{"ShardId": "s1"}, {"ErrorCode": "x"}]}')
        assert meter.knows_ranges(put(many))
        meter.learn_of_reshards(put(many), b'{"Records": [{"ShardId": "s1"}, {"ShardId": "s2"}]}')
        assert not meter.knows_ranges(put(many))

    def test_an_iterator_that_was_not_learned_passes(self) -> None:
        meter = self.meter()
        assert all(self.read(meter, "elsewhere/0", 0.0) is None for _ in range(10))
        assert meter.refusal(b"no json", 0.0) is None

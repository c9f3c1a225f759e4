"""Promise 7 on Kinesis and DynamoDB: a shard that halts holds up no other, and a store that refuses for a while stops nobody."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.fault_proxy import Fault, FaultProxy, Kind

from tests.promise.kinesis.running import Place
from tests.promise.page import Page, free_port

pytestmark = pytest.mark.integration

REFUSED_SECONDS = 5.0
"""The lease of 10 s is good for 8."""
MOST_ASKED = 200


def test_a_shard_that_halts_holds_up_no_other_and_the_page_says_which(place: Callable[..., Place]) -> None:
    here = place(3)
    for index in range(3):
        here.write([f"{index}.0"], slice_of=(index, 3), verb="fail" if index == 1 else "go")
    page = Page(free_port())
    here.start("one", retry_attempts="1", status_address=f"127.0.0.1:{page.port}")
    bad = "shardId-000000000001"
    here.until(lambda: state_of(page, bad) == "halted", "one shard has halted")
    for index in range(3):
        here.write([f"{index}.{number}" for number in range(1, 20)], slice_of=(index, 3))
    expected = [f"{index}.{number}" for index in (0, 2) for number in range(20)]
    here.until(lambda: sorted(here.names()) == sorted(expected), "the others go on to their ends")
    assert not page.is_ready
    assert [reason for reason in page.reasons if bad in reason], page.reasons
    assert not [reason for reason in page.reasons if bad not in reason], "nothing else is wrong"
    others = {name: one["state"] for name, one in page.partitions().items() if name != bad}
    assert len(others) == 2
    assert set(others.values()) <= {"running", "caught up"}


def test_a_store_that_throttles_stops_nobody(place: Callable[..., Place], dynamodb_server: DynamoDBServer) -> None:
    with FaultProxy(dynamodb_server.endpoint_url) as proxy:
        here = place(1, dynamodb_url=proxy.url)
        here.start("one")
        here.until(lambda: here.lines("begin"), "it has the shard")
        proxy.rules = [Fault(Kind.THROTTLE)]
        began, asked = time.monotonic(), sum(proxy.requests.values())
        here.write([f"r{number}" for number in range(10)])
        here.until(lambda: len(here.names()) == 10, "records are done though nothing can be saved")
        here.until(lambda: time.monotonic() - began >= REFUSED_SECONDS, "saves, renewals and listings have been refused")
        asked = sum(proxy.requests.values()) - asked
        proxy.rules = []
        here.until(lambda: [line.sequence for line in here.lines("saved")][-1:] == [here.lines("record")[-1].sequence], "it is saved")
        assert len(here.names()) == 10, "nothing came again"
        assert len(here.lines("begin")) == 1
        assert here.lines("lost") == []
        print(f"{asked} requests while all were refused")
        assert 5 <= asked <= MOST_ASKED, "it keeps trying, and does not hammer"


def state_of(page: Page, partition: str) -> str:
    """Empty: nobody listens yet, or it is not there."""
    try:
        return page.state(partition)
    except OSError:
        return ""

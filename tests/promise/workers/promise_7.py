"""Promise 7, with leases in a store: a partition that halts holds up no other, and a store that refuses for a while stops nobody."""

from __future__ import annotations

import time

from streamkit_sandbox.fault_proxy import FaultProxy

from tests.promise.page import Page, free_port
from tests.promise.workers.running import MakePlace, Place

__all__ = ["test_a_partition_that_halts_holds_up_no_other_and_the_page_says_which", "test_a_store_that_refuses_stops_nobody"]

REFUSED_SECONDS = 5.0
"""The lease of 10 s is good for 8."""
MOST_ASKED = 200


def test_a_partition_that_halts_holds_up_no_other_and_the_page_says_which(place: MakePlace) -> None:
    here = place(3)
    for index in range(3):
        here.write([f"{index}.0"], slice_of=(index, 3), verb="fail" if index == 1 else "go")
    page = Page(free_port())
    here.start("one", retry_attempts="1", status_address=f"127.0.0.1:{page.port}")
    bad = here.partition(1)
    here.until(lambda: state_of(page, bad) == "halted", "one partition has halted")
    for index in range(3):
        here.write([f"{index}.{number}" for number in range(1, 20)], slice_of=(index, 3))
    expected = [f"{index}.{number}" for index in (0, 2) for number in range(20)]
    here.until(lambda: sorted(here.names()) == sorted(expected), "the others go on to their ends")
    assert not page.is_ready
    assert [reason for reason in page.reasons if f"/{bad}:" in reason], page.reasons
    assert not [reason for reason in page.reasons if f"/{bad}:" not in reason], "nothing else is wrong"
    others = {name: one["state"] for name, one in page.partitions().items() if name != bad}
    assert len(others) == 2
    assert set(others.values()) <= {"running", "caught up"}


def test_a_store_that_refuses_stops_nobody(place: MakePlace, store_url: str) -> None:
    with FaultProxy(store_url) as proxy:
        here = place(1, store_url=proxy.url)
        here.start("one")
        here.until(lambda: here.lines("begin"), "it has the partition")
        proxy.rules = [here.refusal]
        began, asked = time.monotonic(), sum(proxy.requests.values())
        here.write([f"r{number}" for number in range(10)])
        here.until(lambda: len(here.names()) == 10, "records are done though nothing can be saved")
        here.until(lambda: time.monotonic() - began >= REFUSED_SECONDS, "saves, renewals and listings have been refused")
        asked = sum(proxy.requests.values()) - asked
        proxy.rules = []
        here.until(lambda: saved(here) == here.lines("record")[-1].sequence, "it is saved")
        here.write(["afterwards"])
        here.until(lambda: here.names()[-1] == "afterwards", "it goes on")
        here.until(lambda: saved(here) == here.lines("record")[-1].sequence, "and saves")
        assert len(here.names()) == 11, "nothing came again"
        assert len(here.lines("begin")) == 1
        assert here.lines("lost") == []
        print(f"{asked} requests while all were refused")
        assert 5 <= asked <= MOST_ASKED, "it keeps trying, and does not hammer"


def saved(here: Place) -> int:
    """The last position."""
    return max((line.sequence for line in here.lines("saved")), default=-1)


def state_of(page: Page, partition: str) -> str:
    """Empty: nobody listens yet, or it is not there."""
    try:
        return page.state(partition)
    except OSError:
        return ""

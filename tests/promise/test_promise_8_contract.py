"""Promise 8: the contract is printed, and a setting that needs a capability which the adapter or the store lacks refuses to start."""

from __future__ import annotations

from typing import Literal

import pytest

from streamkit.app import App
from streamkit.engine.contract import contract
from streamkit.engine.runtime import ThreadRuntime
from streamkit.errors import ConfigurationError, UnsupportedError
from streamkit.model import Capabilities, Record
from streamkit.processing import Context, Facts, record_processor
from streamkit.settings import Settings
from tests.promise.targets import noting
from tests.promise.world import STREAM, MemoryWorld

FENCED = Capabilities(fencing=True, scope="cluster")
PLAIN = Settings(broker="kafka", stream=("orders",), group="billing")


def test_the_contract_of_a_group() -> None:
    assert contract(PLAIN, Facts("record"), ownership="group", store="kafka", store_capabilities=FENCED) == (
        "consume      orders from kafka, as group billing\n"
        "delivery     at least once; a checkpoint never passes a record that is not done\n"
        "order        records of a partition, one call at a time\n"
        "start        earliest where no checkpoint exists, resolved once and saved; partitions found later begin at earliest\n"
        "checkpoints  automatic, every 5s, and before revoke, end and stop; kept by kafka\n"
        "redelivery   after a crash at most 103000 records of each partition come again\n"
        "failures     5 attempts, then the partition halts alone and tries again after 30s to 300s; nothing is skipped\n"
        "ownership    the broker's group deals out partitions\n"
        "fencing      kafka's group refuses members that it has put out, and we what is not assigned to us; among all hosts\n"
        "memory       at most 32MiB of records are held; a full partition is not read\n"
        "shutdown     SIGTERM drains within 25s; a second one stops at once\n"
        "stop         when told to"
    )


def test_the_contract_of_everything_set() -> None:
    settings = Settings.model_validate(
        {
            "broker": "memory",
            "stream": ("orders", "^refunds-"),
            "group": "billing",
            "start": "2025-01-31T09:00:00Z",
            "stop": "idle:30s",
            "on_failure": "stop",
            "retry_attempts": 1,
            "checkpoint_interval": "500ms",
            "checkpoint_records": 50,
            "max_in_flight": 200,
            "max_in_flight_bytes": "64KiB",
            "partitions": ("0", "3"),
            "drain_timeout": "1m",
        }
    )
    store = Capabilities(fencing=True, scope="host")
    assert contract(settings, Facts("batch", "manual"), ownership="static", store="sqlite", store_capabilities=store) == (
        "consume      orders, ^refunds- from memory, as group billing\n"
        "delivery     at least once; a checkpoint never passes a record that is not done\n"
        "order        records of a partition, one call at a time\n"
        "start        2025-01-31T09:00:00+00:00 where no checkpoint exists, resolved once and saved; "
        "partitions found later begin at earliest\n"
        "checkpoints  submitted by the processor, written every 500ms or 50 records, and before revoke, end and stop; kept by sqlite\n"
        "redelivery   after a crash at most 1200 records of each partition come again\n"
        "failures     1 attempt, then the process drains and exits with 1; nothing is skipped\n"
        "ownership    this process takes 0, 3; nothing keeps another from taking them too\n"
        "fencing      sqlite refuses the checkpoints of an older owner, among processes of one host\n"
        "memory       at most 64KiB of records are held; a full partition is not read\n"
        "shutdown     SIGTERM drains within 1m; a second one stops at once\n"
        "stop         after 30s without a record"
    )


HALTS = "the partition halts alone and tries again after 30s to 300s"


@pytest.mark.parametrize(
    ("given", "by", "line"),
    [
        ({}, "record", f"5 attempts, then {HALTS}; nothing is skipped"),
        ({"on_failure": "stop"}, "record", "5 attempts, then the process drains and exits with 1; nothing is skipped"),
        (
            {"on_failure": "dead_letter", "dead_letter": "file:dlq.jsonl"},
            "record",
            "5 attempts, then the record is written to file:dlq.jsonl and passed; after 100 of those in a row, or if that cannot be "
            f"written, {HALTS}",
        ),
        (
            {"on_failure": "park", "dead_letter": "file:dlq.jsonl"},
            "record",
            "5 attempts, then the record is written to file:dlq.jsonl, and every later record of its key behind it, uncalled, until a "
            "replay has dealt with them; after 100 failures in a row, over 1000 keys of a partition, or if a letter cannot be written, "
            f"{HALTS}",
        ),
        (
            {"on_failure": "skip", "dead_letter_max_consecutive": 7},
            "record",
            f"5 attempts, then the record is SKIPPED: counted, logged and kept nowhere; after 7 of those in a row {HALTS}",
        ),
        (
            {"on_failure": "skip"},
            "batch",
            "5 attempts, then the record that the code names, or its whole batch, is SKIPPED: counted, logged and kept nowhere; after 100 "
            f"of those in a row {HALTS}",
        ),
        ({"bisect": True}, "batch", f"5 attempts of the record that halving its batch has found, then {HALTS}; nothing is skipped"),
        ({"bisect": True}, "record", f"5 attempts, then {HALTS}; nothing is skipped"),
        (
            {"process_timeout": "30s", "retry_attempts": 2},
            "record",
            f"2 attempts of 30s (def code is not cut, but told of), then {HALTS}; nothing is skipped",
        ),
    ],
)
def test_the_contract_says_what_becomes_of_a_failing_record(given: dict[str, object], by: Literal["record", "batch"], line: str) -> None:
    settings = Settings.model_validate({"broker": "kafka", "stream": "orders", "group": "billing", **given})
    text = contract(settings, Facts(by), ownership="group", store="kafka", store_capabilities=FENCED)
    assert f"failures     {line}" in text.splitlines()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "records of a partition, one call at a time"),
        ({"ordering": "key"}, "records of a key one after the other, one call at a time; a key in trouble blocks only itself"),
        (
            {"ordering": "key", "concurrency": 64},
            "records of a key one after the other, up to 64 calls at once for each partition; a key in trouble blocks only itself",
        ),
    ],
)
def test_the_contract_says_what_keeps_its_order(given: dict[str, object], says: str) -> None:
    settings = Settings.model_validate({"broker": "kafka", "stream": "orders", "group": "billing", **given})
    text = contract(settings, Facts("record"), ownership="group", store="kafka", store_capabilities=FENCED)
    assert f"order        {says}" in text.splitlines()


def test_a_store_without_fencing_says_so() -> None:
    text = contract(PLAIN, Facts("record"), ownership="static", store="notebook", store_capabilities=Capabilities())
    assert "fencing      not fenced: notebook accepts a checkpoint from anybody" in text.splitlines()


def test_a_group_on_a_broker_without_groups_refuses_to_start(virtual: MemoryWorld) -> None:
    virtual.create(1)
    virtual.shape = "kinesis"
    member = virtual.start(noting(virtual.journal), ownership="group")
    with pytest.raises(UnsupportedError, match="groups need"):
        member.wait()
    assert not member.supervisor.is_started


def test_a_partition_that_does_not_exist_refuses_to_start_and_leaves_nothing_running(beside: MemoryWorld) -> None:
    beside.create(2)
    member = beside.start(noting(beside.journal), ownership="static", partitions=("7",))
    with pytest.raises(ConfigurationError, match="there is no partition 7"):
        member.wait()
    assert not member.supervisor.is_started
    beside.until(lambda: member.supervisor._reading_over)


def test_a_stream_that_was_made_anew_refuses_the_old_checkpoint(beside: MemoryWorld) -> None:
    """And does so at once: nothing of it runs that the drain would have to wait for."""
    beside.create(1)
    beside.write(["a"])
    beside.start(noting(beside.journal), stop="at_end").wait()
    beside.log.delete(STREAM)
    beside.create(1)
    member = beside.start(noting(beside.journal), drain_timeout="10s")
    before = beside.runtime.monotonic()
    with pytest.raises(ConfigurationError, match="belongs to"):
        member.wait()
    assert beside.runtime.monotonic() - before < 1


def test_the_contract_of_leases_says_among_whom_and_for_how_long() -> None:
    settings = Settings.model_validate(
        {"broker": "memory", "stream": "orders", "group": "billing", "store": "sqlite", "ownership": "lease", "max_partitions": 7}
    )
    store = Capabilities(fencing=True, scope="host", leases=True)
    lines = contract(settings, Facts("record"), ownership="lease", store="sqlite", store_capabilities=store).splitlines()
    assert (
        "ownership    leases in sqlite, level among processes of one host, at most 7 here; who is silent for 10s loses them, and a "
        "hand-over takes at most 30s" in lines
    )
    assert (
        "fencing      sqlite refuses the checkpoints of an older owner, among processes of one host; a worker that cannot renew begins "
        "no call after 8s" in lines
    )


@pytest.mark.parametrize("setting", ["halt", "earliest"])
def test_a_setting_that_gives_up_records_has_its_line(setting: str) -> None:
    @record_processor
    def handle(record: Record, context: Context) -> None: ...

    runtime = ThreadRuntime()
    try:
        kafka = {"bootstrap_servers": "localhost:9092", "on_expired": setting}
        assembled = App(handle, broker="kafka", stream="orders", group="billing", kafka=kafka).assemble(runtime)
        assembled.stop()
    finally:
        runtime.stop()
    line = "expired      a partition whose checkpoint Kafka does not keep any more goes on at its oldest record; logged and counted"
    assert (line in assembled.contract.splitlines()) == (setting == "earliest")

"""What the log observer writes, where it does not write every event."""

from __future__ import annotations

import logging

import pytest

from streamkit.model import Partition
from streamkit.telemetry.logs import LogObserver


def test_what_adapters_notice_is_logged_at_the_first_and_at_ten_times_as_many(caplog: pytest.LogCaptureFixture) -> None:
    observer, shard = LogObserver(), Partition("orders", "shard-1")

    with caplog.at_level(logging.WARNING, logger="streamkit"):
        for records in (3, 4, 2, 1, 89, 1):
            observer.on_noticed(shard, "damaged", records)

    assert [record.getMessage() for record in caplog.records] == [
        "orders/shard-1: 3 records of orders so far: damaged",
        "orders/shard-1: 10 records of orders so far: damaged",
        "orders/shard-1: 100 records of orders so far: damaged",
    ]

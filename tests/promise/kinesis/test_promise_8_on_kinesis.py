"""Promise 8 on Kinesis and DynamoDB: the contract says what holds there, and what lets records go by."""

from __future__ import annotations

import pytest

from streamkit.errors import ConfigurationError, UnsupportedError
from tests.promise.workers.promise_8 import contract_of

GIVEN = {"broker": "kinesis", "store": "dynamodb", "stream": "orders", "group": "billing"}


def printed(**settings: object) -> list[str]:
    return contract_of(**(GIVEN | settings))


def test_the_contract_of_kinesis_with_dynamodb() -> None:
    lines = printed()
    for line in (
        "consume      orders from kinesis, as group billing",
        "checkpoints  automatic, every 5s, and before revoke, end and stop; kept by dynamodb",
        "ownership    leases in dynamodb, level among all hosts; who is silent for 10s loses them, and a hand-over takes at most 30s",
        "fencing      dynamodb refuses the checkpoints of an older owner, among all hosts; a worker that cannot renew begins no call "
        "after 8s",
        "expired      a shard whose checkpoint's record is not kept any more goes on at its oldest record; logged and counted",
        "aggregates   taken apart; records in them whose keys belong to another shard are DROPPED there, logged and counted",
    ):
        assert line in lines


def test_settings_of_kinesis_change_what_the_contract_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_KINESIS__ON_EXPIRED", "halt")
    monkeypatch.setenv("STREAMKIT_KINESIS__OUT_OF_RANGE", "deliver")
    lines = printed()
    assert "expired      a shard whose checkpoint's record is not kept any more halts" in lines
    assert "aggregates   taken apart; records in them whose keys belong to another shard are delivered as well" in lines


def test_kinesis_without_a_store_or_in_a_group_refuses_to_start() -> None:
    with pytest.raises(ConfigurationError, match="kinesis keeps no checkpoints of its own"):
        printed(store=None)
    with pytest.raises(UnsupportedError, match="group"):
        printed(ownership="group")

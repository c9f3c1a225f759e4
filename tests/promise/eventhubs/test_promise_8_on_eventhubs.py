"""Promise 8 on Event Hubs and Blob Storage: the contract says what holds there, and what lets records go by."""

from __future__ import annotations

import pytest

from streamkit.errors import ConfigurationError, UnsupportedError
from tests.promise.workers.promise_8 import contract_of

GIVEN = {"broker": "eventhubs", "store": "azureblob", "stream": "orders", "group": "billing"}
VARIABLES = {
    "STREAMKIT_EVENTHUBS__NAMESPACE": "shop.servicebus.windows.net",
    "STREAMKIT_AZUREBLOB__ACCOUNT_URL": "https://shop.blob.core.windows.net",
    "STREAMKIT_AZUREBLOB__CONTAINER": "checkpoints",
}


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)


def printed(**settings: object) -> list[str]:
    return contract_of(**(GIVEN | settings))


def test_the_contract_of_event_hubs_with_blob_storage() -> None:
    lines = printed()
    for line in (
        "consume      orders from eventhubs, as group billing",
        "checkpoints  automatic, every 5s, and before revoke, end and stop; kept by azureblob",
        "ownership    leases in azureblob, level among all hosts; who is silent for 10s loses them, and a hand-over takes at most 30s",
        "fencing      azureblob refuses the checkpoints of an older owner, among all hosts; a worker that cannot renew begins no call "
        "after 8s",
        "expired      a partition whose next record is not kept any more goes on at its oldest record; logged and counted",
        "readers      the epoch is the link's owner level: the service cuts off whoever reads with a lower one, or without",
    ):
        assert line in lines


def test_a_setting_of_event_hubs_changes_what_the_contract_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMKIT_EVENTHUBS__ON_EXPIRED", "halt")
    assert "expired      a partition whose next record is not kept any more halts" in printed()


def test_event_hubs_without_a_store_or_in_a_group_refuses_to_start() -> None:
    with pytest.raises(ConfigurationError, match="eventhubs keeps no checkpoints of its own"):
        printed(store=None)
    with pytest.raises(UnsupportedError, match="group"):
        printed(ownership="group")

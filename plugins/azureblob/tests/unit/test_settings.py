"""Settings: one way in, and no secret where it would be shown."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from streamkit_azureblob.settings import AzureBlobSettings


def test_one_way_in_is_enough() -> None:
    assert AzureBlobSettings(container="abc", account_url="https://name.blob.core.windows.net").create_container
    assert AzureBlobSettings(container="abc", connection_string=SecretStr("x")).retries == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "CONNECTION_STRING and ACCOUNT_URL"),
        ({"connection_string": "x", "account_url": "https://h"}, "CONNECTION_STRING and ACCOUNT_URL"),
        ({"account_url": "https://h/?sv=2024&sig=verysecret"}, "belongs into CONNECTION_STRING"),
        ({"account_url": "http://name.blob.core.windows.net"}, "must begin with https"),
        ({"account_url": "name.blob.core.windows.net"}, "must be like https://"),
        ({"connection_string": "x", "container": "Upper"}, "pattern"),
        ({"connection_string": "x", "container": "a--b"}, "pattern"),
        ({"connection_string": "x", "namespace": "https://name"}, "must be a host"),
    ],
)
def test_what_cannot_be_right_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AzureBlobSettings(**{"container": "abc", **settings})
    assert said in str(raised.value)
    assert "verysecret" not in str(raised.value)

"""Where boto3's client finds its region."""

from __future__ import annotations

from typing import Any, cast

import pytest
from streamkit_dynamodb.client import make_client
from streamkit_dynamodb.settings import DynamoDBSettings

from streamkit.errors import ConfigurationError


@pytest.mark.parametrize(
    ("setting", "environment", "region"),
    [
        ("eu-north-1", {"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-3"}, "eu-north-1"),
        (None, {"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-3"}, "eu-west-2"),
        (None, {"AWS_REGION": "eu-west-3"}, "eu-west-3"),
        (None, {}, None),
    ],
)
def test_the_region_is_ours_or_the_environments(
    setting: str | None, environment: dict[str, str], region: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = DynamoDBSettings(region=setting)
    if region is None:
        with pytest.raises(ConfigurationError, match="region") as caught:
            make_client(settings, "t")
        assert caught.value.setting == "STREAMKIT_DYNAMODB__REGION"
        assert all(name in str(caught.value.fix) for name in ("AWS_DEFAULT_REGION", "AWS_REGION"))
        return
    client = cast(Any, make_client(settings, "t"))
    assert client.meta.region_name == region
    client.close()

"""The DynamoDB store keeps the rules, on DynamoDB Local."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from streamkit.plugin import AdapterContext
from streamkit.testing.conformance import StoreKit, store_rules

if TYPE_CHECKING:
    from streamkit_dynamodb.store import DynamoDBStore
    from streamkit_sandbox.dynamodb import DynamoDBServer

pytestmark = pytest.mark.integration


class DynamoDBKit(StoreKit):
    patience_seconds = 60.0

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.table = f"kit-{uuid.uuid4().hex}"

    def store(self, context: AdapterContext) -> DynamoDBStore:
        return self._at(self.endpoint_url, context)

    def unreachable(self, context: AdapterContext) -> DynamoDBStore:
        return self._at("http://127.0.0.1:1", context)

    def _at(self, endpoint_url: str, context: AdapterContext) -> DynamoDBStore:
        from streamkit_dynamodb.settings import DynamoDBSettings
        from streamkit_dynamodb.store import DynamoDBStore

        patient = timedelta(seconds=20)  # a busy machine lets DynamoDB Local stand still for some
        settings = DynamoDBSettings(endpoint_url=endpoint_url, region="us-east-1", table=self.table, request_timeout=patient)
        return DynamoDBStore(settings, context)


@pytest.fixture
def dynamodb(dynamodb_server: DynamoDBServer, monkeypatch: pytest.MonkeyPatch) -> DynamoDBKit:
    credentials = {name: value for name, value in dynamodb_server.settings().items() if name.startswith("AWS_")}
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)  # other processes inherit them
    return DynamoDBKit(dynamodb_server.endpoint_url)


test_rules = store_rules("dynamodb")

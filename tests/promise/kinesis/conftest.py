"""The promises on the sandbox's Kinesis and DynamoDB, with real processes where a promise is about processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.kinesis import KinesisServer
from streamkit_sandbox.local_kinesis import LocalKinesis

from tests.promise.kinesis.running import KinesisPlace


@pytest.fixture
def store_url(dynamodb_server: DynamoDBServer) -> str:
    return dynamodb_server.endpoint_url


@pytest.fixture
def place(kinesis_server: KinesisServer, store_url: str, tmp_path: Path) -> Iterator[Callable[..., KinesisPlace]]:
    """`place(shards)`: a new stream and a new table. `server`: another Kinesis; `store_url`: a proxy's."""
    made: list[KinesisPlace] = []

    def make(shards: int = 1, *, server: LocalKinesis = kinesis_server, store_url: str = store_url) -> KinesisPlace:
        made.append(KinesisPlace(server.endpoint_url, store_url, server.create_stream(shards), tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.end()

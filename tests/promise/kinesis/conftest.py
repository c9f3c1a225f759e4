"""The promises on the sandbox's Kinesis and DynamoDB, with real processes where a promise is about processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.kinesis import KinesisServer
from streamkit_sandbox.local_kinesis import LocalKinesis

from tests.promise.kinesis.running import Place


@pytest.fixture
def place(kinesis_server: KinesisServer, dynamodb_server: DynamoDBServer, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """`place(shards)`: a new stream and a new table. `server`: another Kinesis; `dynamodb_url`: a proxy's."""
    made: list[Place] = []

    def make(shards: int = 1, *, server: LocalKinesis = kinesis_server, dynamodb_url: str = dynamodb_server.endpoint_url) -> Place:
        made.append(Place(server.endpoint_url, dynamodb_url, server.create_stream(shards), tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.end()

"""The promises on the sandbox's Kinesis and DynamoDB, with real processes where a promise is about processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.kinesis import KinesisServer

from tests.promise.kinesis.running import Place


@pytest.fixture
def place(kinesis_server: KinesisServer, dynamodb_server: DynamoDBServer, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """`place(shards)`: a new stream and a new table. Further addresses stand for a proxy: `place(1, dynamodb_url=proxy.url)`."""
    made: list[Place] = []

    def make(shards: int = 1, *, kinesis_url: str = "", dynamodb_url: str = "") -> Place:
        stream = kinesis_server.create_stream(shards)
        urls = kinesis_url or kinesis_server.endpoint_url, dynamodb_url or dynamodb_server.endpoint_url
        made.append(Place(*urls, stream, tmp_path))
        return made[-1]

    yield make
    for one in made:
        one.end()

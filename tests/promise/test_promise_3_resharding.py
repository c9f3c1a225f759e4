"""Three workers on a Kinesis stream that splits and merges all the time; two of them are killed: nothing is lost, keys keep their order,
and no shard begins before its parents have ended.

`python -m tests.promise.resharding.proof --seconds 60 --faults 0.05` does the same for longer.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from streamkit_sandbox.dynamodb import DynamoDBServer
from streamkit_sandbox.kinesis import KinesisServer

from tests.promise.resharding.proof import faulty, reshard, settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SECONDS = 15.0
FAULTS = 0.05


def test_shards_that_split_and_merge(kinesis_server: KinesisServer, dynamodb_server: DynamoDBServer, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    told = settings(kinesis_server.endpoint_url, dynamodb_server.endpoint_url) | {"STREAMKIT_DYNAMODB__TABLE": f"resharding-{seed}"}
    stream = kinesis_server.create_stream(3)
    print(reshard(tmp_path, kinesis_server.endpoint_url, told, stream=stream, seconds=SECONDS, seed=seed))


def test_the_same_with_every_fault_on_the_way(kinesis_server: KinesisServer, dynamodb_server: DynamoDBServer, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    stream = kinesis_server.create_stream(3)
    with faulty(kinesis_server.endpoint_url, dynamodb_server.endpoint_url, FAULTS, seed) as (told, proxies):
        told |= {"STREAMKIT_DYNAMODB__TABLE": f"resharding-faults-{seed}"}
        print(reshard(tmp_path, kinesis_server.endpoint_url, told, stream=stream, seconds=SECONDS, seed=seed))
        for proxy in proxies:
            assert sum(proxy.counts.values()) > 10, proxy.counts

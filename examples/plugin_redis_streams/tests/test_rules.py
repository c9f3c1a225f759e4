"""The rules that every broker keeps, looked at on Redis Streams and a real Redis: `pytest`."""

from collections.abc import Iterator, Sequence
from itertools import count

import pytest
from streamkit_redisstreams import RedisStreamsSettings
from streamkit_redisstreams.broker import RedisBroker
from streamkit_redisstreams.client import connect
from streamkit_sandbox.redis import RedisServer

from streamkit.plugin import AdapterContext, NewRecord
from streamkit.testing.conformance import BrokerKit, broker_rules

NAMES = count()


class RedisKit(BrokerKit):
    keeps_none = False

    def __init__(self, url: str) -> None:
        self.settings = RedisStreamsSettings(url=url)
        self.client = connect(self.settings)

    def broker(self, context: AdapterContext) -> RedisBroker:
        return RedisBroker(self.settings, context)

    def unreachable(self, context: AdapterContext) -> RedisBroker:
        return RedisBroker(RedisStreamsSettings(url="redis://127.0.0.1:1/0", timeout_seconds=0.5), context)

    def create(self, partitions: int) -> str:
        stream = f"s{next(NAMES)}"
        for number in range(partitions):
            self.client.xgroup_create(f"{stream}:{number}", "made", mkstream=True)
        return stream

    def write(self, stream: str, records: Sequence[NewRecord]) -> None:
        for record in records:
            fields = {**dict(record.headers), "value": record.value, **({} if record.key is None else {"key": record.key})}
            self.client.xadd(f"{stream}:{record.partition}", fields)

    def delete(self, stream: str) -> None:
        self.client.delete(*self.client.keys(f"{stream}:*"))


@pytest.fixture
def redis_kit(redis_server: RedisServer) -> Iterator[RedisKit]:
    kit = RedisKit(redis_server.url)
    yield kit
    kit.client.close()


test_rules = broker_rules("redis_kit")

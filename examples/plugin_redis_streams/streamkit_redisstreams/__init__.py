"""Redis Streams for streamkit: `STREAMKIT_BROKER=redisstreams`. Importing this package imports no Redis client.

A stream `orders` is the keys `orders:0`, `orders:1`, … up to the first that does not exist: one partition each. Of an entry the field
`value` is the record's value, `key` its key, and all others are its headers.
"""

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from streamkit.plugin import Plugin, hookimpl


class RedisStreamsSettings(BaseModel):
    """`STREAMKIT_REDISSTREAMS__…`"""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Where Redis is; `rediss://` for TLS. May hold a password.")
    timeout_seconds: float = Field(5.0, gt=0, description="How long a connection or an answer may take.")


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(
        name="redisstreams",
        settings=RedisStreamsSettings,
        broker="streamkit_redisstreams.broker:RedisBroker",
        requires=">=0.1,<0.3",
    )

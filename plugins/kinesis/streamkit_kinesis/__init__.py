"""Amazon Kinesis Data Streams for streamkit: shards and their lineage, KPL aggregates, a producer.

Importing this package imports no SDK: the factories below are imported when first needed. Begin with `broker.py`.
"""

from streamkit.plugin import Plugin, hookimpl
from streamkit_kinesis.settings import KinesisSettings

__all__ = ["KinesisSettings", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    """Names what this package offers."""
    return Plugin(
        name="kinesis",
        settings=KinesisSettings,
        broker="streamkit_kinesis.broker:KinesisBroker",
        producer="streamkit_kinesis.producer:KinesisProducer",
        requires=">=0.1,<0.3",
    )

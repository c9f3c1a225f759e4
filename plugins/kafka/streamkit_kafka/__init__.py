"""Apache Kafka for streamkit: groups of both protocols, static partitions, Kafka's own offsets as a store, a producer.

Importing this package imports no SDK: the factories below are imported when first needed. Begin with `broker.py`.
"""

from streamkit.plugin import Plugin, hookimpl
from streamkit_kafka.settings import KafkaSettings

__all__ = ["KafkaSettings", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    """Names what this package offers."""
    return Plugin(
        name="kafka",
        settings=KafkaSettings,
        broker="streamkit_kafka.broker:KafkaBroker",
        store="streamkit_kafka.offsets:KafkaOffsets",
        producer="streamkit_kafka.producer:KafkaProducer",
        requires=">=0.1,<0.3",
    )

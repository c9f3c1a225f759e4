"""Azure Event Hubs for streamkit: one reader for each partition, fenced by the service itself, and a producer.

Importing this package imports no SDK: the factories below are imported when first needed. Begin with `broker.py`.
"""

from streamkit.plugin import Plugin, hookimpl
from streamkit_eventhubs.settings import EventHubsSettings

__all__ = ["EventHubsSettings", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    """Names what this package offers."""
    return Plugin(
        name="eventhubs",
        settings=EventHubsSettings,
        broker="streamkit_eventhubs.broker:EventHubsBroker",
        producer="streamkit_eventhubs.producer:EventHubsProducer",
        requires=">=0.1,<0.3",
    )

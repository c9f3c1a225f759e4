"""A DynamoDB table as checkpoint and lease store, in the format of the Kinesis Client Library.

Importing this package imports no SDK: the factory below is imported when first needed. Begin with `store.py`.
"""

from streamkit.plugin import Plugin, hookimpl
from streamkit_dynamodb.settings import DynamoDBSettings

__all__ = ["DynamoDBSettings", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    """Names what this package offers."""
    return Plugin(
        name="dynamodb",
        settings=DynamoDBSettings,
        store="streamkit_dynamodb.store:DynamoDBStore",
        exchanges={"kcl": "streamkit_dynamodb.exchange:KclExchange"},
        requires=">=0.1,<0.3",
    )

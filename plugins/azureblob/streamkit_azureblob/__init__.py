"""Azure Blob Storage as checkpoint and lease store, in the layout that Azure's SDKs share.

Importing this package imports no SDK: the factory below is imported when first needed. Begin with `store.py`.
"""

from streamkit.plugin import Plugin, hookimpl
from streamkit_azureblob.settings import AzureBlobSettings

__all__ = ["AzureBlobSettings", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    """Names what this package offers."""
    return Plugin(
        name="azureblob",
        settings=AzureBlobSettings,
        store="streamkit_azureblob.store:AzureBlobStore",
        requires=">=0.1,<0.3",
    )

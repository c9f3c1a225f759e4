"""Settings of the blob store: `STREAMKIT_AZUREBLOB__…`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["AzureBlobSettings"]


class AzureBlobSettings(BaseModel):
    """Which container, and how it is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

"""Settings of Event Hubs: `STREAMKIT_EVENTHUBS__…`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["EventHubsSettings"]


class EventHubsSettings(BaseModel):
    """Where the namespace is, and how it is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

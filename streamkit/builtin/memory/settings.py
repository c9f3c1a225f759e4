"""What can be set about the memory plugin."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamkit.plugin import Duration

__all__ = ["MemorySettings"]


class MemorySettings(BaseModel):
    """`STREAMKIT_MEMORY__…`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="default", description="Which log of this process: brokers, producers and stores of one name share it.")
    partitions: int = Field(default=4, ge=1, description="Partitions of a stream that is made on first use.")
    shape: Literal["kafka", "kinesis"] = Field(
        default="kafka", description="What the log is like: offsets and groups (kafka), or partitions that split and merge (kinesis)."
    )
    auto_create: bool = Field(default=True, description="Make a stream on first use; otherwise an unknown one is an error.")
    session_timeout: Duration = Field(
        default=timedelta(seconds=6), description="A group member that has not polled for so long has lost its partitions."
    )
    revoke_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long a group member may take to give a partition back in a rebalance."
    )

"""`STREAMKIT_KINESIS__…`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["KinesisSettings"]


class KinesisSettings(BaseModel):
    """Credentials come by boto3's own chain (environment, profile, role)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_url: str | None = Field(default=None, description="Another address of the service: a local server, a VPC endpoint.")
    region: str | None = Field(default=None, description="AWS region; unset: boto3's own chain (AWS_REGION, profile).")

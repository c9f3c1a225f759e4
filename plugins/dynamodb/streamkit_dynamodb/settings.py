"""What users may set, as `STREAMKIT_DYNAMODB__<FIELD>`. Pure: reads nothing and imports no SDK."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from streamkit.plugin import Duration

__all__ = ["DynamoDBSettings"]


class DynamoDBSettings(BaseModel):
    """Credentials come by boto3's own chain (environment, profile, role)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_url: str | None = Field(default=None, description="Another address of the service: a local server, a VPC endpoint.")
    region: str | None = Field(default=None, description="AWS region; unset: AWS_DEFAULT_REGION, AWS_REGION, or the profile's.")
    table: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]{3,255}$",
        description="The table; unset: it is called as the group is, as the KCL does it. Made at the start if it is not there.",
    )
    keys: Literal["auto", "single", "multi"] = Field(
        default="auto",
        description=(
            "Lease keys of Kinesis shards. single: the shard's id; multi: account:stream:creation:shard, as the KCL has them in "
            "multi-stream mode; auto: single if STREAM is one name, else multi."
        ),
    )
    billing: Literal["on_demand", "provisioned"] = Field(default="on_demand", description="Of a table that is made at the start.")
    read_units: int = Field(default=10, ge=1, description="Of a table that is made with BILLING=provisioned.")
    write_units: int = Field(default=10, ge=1, description="Of a table that is made with BILLING=provisioned.")
    tags: dict[str, str] = Field(default={}, description="Tags of a table that is made at the start, as a JSON object.")
    deletion_protection: bool = Field(default=False, description="Whether a table that is made at the start is protected from deletion.")
    request_timeout: Duration = Field(
        default=timedelta(seconds=2), ge=timedelta(milliseconds=100), description="How long one answer of the service may take."
    )
    retry_timeout: Duration = Field(
        default=timedelta(seconds=1),
        description="For how long a call that was throttled or lost is tried again before the engine is told. Far below LEASE_DURATION.",
    )

    @model_validator(mode="after")
    def _units_need_provisioned(self) -> DynamoDBSettings:
        if self.billing != "provisioned" and self.model_fields_set & {"read_units", "write_units"}:
            raise ValueError("READ_UNITS and WRITE_UNITS count with BILLING=provisioned alone")
        return self

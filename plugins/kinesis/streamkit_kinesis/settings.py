"""What users may set, as `STREAMKIT_KINESIS__<FIELD>`. Pure: reads nothing and imports no SDK.

The limits that are named here are the service's: https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from streamkit.plugin import Duration, Size

__all__ = ["KinesisSettings"]


class KinesisSettings(BaseModel):
    """Credentials come by boto3's own chain (environment, profile, role)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint_url: str | None = Field(default=None, description="Another address of the service: a local server, a VPC endpoint.")
    region: str | None = Field(default=None, description="AWS region; unset: AWS_DEFAULT_REGION, AWS_REGION, or the profile's.")
    request_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one call to the service may stay without an answer before it has failed."
    )
    on_expired: Literal["earliest", "halt"] = Field(
        default="earliest",
        description="When the checkpoint's record is older than what the stream keeps: go on at its oldest record, or halt the partition.",
    )
    out_of_range: Literal["drop", "deliver"] = Field(
        default="drop",
        description="What happens to records of an aggregate whose key belongs to another shard: another copy lies there, as a rule.",
    )
    parser: Literal["fast", "boto3"] = Field(
        default="fast", description="What takes answers with records apart: streamkit's own parser inside botocore, or boto3's."
    )
    reads_per_second: float = Field(
        default=4.0, gt=0, le=1000, description="The most reads a second of one shard. The service allows 5, for all consumers together."
    )
    bytes_per_second: Size = Field(
        default=2_000_000, ge=1000, description="The most bytes a second of one shard. The service allows 2 MB, for all consumers together."
    )
    idle_wait: Duration = Field(
        default=timedelta(seconds=1), description="How long a shard that has brought nothing new rests before it is read again."
    )
    read_threads: int = Field(default=16, ge=1, le=256, description="How many reads are under way at once; at most one of a shard.")
    read_bytes: Size = Field(
        default=64 << 20, ge=1 << 20, description="How many bytes the process reads ahead, for all shards; one answer can have 10 MiB."
    )
    read_records: int = Field(default=10_000, ge=1, le=10_000, description="The most records that one read asks for.")

    keep_order: bool = Field(
        default=True,
        description="Written records of one key keep their order: each waits for the answer to the one before it.",
    )
    send_timeout: Duration = Field(
        default=timedelta(seconds=30), description="How long a record that the service refuses for now is sent again, before it has failed."
    )
    max_record: Size = Field(
        default=1 << 20,
        ge=1,
        le=10 << 20,
        description="The largest record that is written, its key included: what the stream allows (MaxRecordSize).",
    )

    @field_validator("request_timeout", "idle_wait")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=1):
            raise ValueError("must be at least a millisecond")
        return value

    @property
    def request_seconds(self) -> float:
        return self.request_timeout.total_seconds()

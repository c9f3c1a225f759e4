"""What users may set, as `STREAMKIT_EVENTHUBS__<FIELD>`. Pure: reads nothing and imports no SDK.

The limits that are named here are the service's: https://learn.microsoft.com/azure/event-hubs/event-hubs-quotas
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from streamkit.plugin import Duration, Size

__all__ = ["EventHubsSettings"]


class EventHubsSettings(BaseModel):
    """Where the namespace is, and how it is reached. The event hub itself is `STREAMKIT_STREAM`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connection_string: SecretStr | None = Field(
        default=None, description="As the portal shows it: `Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…`. Or NAMESPACE."
    )
    namespace: str | None = Field(
        default=None,
        description="Host of the namespace, as in `name.servicebus.windows.net`; who we are is found by azure-identity's default chain.",
    )
    consumer_group: str | None = Field(
        default=None, description="The event hub's consumer group that is read with; unset: STREAMKIT_GROUP. Every hub has `$Default`."
    )
    transport: Literal["amqp", "websocket"] = Field(
        default="amqp", description="AMQP on port 5671, or inside web sockets on port 443, which more firewalls let pass."
    )
    custom_endpoint: str | None = Field(
        default=None, description="Another address to connect to, as `host:port`: a gateway, a private endpoint, a local server with TLS."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authorities that are trusted; unset: those of certifi, as the SDK has it."
    )
    allow_plain: bool = Field(
        default=False,
        description="Let `UseDevelopmentEmulator=true`, which means no TLS, go to another machine too: all can then be read on the way.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long a question to the service, or the opening of a link, may take before it has failed.",
    )
    prefetch: int = Field(
        default=1000, ge=1, le=100_000, description="How many events of one partition the service may send before they are asked for again."
    )
    read_bytes: Size = Field(
        default=64 << 20, ge=1 << 20, description="How many bytes the process reads ahead, shared out evenly among its partitions."
    )
    receive: Literal["fast", "sdk"] = Field(
        default="fast",
        description="How events are received: by our own reading of the SDK's connection, if the SDK is one that is known, or by it.",
    )
    send_timeout: Duration = Field(
        default=timedelta(seconds=30),
        description="How long events that the service is too busy to take are sent again before they are given up.",
    )
    on_expired: Literal["earliest", "halt"] = Field(
        default="earliest",
        description="When the record after the checkpoint is not kept any more: go on at the oldest one, or halt the partition.",
    )

    @field_validator("request_timeout", "send_timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value < timedelta(milliseconds=100):
            raise ValueError("must be at least 100ms")
        return value

    @field_validator("namespace")
    @classmethod
    def _a_host(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or "/" in value or ";" in value or "." not in value):
            raise ValueError("must be the namespace's full host name, as in `name.servicebus.windows.net`")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> EventHubsSettings:
        if self.connection_string is not None and self.namespace is not None:
            raise ValueError("NAMESPACE and CONNECTION_STRING exclude each other: the latter names its own namespace")
        return self

    @property
    def request_seconds(self) -> float:
        return self.request_timeout.total_seconds()

"""What users may set, as `STREAMKIT_AZUREBLOB__<FIELD>`. Pure: reads nothing and imports no SDK."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from streamkit.plugin import Duration

__all__ = ["AzureBlobSettings"]


class AzureBlobSettings(BaseModel):
    """Which container, and how it is reached."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    connection_string: SecretStr | None = Field(
        default=None,
        description="Of the storage account, as the portal shows it, with its key or a shared access signature. Or ACCOUNT_URL.",
    )
    account_url: str | None = Field(
        default=None,
        description="Such as `https://name.blob.core.windows.net`; who we are is found by azure-identity's default chain.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that are trusted; unset: those of this machine. For a proxy, or a local server.",
    )
    container: str = Field(
        pattern=r"^[a-z0-9](-?[a-z0-9])+$", min_length=3, max_length=63, description="Where the blobs are: that of the EventProcessor."
    )
    create_container: bool = Field(default=True, description="Make the container at the start if it is not there.")
    namespace: str | None = Field(
        default=None,
        description=(
            "First part of the blobs' names for event hubs, such as `name.servicebus.windows.net`; unset: as the broker says it. "
            "Needed if the container has two namespaces with hubs of one name."
        ),
    )
    processor_expiry: Duration = Field(
        default=timedelta(minutes=3),
        ge=timedelta(seconds=1),
        description="For how long an EventProcessor counts as alive that has not given back what it owns. At least its own expiration.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=2), ge=timedelta(milliseconds=100), description="How long one answer of the service may take."
    )
    retries: int = Field(
        default=1, ge=0, le=5, description="How often the SDK repeats a request that was throttled or lost before the engine is told."
    )

    @field_validator("account_url")
    @classmethod
    def _without_secrets(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", value):
            raise ValueError("must be like https://name.blob.core.windows.net; a shared access signature belongs into CONNECTION_STRING")
        if value is not None and value.startswith("http:"):
            raise ValueError("must begin with https: whoever is on the way could take the token that says who we are")
        return value

    @field_validator("namespace")
    @classmethod
    def _a_host(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9._-]+(:\d+)?", value):
            raise ValueError("must be a host, such as name.servicebus.windows.net")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> AzureBlobSettings:
        if (self.connection_string is None) == (self.account_url is None):
            raise ValueError("set one of CONNECTION_STRING and ACCOUNT_URL")
        return self

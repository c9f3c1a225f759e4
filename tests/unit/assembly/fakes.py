"""A registry with three plugins, and the shortest environment that loads."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from streamkit.assembly.registry import Registry
from streamkit.plugin import Plugin, hookimpl
from streamkit.settings import Duration

MINIMAL = {
    "STREAMKIT_BROKER": "nats",
    "STREAMKIT_STREAM": "orders",
    "STREAMKIT_GROUP": "billing",
    "STREAMKIT_NATS__URL": "nats://localhost",
}


class Tls(BaseModel):
    """Settings inside a setting, given as JSON."""

    model_config = ConfigDict(extra="forbid")

    ca: str
    pin: SecretStr | None = None


class NatsSettings(BaseModel):
    """One field of each kind that the loader treats in its own way."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(description="Where the server is.")
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    options: dict[str, str | int] = Field(default_factory=dict, description="Any option of the client, as JSON.")
    subjects: Annotated[tuple[str, ...], BeforeValidator(lambda value: value.split("|") if isinstance(value, str) else value)] = ()
    tls: Tls | None = Field(default=None, description="TLS, as JSON.")
    ack_wait: Duration | None = Field(default=None, description="How long the server waits.")
    port: int = Field(default=4222, ge=1, le=65535, description="Port of the server.")
    mode: Literal["push", "pull"] = "pull"

    @field_validator("password")
    @classmethod
    def _not_the_example(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value().startswith("hunter"):
            raise ValueError(f"{value.get_secret_value()} stands in the manual")
        return value

    @model_validator(mode="after")
    def _tls_needs_a_password(self) -> NatsSettings:
        if self.tls is not None and self.password is None:
            raise ValueError(f"tls without a password, with {self.options}")
        return self


class BareSettings(BaseModel):
    """A plugin with one setting."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(default="checkpoints.db", description="Where the file is.")


def plugin_module(plugin: Plugin) -> ModuleType:
    """A module as an entry point would load it."""
    module = ModuleType(f"fake_{plugin.name}")
    module.streamkit_plugin = hookimpl(lambda: plugin)  # type: ignore[attr-defined]
    return module


def registry() -> Registry:
    """nats reads, lite keeps, box writes."""
    made = Registry(installed=())
    for plugin in (
        Plugin(name="nats", settings=NatsSettings, broker="nats:Broker"),
        Plugin(name="lite", settings=BareSettings, store="lite:Store"),
        Plugin(name="box", settings=BareSettings, producer="box:Producer"),
    ):
        made.register(plugin_module(plugin))
    return made


def environment(**more: str) -> Mapping[str, str]:
    """The minimal one and more, without the prefix: `environment(MAX_BATCH="5")`."""
    return MINIMAL | {f"STREAMKIT_{name}": value for name, value in more.items()}

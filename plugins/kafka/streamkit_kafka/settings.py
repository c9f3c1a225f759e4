"""What users may set, as `STREAMKIT_KAFKA__<FIELD>`. Pure: reads nothing and imports no SDK.

Everything that librdkafka knows can be put into OPTIONS, except what would break one of streamkit's promises: such a name
is refused with the reason. How a setting becomes librdkafka's is in `client.py`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from streamkit.settings import Duration

__all__ = ["KafkaSettings", "Option"]

Option = str | bool | int | float

_OURS = "streamkit checkpoints by itself, after the processor: the client must not"
_FIELD = "has a setting of its own: STREAMKIT_KAFKA__"

# Name in librdkafka -> why it cannot be set.
_REFUSED = {
    "auto.commit.enable": _OURS,
    "auto.commit.interval.ms": _OURS,
    "enable.auto.commit": _OURS,
    "enable.auto.offset.store": _OURS,
    "offset.store.method": _OURS,
    "auto.offset.reset": "it would skip records silently: STREAMKIT_START says where to begin, STREAMKIT_KAFKA__ON_EXPIRED what then",
    "enable.partition.eof": "streamkit needs it to know that it has caught up",
    "group.id": "it is STREAMKIT_GROUP",
    "acks": "a record counts as written only when all replicas in sync have it",
    "request.required.acks": "a record counts as written only when all replicas in sync have it",
    "enable.idempotence": "without it retries could change the order of a key's records",
    "transactional.id": "streamkit's producer writes without transactions",
    "bootstrap.servers": f"{_FIELD}BOOTSTRAP_SERVERS",
    "metadata.broker.list": f"{_FIELD}BOOTSTRAP_SERVERS",
    "group.protocol": f"{_FIELD}GROUP_PROTOCOL",
    "isolation.level": f"{_FIELD}ISOLATION_LEVEL",
    "max.poll.interval.ms": f"{_FIELD}MAX_POLL_INTERVAL",
    "session.timeout.ms": f"{_FIELD}SESSION_TIMEOUT",
    "sasl.mechanism": f"{_FIELD}SASL_MECHANISM",
    "sasl.mechanisms": f"{_FIELD}SASL_MECHANISM",
    "sasl.password": f"{_FIELD}SASL_PASSWORD",
    "sasl.username": f"{_FIELD}SASL_USERNAME",
    "security.protocol": f"{_FIELD}SECURITY_PROTOCOL",
    "ssl.ca.location": f"{_FIELD}SSL_CA_LOCATION",
    "oauth_cb": f"{_FIELD}OAUTH_CALLBACK",
    "on_commit": "streamkit sets the client's callbacks itself",
    "on_delivery": "streamkit sets the client's callbacks itself",
    "logger": "librdkafka's log goes to the Python logger streamkit.kafka.librdkafka",
}


class KafkaSettings(BaseModel):
    """Where the cluster is, how to get in, and the few things that differ from streamkit's other brokers."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    bootstrap_servers: str = Field(min_length=1, description="Addresses of some brokers: host:port, host:port, …")
    options: dict[str, Option] = Field(
        default={},
        repr=False,
        description="Any librdkafka setting, as a JSON object. Names that would break a guarantee are refused.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic", description="classic: cooperative-sticky, any broker; consumer: KIP-848, Kafka 4.0 and newer."
    )
    isolation_level: Literal["read_committed", "read_uncommitted"] = Field(
        default="read_committed", description="Whether records of open and aborted transactions are delivered."
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(default="plaintext", description="How to connect.")
    sasl_mechanism: str | None = Field(
        default=None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; GSSAPI with a client that was built for it."
    )
    sasl_username: str | None = Field(default=None, description="User for PLAIN and SCRAM.")
    sasl_password: SecretStr | None = Field(default=None, description="Password for PLAIN and SCRAM.")
    ssl_ca_location: str | None = Field(default=None, description="File or folder of certificates to trust instead of the system's.")
    oauth_callback: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:[\w.]+$",
        description="module:function for OAUTHBEARER; takes sasl.oauthbearer.config, returns (token, expiry in unix seconds). "
        "Without it, librdkafka's own OIDC method is reached through OPTIONS.",
    )
    on_expired: Literal["halt", "earliest"] = Field(
        default="halt", description="When the checkpoint is older than what Kafka keeps: halt the partition, or go on at the oldest record."
    )
    session_timeout: Duration | None = Field(
        default=None, description="Silence after which the group gives a member's partitions away; classic protocol only. Unset: 45s."
    )
    max_poll_interval: Duration = Field(
        default=timedelta(minutes=5), description="A worker that does not poll for so long is put out of the group."
    )
    revoke_timeout: Duration = Field(
        default=timedelta(seconds=25),
        description="How long a partition that the group takes back may be drained and saved; never more than half of MAX_POLL_INTERVAL.",
    )
    request_timeout: Duration = Field(
        default=timedelta(seconds=10), description="How long one question to the cluster may take: connecting, committing, metadata."
    )

    @field_validator("sasl_mechanism", "security_protocol", mode="before")
    @classmethod
    def _either_case(cls, value: object, info: object) -> object:
        if not isinstance(value, str):
            return value
        return value.upper() if getattr(info, "field_name", "") == "sasl_mechanism" else value.lower()

    @field_validator("options")
    @classmethod
    def _keeps_promises(cls, options: dict[str, Option]) -> dict[str, Option]:
        for name, value in options.items():
            reason = _REFUSED.get(name)
            if name == "partition.assignment.strategy" and value != "cooperative-sticky":
                reason = "only cooperative-sticky lets the partitions that stay go on during a rebalance"
            elif name.endswith("_cb"):
                reason = reason or "streamkit sets the client's callbacks itself"
            if reason:
                raise ValueError(f"{name} cannot be set here: {reason}")
        return options

    @field_validator("session_timeout", "max_poll_interval", "revoke_timeout", "request_timeout")
    @classmethod
    def _some_time(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value < timedelta(milliseconds=1):
            raise ValueError("must be at least a millisecond")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> KafkaSettings:
        if self.session_timeout is not None and self.group_protocol == "consumer":
            raise ValueError(
                "SESSION_TIMEOUT belongs to the classic protocol; with KIP-848 the broker decides (group.consumer.session.timeout.ms)"
            )
        if self.sasl_mechanism and not self.security_protocol.startswith("sasl"):
            raise ValueError("SASL_MECHANISM needs SECURITY_PROTOCOL=sasl_ssl (or sasl_plaintext)")
        if self.security_protocol.startswith("sasl"):
            self._can_log_in()
        if self.oauth_callback and self.sasl_mechanism != "OAUTHBEARER":
            raise ValueError("OAUTH_CALLBACK needs SASL_MECHANISM=OAUTHBEARER")
        return self

    def _can_log_in(self) -> None:
        """What is missing here librdkafka says in words of its own at best; without a source of tokens it waits in silence."""
        if not self.sasl_mechanism:
            raise ValueError("SECURITY_PROTOCOL=sasl_… needs SASL_MECHANISM")
        if self.sasl_mechanism.startswith(("PLAIN", "SCRAM")) and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"SASL_MECHANISM={self.sasl_mechanism} needs SASL_USERNAME and SASL_PASSWORD")
        own = self.options.get("sasl.oauthbearer.method") == "oidc" or self.options.get("enable.sasl.oauthbearer.unsecure.jwt")
        if self.sasl_mechanism == "OAUTHBEARER" and not self.oauth_callback and not own:
            raise ValueError('SASL_MECHANISM=OAUTHBEARER needs OAUTH_CALLBACK, or "sasl.oauthbearer.method": "oidc" in OPTIONS')

    @property
    def revoke_seconds(self) -> float:
        """The longest that a rebalance callback may take."""
        return min(self.revoke_timeout.total_seconds(), self.max_poll_interval.total_seconds() / 2)

    @property
    def request_seconds(self) -> float:
        return self.request_timeout.total_seconds()

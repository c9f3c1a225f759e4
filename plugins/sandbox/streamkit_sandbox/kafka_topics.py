"""Making a topic on a real broker through confluent-kafka, for fixtures and first steps; the package lives without it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping

from streamkit_sandbox.errors import SandboxError, ServerUnavailableError
from streamkit_sandbox.kafka_settings import overriding

__all__ = ["create_topic"]

_TIMEOUT_SECONDS = 60.0


def create_topic(bootstrap_servers: str, partitions: int, config: Mapping[str, str | int | bool], name: str | None = None) -> str:
    """Creates a topic (with a unique name unless given) and returns its name once every partition has a leader.

    Raises ServerUnavailableError without confluent-kafka, SandboxError when the broker refuses or the leaders do not come.
    """
    try:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic
    except ImportError as error:
        raise ServerUnavailableError("kafka", f"making a topic needs confluent-kafka ({error})", "install streamkit-kafka") from error
    name = name or f"t-{uuid.uuid4().hex[:12]}"
    # Kept in a variable until its futures are done: they die with the client.
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    topic = NewTopic(name, num_partitions=partitions, config=overriding(config))
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    try:
        admin.create_topics([topic], operation_timeout=_TIMEOUT_SECONDS)[name].result(_TIMEOUT_SECONDS)
        while time.monotonic() < deadline:
            found = admin.list_topics(name, timeout=_TIMEOUT_SECONDS).topics[name].partitions
            if len(found) == partitions and all(partition.leader >= 0 for partition in found.values()):
                return name
            time.sleep(0.02)
    except KafkaException as error:
        raise SandboxError(f"topic {name} could not be made: {error}") from error
    raise SandboxError(f"topic {name} has no leaders after {_TIMEOUT_SECONDS:g} s")

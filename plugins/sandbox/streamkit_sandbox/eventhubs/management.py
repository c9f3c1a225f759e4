"""`$management`: what a client asks about a hub and about a partition.

The types of the fields are those that all clients take: Go checks each one, and Java and Go take the ids as an array only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs.addresses import Address
from streamkit_sandbox.eventhubs.amqp_types import Array, Int, Long, Timestamp, Value
from streamkit_sandbox.eventhubs.cbs import Claims
from streamkit_sandbox.eventhubs.log import Hub
from streamkit_sandbox.eventhubs.messages import Request
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.service import Service

__all__ = ["OK", "failure", "read"]

OK: dict[Value, Value] = {"status-code": Int(200), "status-description": "OK"}
_NEVER_MS = -62_135_596_800_000  # the first of January of the year 1, which the service says for no time
_STATUS = {"amqp:not-found": 404, "amqp:unauthorized-access": 401, "com.microsoft:server-busy": 503}


def failure(refused: Refused) -> dict[Value, Value]:
    """Application properties of an answer that says no."""
    return {
        "status-code": Int(_STATUS.get(refused.condition, 400)),
        "status-description": refused.description,
        "error-condition": refused.condition,
    }


def read(service: Service, claims: Claims, request: Request) -> dict[Value, Value]:
    """The body of an answer. Raises Refused."""
    asked = request.application
    if service.faults.busy is not None:
        raise service.faults.busy
    if asked.get("operation") != "READ":
        raise Refused("amqp:not-implemented", f"The operation {asked.get('operation')!r} is not supported."[:200])
    name, kind = asked.get("name"), asked.get("type")
    hub = service.hub(name if isinstance(name, str) else "")
    claims.require(Address(hub.name), "Listen or Send", also=asked.get("security_token"))
    if kind == "com.microsoft:eventhub":
        return _hub(hub)
    if kind == "com.microsoft:partition":
        return _partition(service, hub, asked.get("partition"))
    raise Refused("amqp:not-implemented", f"The type {kind!r} is not supported."[:200])


def _hub(hub: Hub) -> dict[Value, Value]:
    return {
        "name": hub.name,
        "type": "com.microsoft:eventhub",
        "created_at": Timestamp(hub.created_ms),
        "partition_count": Int(len(hub.partitions)),
        "partition_ids": Array(tuple(partition.id for partition in hub.partitions), constructor=0xB1),
        "georeplication_factor": Int(1),
    }


def _partition(service: Service, hub: Hub, id: Value) -> dict[Value, Value]:
    log = service.partition(hub, id if isinstance(id, str) else "")
    return {
        "name": hub.name,
        "type": "com.microsoft:partition",
        "partition": log.id,
        "begin_sequence_number": Long(log.first_sequence),
        "last_enqueued_sequence_number": Long(log.last_sequence),
        "last_enqueued_offset": log.last_offset,
        "last_enqueued_time_utc": Timestamp(_NEVER_MS if log.last is None else log.last_enqueued_ms),
        "is_partition_empty": log.is_empty,
    }

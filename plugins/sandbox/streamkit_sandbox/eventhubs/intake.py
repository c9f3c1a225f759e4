"""Events that a client sends: each delivery is appended whole to one partition, or refused whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs import harm
from streamkit_sandbox.eventhubs.amqp_types import DecodeError
from streamkit_sandbox.eventhubs.faults import Fault, Kind
from streamkit_sandbox.eventhubs.links import Delivery
from streamkit_sandbox.eventhubs.log import Hub, PartitionLog
from streamkit_sandbox.eventhubs.messages import Incoming, incoming
from streamkit_sandbox.eventhubs.performatives import ACCEPTED, rejected

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.service import Service

__all__ = ["Intake"]

_ENDS = (Kind.DETACH, Kind.DROP, Kind.CUT)


class Intake:
    """Where the deliveries of one sender go: to `log`, or by key or in turn to a partition of `hub`."""

    def __init__(self, service: Service, hub: Hub, log: PartitionLog | None) -> None:
        self._service, self._hub, self._log = service, hub, log

    def take(self, delivery: Delivery) -> None:
        """Appends and settles; or settles with the reason why not."""
        faults = self._service.faults
        if faults.busy is not None:
            delivery.settle(rejected(faults.busy.condition, faults.busy.description))
            return
        fault = faults.roll("send", self._hub.name)
        if fault is not None and fault.kind is Kind.REJECT:
            delivery.settle(rejected(fault.error, "The send was refused. Fault on purpose."))
        elif fault is not None and fault.kind in _ENDS and not fault.acted:
            harm.end(fault, delivery.link.session, delivery.link)
        else:
            self._store(delivery, fault)

    def _store(self, delivery: Delivery, fault: Fault | None) -> None:
        try:
            self._append(incoming(delivery.message, delivery.format))
        except DecodeError as error:
            delivery.settle(rejected("amqp:decode-error", str(error)))
        except (OSError, ValueError) as error:  # from the journal: nothing was stored
            delivery.settle(rejected("amqp:internal-error", f"The events could not be written down: {error}"))
        else:
            self._acknowledge(delivery, fault)

    def _append(self, sent: Incoming) -> None:
        if self._log is not None:
            log = self._log
        elif sent.partition_key is not None:
            log = self._hub.partition_of(sent.partition_key)
        else:
            log = self._hub.next_partition()
        log.append(sent.messages, sent.partition_key)

    def _acknowledge(self, delivery: Delivery, fault: Fault | None) -> None:
        if fault is None:
            delivery.settle(ACCEPTED)
        elif fault.kind is Kind.DELAY:
            self._service.timers.call_later(fault.seconds, delivery.settle, ACCEPTED)
        else:
            harm.end(fault, delivery.link.session, delivery.link)
            delivery.settle(ACCEPTED if fault.kind is Kind.CUT else None)  # a cut takes half of the answer

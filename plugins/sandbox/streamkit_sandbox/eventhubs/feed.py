"""A receiver of events: what is in a partition's log goes out as fast as credit, windows and the connection allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs import harm
from streamkit_sandbox.eventhubs.amqp_codec import encode
from streamkit_sandbox.eventhubs.amqp_types import Long as LongValue
from streamkit_sandbox.eventhubs.amqp_types import Symbol, Timestamp
from streamkit_sandbox.eventhubs.event_frames import event_frames
from streamkit_sandbox.eventhubs.faults import Kind
from streamkit_sandbox.eventhubs.links import link_credit
from streamkit_sandbox.eventhubs.log import Event, PartitionLog
from streamkit_sandbox.eventhubs.messages import delivered
from streamkit_sandbox.eventhubs.performatives import Flow, Transfer
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.service import Service
    from streamkit_sandbox.eventhubs.session import Session

__all__ = ["EventFeed"]

_EVENTS_AT_ONCE = 256  # between two looks at the connection
_PACE_SECONDS = 0.02  # between two sendings of a receiver that gets only so many events a second


class EventFeed:
    """One receiver of one partition; `next_sequence` is what it gets next."""

    def __init__(
        self,
        service: Service,
        session: Session,
        handle: int,
        name: str,
        hub: str,
        log: PartitionLog,
        *,
        next_sequence: int,
        epoch: int | None,
        wants_metrics: bool,
    ) -> None:
        self.name, self.hub = name, hub
        self.log = log
        self.session = session
        self.next_sequence = next_sequence
        self.epoch = epoch
        self._service, self._handle = service, handle
        self._wants_metrics = wants_metrics
        self.credit = self._delivery_count = 0  # credit: events that the client asks for
        self._alive = True
        self._paused = False
        self._delayed = -1

    def open(self) -> None:
        """Listens for new events; after the attach."""
        self.log.listeners.add(self.resume)

    def on_flow(self, flow: Flow) -> None:
        self.credit = link_credit(flow, self._delivery_count)
        self.resume()
        if flow.drain and self._alive:
            # Nobody takes part of a drain back: credit that found no event is used up.
            self._delivery_count = (self._delivery_count + self.credit) & 0xFFFF_FFFF
            self.credit = 0
            self.session.send_flow(self._handle, delivery_count=self._delivery_count, link_credit=0)

    def on_transfer(self, transfer: Transfer, payload: bytes) -> None:
        raise Refused("amqp:not-allowed", f"Link '{self.name}' receives and does not send.")

    def resume(self) -> None:
        """Sends what may be sent now."""
        while self._alive and self.credit > 0 and not self._paused:
            room = min(self.credit, self.session.is_open_for, _EVENTS_AT_ONCE)
            if room <= 0:
                return
            events = self.log.read(self.next_sequence, room)
            if not events:
                return
            faults = self._service.faults
            if faults.events_per_second is not None:
                events = events[: max(1, int(faults.events_per_second * _PACE_SECONDS))]
                self._pause(len(events) / faults.events_per_second)
            if faults.may_meet("deliver", self.hub):
                self._send_with_faults(events)
            else:
                self._send(events)

    def ended(self) -> None:
        self._alive = False
        self.log.listeners.discard(self.resume)
        self._service.reader_left(self)

    def _pause(self, seconds: float) -> None:
        self._paused = True
        self._service.timers.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._paused = False
        self.resume()

    def _send_with_faults(self, events: Sequence[Event]) -> None:
        """Sends those before the first that a fault meets, and does what happens to that one."""
        for index, event in enumerate(events):
            # An event that was delayed has met its fault.
            fault = None if event.sequence == self._delayed else self._service.faults.roll("deliver", self.hub)
            if fault is None:
                continue
            if fault.kind is Kind.DELAY:
                self._delayed = event.sequence
                events = events[:index]
                self._pause(fault.seconds)
            else:
                if index:
                    self._send(events[:index])
                harm.end(fault, self.session, self)
                events = [event] if fault.kind is Kind.CUT else ()  # which takes half of this one
            break
        if events:
            self._send(events)

    def _send(self, events: Sequence[Event]) -> None:
        # One frame each where that is enough; a message that is larger goes by the session's own way.
        session = self.session
        metrics = self._metrics() if self._wants_metrics else b""
        limit = session.connection.max_frame_out
        parts, sent = event_frames(events, session.channel, self._handle, session.numbers(0), max_frame=limit, metrics=metrics)
        if sent:
            session.numbers(sent)
            self._sent(events[sent - 1], sent)
            session.connection.write(b"".join(parts))
        else:
            self._sent(events[0], 1)
            session.deliver(self._handle, delivered(events[0], metrics))

    def _sent(self, last: Event, count: int) -> None:
        self.next_sequence = last.sequence + 1
        self.credit -= count
        self._delivery_count = (self._delivery_count + count) & 0xFFFF_FFFF

    def _metrics(self) -> bytes:
        """Delivery annotations: where the partition ends now."""
        log = self.log
        return b"\x00\x53\x71" + encode(
            {
                Symbol("last_enqueued_sequence_number"): LongValue(log.last_sequence),
                Symbol("last_enqueued_offset"): log.last_offset,
                Symbol("last_enqueued_time_utc"): Timestamp(log.last_enqueued_ms),
                Symbol("runtime_info_retrieval_time_utc"): Timestamp(self._service.clock_ms()),
            }
        )

"""What a link is for: an attach becomes a sender of events, a receiver of events, or half of a way to ask and be answered.

Raises Refused for what there is no link for; the session tells the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs import addresses, harm
from streamkit_sandbox.eventhubs.addresses import Address
from streamkit_sandbox.eventhubs.amqp_types import Described, Symbol, Value
from streamkit_sandbox.eventhubs.faults import Kind
from streamkit_sandbox.eventhubs.feed import EventFeed
from streamkit_sandbox.eventhubs.intake import Intake
from streamkit_sandbox.eventhubs.links import Gone, IncomingLink, ReplyLink
from streamkit_sandbox.eventhubs.performatives import Attach
from streamkit_sandbox.eventhubs.readers import stolen
from streamkit_sandbox.eventhubs.refused import Refused
from streamkit_sandbox.eventhubs.requests import Requests
from streamkit_sandbox.eventhubs.selector import Field, Selector, parse

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.session import Session

__all__ = ["open_link"]

_FILTER = "apache.org:selector-filter:string"
_EPOCH = Symbol("com.microsoft:epoch")
_RECEIVER_NAME = Symbol("com.microsoft:receiver-name")
_METRICS = "com.microsoft:enable-receiver-runtime-metric"
_LATEST = Selector(Field.OFFSET, "@latest", inclusive=False)


def open_link(session: Session, attach: Attach) -> None:
    """Puts a link into `session` and answers the client. Raises Refused, and then nothing has happened."""
    terminus = attach.source if attach.role else attach.target
    text = "" if terminus is None or terminus.address is None else terminus.address
    address = addresses.parse(text)
    if address is None:
        raise Refused("amqp:not-found", f"The messaging entity '{text}' could not be found.")
    fault = session.connection.service.faults.roll("attach", address.hub)
    if fault is not None:
        if fault.kind is Kind.REJECT:
            raise Refused(fault.error, "The server was unable to process the request; please retry the operation. Fault on purpose.")
        harm.end(fault, session, None)
        if fault.kind is not Kind.CUT:  # which cuts the answer
            session.links[attach.handle] = Gone(attach.name)
            return
    if address.service:
        _open_request_link(session, attach, address)
    elif attach.role:
        _open_feed(session, attach, address)
    else:
        _open_intake(session, attach, address)


def _open_request_link(session: Session, attach: Attach, address: Address) -> None:
    service = session.connection.service
    if attach.role:
        target = None if attach.target is None else attach.target.address
        session.links[attach.handle] = ReplyLink(session, attach.handle, attach.name, address.service, target)
        _answer(session, attach)
        return
    requests = Requests(session, address)
    link = IncomingLink(session, attach.handle, attach.name, "", service.max_message_bytes, requests.take)
    session.links[attach.handle] = link
    _answer(session, attach)
    link.open()


def _open_intake(session: Session, attach: Attach, address: Address) -> None:
    service = session.connection.service
    hub = service.hub(address.hub)
    if address.group:
        raise Refused("amqp:not-allowed", f"Nobody can send to '{address.group}', which is a consumer group.")
    log = service.partition(hub, address.partition) if address.partition else None
    session.connection.claims.require(address, "Send")
    link = IncomingLink(session, attach.handle, attach.name, hub.name, service.max_message_bytes, Intake(service, hub, log).take)
    session.links[attach.handle] = link
    _answer(session, attach)
    link.open()


def _open_feed(session: Session, attach: Attach, address: Address) -> None:
    service = session.connection.service
    hub = service.hub(address.hub)
    if not address.group or not address.partition:
        raise Refused("amqp:not-allowed", "A receiver needs a consumer group and a partition in its address.")
    service.check_group(hub, address.group)
    log = service.partition(hub, address.partition)
    session.connection.claims.require(address, "Listen")
    assert attach.source is not None
    start = log.where(_selector(attach.source.filter))
    properties = attach.properties or {}
    name = properties.get(_RECEIVER_NAME)
    epoch = properties.get(_EPOCH)
    if epoch is not None and (isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0):
        raise Refused("amqp:invalid-field", f"An epoch is a long of 0 or more, not {epoch!r}."[:100])
    feed = EventFeed(
        service,
        session,
        attach.handle,
        name if isinstance(name, str) and name else attach.name,
        hub.name,
        log,
        next_sequence=start,
        epoch=epoch,
        wants_metrics=_METRICS in attach.desired_capabilities,
    )
    driven_out = service.admit(feed, hub, address.group)
    session.links[attach.handle] = feed
    _answer(session, attach)
    feed.open()
    for loser in driven_out:
        refused = stolen(loser.name, loser.epoch, feed.name, 0 if epoch is None else epoch)
        loser.session.detach(loser, refused.condition, refused.description)


def _selector(filters: dict[Value, Value] | None) -> Selector:
    found = (filters or {}).get(Symbol(_FILTER))
    text = found.value if isinstance(found, Described) else found
    return _LATEST if text is None else parse(str(text))


def _answer(session: Session, attach: Attach) -> None:
    session.send(
        Attach(
            name=attach.name,
            handle=attach.handle,
            role=not attach.role,
            snd_settle_mode=attach.snd_settle_mode,
            rcv_settle_mode=attach.rcv_settle_mode,
            source=attach.source,
            target=attach.target,
            # Without it Java and Python wait for events and get none.
            initial_delivery_count=0 if attach.role else None,
            # A sender's batches are as large as this says; 0 or null would leave no room for an event.
            max_message_size=session.connection.service.max_message_bytes,
            properties=attach.properties,
        )
    )

"""Requests on links: a delivery to `$cbs` or `$management` is answered on the link that the client reads answers from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit_sandbox.eventhubs import addresses, cbs, harm, management
from streamkit_sandbox.eventhubs.addresses import CBS, Address
from streamkit_sandbox.eventhubs.amqp_types import DecodeError
from streamkit_sandbox.eventhubs.faults import Kind
from streamkit_sandbox.eventhubs.links import Delivery, ReplyLink
from streamkit_sandbox.eventhubs.messages import Request, read_request, reply
from streamkit_sandbox.eventhubs.performatives import ACCEPTED, rejected
from streamkit_sandbox.eventhubs.refused import Refused

if TYPE_CHECKING:
    from streamkit_sandbox.eventhubs.session import Session

__all__ = ["Requests"]


class Requests:
    """The requests of one link."""

    def __init__(self, session: Session, address: Address) -> None:
        self._session, self._address = session, address

    def take(self, delivery: Delivery) -> None:
        """Answers and settles; rejects what is no request, and what nobody could be answered."""
        try:
            request = read_request(delivery.message)
        except DecodeError as error:
            delivery.settle(rejected("amqp:decode-error", str(error)))
            return
        link = self._session.reply_link(self._address.service, request.properties.reply_to)
        if link is None:
            delivery.settle(rejected("amqp:not-found", f"No link of this session receives the answers of {self._address.service}."))
            return
        self._answer(request, link, delivery)

    def _answer(self, request: Request, link: ReplyLink, delivery: Delivery) -> None:
        service, session = self._session.connection.service, self._session
        operation = "put-token" if self._address.service == CBS else "read"
        asked = request.application.get("name")
        address = addresses.parse(asked) if isinstance(asked, str) else None
        fault = service.faults.roll(operation, "" if address is None else address.hub)
        if fault is not None and fault.kind is Kind.REJECT:
            self._send(link, reply(request, management.failure(Refused(fault.error, "The request was refused. Fault on purpose."))))
        else:
            answer = self._carried_out(request)
            if fault is None:
                self._send(link, answer)
            elif fault.kind is Kind.DELAY:
                service.timers.call_later(fault.seconds, self._send, link, answer)
            else:
                harm.end(fault, session, delivery.link)
        delivery.settle(ACCEPTED)

    def _carried_out(self, request: Request) -> bytes:
        connection = self._session.connection
        if self._address.service == CBS:
            return reply(request, cbs.put_token(request, connection.claims))
        try:
            return reply(request, management.OK, management.read(connection.service, connection.claims, request))
        except Refused as refused:
            return reply(request, management.failure(refused))

    def _send(self, link: ReplyLink, answer: bytes) -> None:
        try:
            link.answer(answer)
        except Refused as refused:
            self._session.detach(link, refused.condition, refused.description)

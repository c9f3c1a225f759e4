"""Whether the installed SDK is the one whose inner parts `fast_link.py` uses: the source of each of them is compared with what is known.

The fast way uses names that the SDK does not promise. A version in which any of these functions reads differently is not trusted,
and the public way is taken. A part with other contents that is fit as well is added to `KNOWN` after `test_fast_link.py` has passed.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["KNOWN", "difference", "digest_of"]

_PUBLIC = "azure.eventhub.aio."
_PYAMQP = "azure.eventhub._pyamqp."
_AIO = _PYAMQP + "aio."

KNOWN: Mapping[str, frozenset[str]] = {
    # azure-eventhub 5.15.1
    _PUBLIC + "_consumer_client_async:EventHubConsumerClient._create_consumer": frozenset({"001478af391bfe64"}),
    _PUBLIC + "_consumer_async:EventHubConsumer.__init__": frozenset({"a5af4a6a53175396"}),
    _PUBLIC + "_consumer_async:EventHubConsumer._create_handler": frozenset({"d0b46ffbc30f9569"}),
    _PUBLIC + "_client_base_async:ConsumerProducerMixin._open": frozenset({"22f408f751b50a17"}),
    _PUBLIC + "_client_base_async:ConsumerProducerMixin.close": frozenset({"2af7bc2c4d215415"}),
    _PUBLIC + "_client_base_async:ConsumerProducerMixin._close_handler_async": frozenset({"ef99bc10ea76f33c"}),
    _PYAMQP + "_decode:decode_frame": frozenset({"c3371b722d28c485"}),
    _AIO + "_client_async:AMQPClientAsync.open_async": frozenset({"c594939bb0110722"}),
    _AIO + "_client_async:AMQPClientAsync.close_async": frozenset({"b0eb0651b5d65270"}),
    _AIO + "_client_async:ReceiveClientAsync._client_ready_async": frozenset({"bde297dada1a7d08"}),
    _AIO + "_client_async:ReceiveClientAsync.close_async": frozenset({"19dbb816572c59ec"}),
    _AIO + "_cbs_async:CBSAuthenticator.handle_token": frozenset({"16ca606776746124"}),
    _AIO + "_cbs_async:CBSAuthenticator.update_token": frozenset({"76bb3a8f8348493b"}),
    _AIO + "_connection_async:Connection._process_incoming_frame": frozenset({"5d1ccffb9531a0ec"}),
    _AIO + "_connection_async:Connection._get_remote_timeout": frozenset({"4fd4bf62218f6125"}),
    _AIO + "_connection_async:Connection.close": frozenset({"802a422e1ea466c8"}),
    _AIO + "_session_async:Session.__init__": frozenset({"cdeb14d3c5d3ea12"}),
    _AIO + "_session_async:Session._incoming_transfer": frozenset({"bc708a7d043a5310"}),
    _AIO + "_session_async:Session._outgoing_flow": frozenset({"037351063545bd80"}),
    _AIO + "_session_async:Session.end": frozenset({"62d8c08ff7e496d5"}),
    _AIO + "_link_async:Link._incoming_attach": frozenset({"ac3ea337d8c73870"}),
    _AIO + "_link_async:Link._incoming_detach": frozenset({"98b6f1ee21f54eed"}),
    _AIO + "_link_async:Link._outgoing_flow": frozenset({"df143b7a9f9e1ae6"}),
    _AIO + "_link_async:Link.get_state": frozenset({"6396002ae0075220"}),
    _AIO + "_link_async:Link.flow": frozenset({"2f28bb42086ad58d"}),
    _AIO + "_link_async:Link.detach": frozenset({"57c2177161c93b38"}),
    _AIO + "_receiver_async:ReceiverLink._incoming_attach": frozenset({"a00cb77b0678d6bb"}),
    _AIO + "_receiver_async:ReceiverLink._incoming_transfer": frozenset({"60a6e007b65fa877"}),
    _AIO + "_transport_async:AsyncTransport.connect": frozenset({"ee2cb81887c90a2f"}),
    _AIO + "_transport_async:AsyncTransport._read": frozenset({"52837abb0fa047be"}),
    _AIO + "_transport_async:AsyncTransport.close": frozenset({"7c9538a56d3b2924"}),
    _AIO + "_transport_async:AsyncTransportMixin.read": frozenset({"e4bef4ae744d6184"}),
    _AIO + "_transport_async:AsyncTransportMixin.receive_frame": frozenset({"897d635f0f606790"}),
}
"""The parts that are used, and digests of their source."""


@cache
def difference() -> str:
    """What of the installed SDK is not as it was known to be, for people; empty: nothing. Found out once for each process."""
    return _difference(KNOWN, _source)


def _difference(known: Mapping[str, frozenset[str]], source: Callable[[str], str]) -> str:
    for part, digests in known.items():
        try:
            found = digest_of(source(part))
        except (ImportError, AttributeError, OSError, TypeError) as error:
            return f"{part} is not to be found ({error})"
        if found not in digests:
            return f"{part} is not as known ({found})"
    return ""


def _source(part: str) -> str:
    module, _, path = part.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return inspect.getsource(found)


def digest_of(source: str) -> str:
    """Blank space at the ends of lines does not count."""
    return hashlib.sha256("\n".join(line.rstrip() for line in source.splitlines()).encode()).hexdigest()[:16]

"""Turns settings into the SDK's clients: address, credentials, TLS, transport. The only place that knows the SDK's arguments.

Nothing here talks to the service. TLS is never given up in silence: the SDK itself leaves it out when a connection string says
`UseDevelopmentEmulator=true`, and that is refused for any other machine than this one.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict
from urllib.parse import urlsplit

import certifi
from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient

from streamkit import __version__
from streamkit.errors import ConfigurationError
from streamkit_eventhubs.login import Login
from streamkit_eventhubs.settings import EventHubsSettings
from streamkit_eventhubs.tidy import tidied

__all__ = ["Address", "Connecting", "address_of"]

_PREFIX = "STREAMKIT_EVENTHUBS__"
_FORM = "Endpoint=sb://NAMESPACE.servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…"
TLS_PORTS = (None, 5671)
LOGIN_SHARE = 0.2
"""Of the time for a question. It is asked up to three times, and is to say why it had no answer."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the namespace is."""

    host: str
    """Lower case, without a port: what makes checkpoints those of this namespace, and what Azure's SDKs name blobs after."""
    hub: str = ""
    """The one event hub that a connection string is good for (`EntityPath`), else empty."""
    is_plain: bool = False
    """Without TLS."""


class _Options(TypedDict):
    retry_total: int
    retry_backoff_factor: float
    auth_timeout: float
    user_agent: str
    transport_type: TransportType
    custom_endpoint_address: str | None
    ssl_context: ssl.SSLContext


def address_of(settings: EventHubsSettings) -> Address:
    """What the settings say. Raises ConfigurationError."""
    if settings.connection_string is None:
        if settings.namespace is None:
            text = "neither it nor STREAMKIT_EVENTHUBS__NAMESPACE is set"
            raise _wrong("CONNECTION_STRING", text, f"set one of them: {_FORM}")
        return Address(settings.namespace.strip().lower())
    parts = _parts(settings.connection_string.get_secret_value())
    endpoint = urlsplit(parts.get("endpoint", ""))
    if not endpoint.hostname:
        raise _wrong("CONNECTION_STRING", "it has no Endpoint with a host", f"its form is {_FORM}")
    if not (("sharedaccesskeyname" in parts and "sharedaccesskey" in parts) or "sharedaccesssignature" in parts):
        raise _wrong("CONNECTION_STRING", "it has neither a key with its name nor a signature", f"its form is {_FORM}")
    is_plain = _is_plain(settings, parts, endpoint.hostname)
    if not is_plain and settings.custom_endpoint is None and endpoint.port not in TLS_PORTS:
        text = f"the SDK does not look at its port {endpoint.port}, and would go to 5671"
        raise _wrong("CONNECTION_STRING", text, f"set {_PREFIX}CUSTOM_ENDPOINT={endpoint.hostname}:{endpoint.port}, without port here")
    return Address(endpoint.hostname.lower(), parts.get("entitypath", ""), is_plain)


def _parts(text: str) -> Mapping[str, str]:
    pairs = (part.partition("=") for part in text.strip().strip(";").split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_plain(settings: EventHubsSettings, parts: Mapping[str, str], host: str) -> bool:
    said = parts.get("usedevelopmentemulator", "false")
    if said == "true":
        goes_to = host if settings.custom_endpoint is None else _host_of(settings.custom_endpoint)
        if not (settings.allow_plain or _is_this_machine(goes_to)):
            text = f"UseDevelopmentEmulator=true means no TLS, and {goes_to} is another machine: keys and records could be read on the way"
            raise _wrong("CONNECTION_STRING", text, f"leave it out, or set {_PREFIX}ALLOW_PLAIN=true")
        return True
    if said.lower() == "true":
        raise _wrong("CONNECTION_STRING", f"UseDevelopmentEmulator={said} means nothing to the SDK", "write it as true, in lower case")
    return False


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _wrong(field: str, text: str, fix: str) -> ConfigurationError:
    return ConfigurationError(text, setting=_PREFIX + field, fix=fix)


class Connecting:
    """Makes clients for one set of settings. Use it, and what it makes, on one loop."""

    def __init__(self, settings: EventHubsSettings) -> None:
        """Raises ConfigurationError: an address that makes no sense, a login without its package."""
        self.address = address_of(settings)
        self._settings = settings
        self._trusted: ssl.SSLContext | None = None
        self._credential = _login(settings.request_seconds * LOGIN_SHARE) if settings.connection_string is None else None

    def consumer(self, hub: str, group: str) -> EventHubConsumerClient:
        """A client that reads this event hub. It connects with its first call, and once more for each partition that it reads."""
        self._check(hub)
        options: dict[str, Any] = {**self._options()}
        if self._settings.connection_string is not None:
            text = self._settings.connection_string.get_secret_value()
            return tidied(EventHubConsumerClient.from_connection_string(text, group, eventhub_name=hub, **options))
        assert self._credential is not None
        return tidied(EventHubConsumerClient(self.address.host, hub, group, self._credential, **options))

    def producer(self, hub: str) -> EventHubProducerClient:
        """A client that writes to this event hub. It connects with its first call."""
        self._check(hub)
        options: dict[str, Any] = {**self._options()}
        if self._settings.connection_string is not None:
            text = self._settings.connection_string.get_secret_value()
            return tidied(EventHubProducerClient.from_connection_string(text, eventhub_name=hub, **options))
        assert self._credential is not None
        return tidied(EventHubProducerClient(self.address.host, hub, self._credential, **options))

    def _options(self) -> _Options:
        settings = self._settings
        is_web = settings.transport == "websocket"
        return _Options(
            # No attempts behind our back: the SDK would begin again where it began, we begin again where the engine stands.
            retry_total=0,
            retry_backoff_factor=0.1,
            auth_timeout=settings.request_seconds,
            user_agent=f"streamkit/{__version__}",
            transport_type=TransportType.AmqpOverWebsocket if is_web else TransportType.Amqp,
            custom_endpoint_address=None if settings.custom_endpoint is None else _as_url(settings.custom_endpoint),
            ssl_context=self._trust(),
        )

    def _trust(self) -> ssl.SSLContext:
        """Made once: by itself the SDK reads the file of authorities for each connection, which takes longer than all the rest."""
        if self._trusted is None:
            if self.address.is_plain:
                self._trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; it trusts nobody
            else:
                self._trusted = _trusting(self._settings)
        return self._trusted

    def _check(self, hub: str) -> None:
        if self.address.hub and self.address.hub.lower() != hub.lower():
            text = f"it is good for the event hub {self.address.hub!r} alone (EntityPath), not for {hub!r}"
            raise _wrong("CONNECTION_STRING", text, "take the connection string of the namespace, or set STREAMKIT_STREAM to that hub")

    async def close(self) -> None:
        """Give back the credential; clients are closed by who asked for them."""
        if self._credential is not None:
            await self._credential.close()


def _trusting(settings: EventHubsSettings) -> ssl.SSLContext:
    """Verifies certificates and host names."""
    try:
        return ssl.create_default_context(cafile=certifi.where() if settings.ca_file is None else str(settings.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise _wrong("CA_FILE", f"{settings.ca_file}: {error}", "it must be a PEM file that can be read") from error


def _host_of(endpoint: str) -> str:
    return urlsplit(_as_url(endpoint)).hostname or ""


def _as_url(endpoint: str) -> str:
    """The SDK puts its path for web sockets behind one that is there, slash or not; the scheme means nothing to it."""
    url = endpoint if "//" in endpoint else f"sb://{endpoint}"
    try:
        parts = urlsplit(url)
        if parts.hostname and (parts.port is None or parts.port > 0) and not parts.username:
            return url.rstrip("/")
    except ValueError:  # a port that is no number
        pass
    raise _wrong("CUSTOM_ENDPOINT", f"{endpoint!r} is no address", "give it as host:port")


def _login(seconds: float) -> Login:
    try:
        from azure.identity.aio import DefaultAzureCredential  # an extra: most who have a connection string need no login

        return Login(DefaultAzureCredential(), seconds)
    except ImportError as error:  # of itself, or of aiohttp, which it asks over and does not bring along
        text = "without a connection string, logging in needs the packages azure-identity and aiohttp"
        raise _wrong("NAMESPACE", text, "pip install 'streamkit-eventhubs[identity]'") from error
    except ValueError as error:  # what a variable of its own says
        raise _wrong("NAMESPACE", f"azure-identity: {error}", "correct its AZURE_… variables") from error

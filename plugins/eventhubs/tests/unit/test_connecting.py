"""Settings and clients: what is refused, what the SDK is told, and that nothing secret is shown. No connection is made."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.eventhub import TransportType
from pydantic import ValidationError
from streamkit_eventhubs.client import Connecting, address_of
from streamkit_eventhubs.settings import EventHubsSettings

from streamkit.errors import ConfigurationError

KEY = "c2VjcmV0LWtleQ=="
AZURE = f"Endpoint=sb://Shop.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey={KEY}"


def local(host: str = "127.0.0.1:5999", emulator: str = "true") -> str:
    return f"Endpoint=sb://{host};SharedAccessKeyName=k;SharedAccessKey={KEY};UseDevelopmentEmulator={emulator}"


def connecting(**fields: Any) -> Connecting:
    return Connecting(EventHubsSettings(**fields))


def config_of(client: Any) -> Any:
    """What the SDK's client has been told; the one place where a test looks inside it."""
    return client._config


def test_the_host_is_lower_case_and_without_a_port_because_checkpoints_are_named_after_it() -> None:
    assert address_of(EventHubsSettings(connection_string=AZURE)).host == "shop.servicebus.windows.net"
    assert address_of(EventHubsSettings(connection_string=local("LOCALHOST:5999"))).host == "localhost"
    assert address_of(EventHubsSettings(namespace="Shop.ServiceBus.windows.net")).host == "shop.servicebus.windows.net"


@pytest.mark.parametrize("host", ["127.0.0.1:5999", "localhost:5999", "[::1]:5999", "127.8.8.8"])
def test_without_tls_to_this_machine(host: str) -> None:
    assert address_of(EventHubsSettings(connection_string=local(host))).is_plain
    assert config_of(connecting(connection_string=local(host)).consumer("orders", "$Default")).use_tls is False


@pytest.mark.parametrize("host", ["10.0.0.1:5672", "emulator:5672", "shop.servicebus.windows.net", "127.0.0.1.example.com"])
def test_without_tls_to_another_machine_only_if_that_is_said_as_well(host: str) -> None:
    with pytest.raises(ConfigurationError, match="no TLS") as caught:
        address_of(EventHubsSettings(connection_string=local(host)))
    assert "ALLOW_PLAIN" in caught.value.fix
    assert address_of(EventHubsSettings(connection_string=local(host), allow_plain=True)).is_plain


def test_tls_and_its_verification_are_what_the_sdk_is_told_by_default() -> None:
    config = config_of(connecting(connection_string=AZURE).consumer("orders", "$Default"))
    assert config.use_tls is True
    assert (config.ssl_context.verify_mode, config.ssl_context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert config.ssl_context.cert_store_stats()["x509_ca"] > 10


def test_authorities_are_read_once_and_are_those_that_were_set(tmp_path: Path) -> None:
    ca_file = tmp_path / "ours.pem"
    trustme.CA().cert_pem.write_to_path(ca_file)
    here = connecting(connection_string=AZURE, ca_file=ca_file)
    contexts = [
        config_of(client).ssl_context for client in (here.consumer("orders", "a"), here.consumer("orders", "b"), here.producer("x"))
    ]
    assert contexts[0] is contexts[1] is contexts[2]
    assert contexts[0].cert_store_stats()["x509_ca"] == 1
    assert (contexts[0].verify_mode, contexts[0].check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_of_authorities_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "x.pem").write_text(text)
    with pytest.raises(ConfigurationError, match=r"x\.pem") as caught:
        connecting(connection_string=AZURE, ca_file=tmp_path / "x.pem").consumer("orders", "g")
    assert caught.value.setting == "STREAMKIT_EVENTHUBS__CA_FILE"


def test_a_spelling_of_the_emulator_that_the_sdk_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="UseDevelopmentEmulator=True means nothing"):
        address_of(EventHubsSettings(connection_string=local(emulator="True")))


def test_a_port_that_the_sdk_would_pass_over_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="port 5999") as caught:
        address_of(EventHubsSettings(connection_string=local(emulator="false")))
    assert "CUSTOM_ENDPOINT=127.0.0.1:5999" in caught.value.fix
    assert not address_of(EventHubsSettings(connection_string=local(emulator="false"), custom_endpoint="127.0.0.1:5999")).is_plain


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no Endpoint"),
        ("rubbish", "no Endpoint"),
        ("Endpoint=sb://shop.servicebus.windows.net/", "neither a key"),
        (f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKey={KEY}", "neither a key"),
        (f"SharedAccessKeyName=k;SharedAccessKey={KEY}", "no Endpoint"),
    ],
)
def test_a_connection_string_that_is_none_is_refused_without_its_key(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        connecting(connection_string=text)
    assert caught.value.setting == "STREAMKIT_EVENTHUBS__CONNECTION_STRING"
    assert KEY not in str(caught.value) + caught.value.fix


def test_one_of_connection_string_and_namespace_is_needed_and_one_is_enough() -> None:
    with pytest.raises(ConfigurationError, match="NAMESPACE"):
        connecting()
    with pytest.raises(ValidationError, match="exclude each other") as caught:
        EventHubsSettings(connection_string=AZURE, namespace="shop.servicebus.windows.net")
    assert KEY not in str(caught.value)


def test_a_connection_string_of_one_hub_is_not_used_for_another() -> None:
    one = connecting(connection_string=f"{AZURE};EntityPath=Orders")
    assert one.consumer("orders", "$Default").eventhub_name == "orders"
    for make in (lambda: one.consumer("payments", "g"), lambda: one.producer("payments")):
        with pytest.raises(ConfigurationError, match="EntityPath"):
            make()


def test_no_secret_is_shown() -> None:
    settings = EventHubsSettings(connection_string=AZURE)
    assert KEY not in repr(settings)
    assert KEY not in str(settings.model_dump(mode="json"))


@pytest.mark.parametrize("make", [lambda c: c.consumer("orders", "g"), lambda c: c.producer("orders")], ids=["consumer", "producer"])
def test_the_sdk_is_told_all_settings_and_never_to_try_again(make: Callable[[Connecting], Any]) -> None:
    here = connecting(
        connection_string=AZURE,
        transport="websocket",
        custom_endpoint="gateway.example.com:8443",
        request_timeout=timedelta(seconds=7),
    )
    config = config_of(make(here))
    assert config.max_retries == 0
    assert config.transport_type is TransportType.AmqpOverWebsocket
    assert config.custom_endpoint_hostname == "gateway.example.com"
    assert (config.connection_port, config.auth_timeout) == (8443, 7.0)
    assert config_of(make(connecting(connection_string=AZURE, custom_endpoint="gateway:1"))).transport_type is TransportType.Amqp


def test_without_tls_to_another_machine_by_an_endpoint_only_if_that_is_said_as_well() -> None:
    """The connection string may speak of this machine: what counts is where the keys go."""
    with pytest.raises(ConfigurationError, match=r"no TLS, and gateway\.example\.com is another machine"):
        address_of(EventHubsSettings(connection_string=local(), custom_endpoint="gateway.example.com:5672"))
    assert address_of(EventHubsSettings(connection_string=local("emulator:5672"), custom_endpoint="127.0.0.1:5999")).is_plain


@pytest.mark.parametrize("endpoint", ["gateway:8443/hubs", "gateway:8443/hubs/", "https://gateway:8443/hubs/"])
def test_the_path_of_web_sockets_follows_the_one_of_an_endpoint(endpoint: str) -> None:
    config = config_of(connecting(connection_string=AZURE, transport="websocket", custom_endpoint=endpoint).consumer("orders", "g"))
    assert config.custom_endpoint_address.endswith("gateway:8443/hubs/$servicebus/websocket")


@pytest.mark.parametrize("endpoint", ["", "gateway:port", "sb://:1", "user@gateway:1"])
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError, match="no address"):
        connecting(connection_string=AZURE, custom_endpoint=endpoint).consumer("orders", "g")


@pytest.mark.parametrize("namespace", ["", "shop", "sb://shop.servicebus.windows.net", "a.b/c", "Endpoint=sb://a.b;"])
def test_a_namespace_is_a_full_host_name(namespace: str) -> None:
    with pytest.raises(ValidationError, match="full host name"):
        EventHubsSettings(namespace=namespace)


def test_a_namespace_alone_logs_in_by_the_default_chain_and_gives_it_back() -> None:
    async def body() -> None:
        here = connecting(namespace="shop.servicebus.windows.net")
        assert here.consumer("orders", "g").eventhub_name == "orders"
        assert here.producer("orders").eventhub_name == "orders"
        await here.close()

    asyncio.run(body())


@pytest.mark.parametrize("package", ["azure.identity.aio", "azure.core.pipeline.transport._aiohttp"])
def test_a_login_without_its_package_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # the latter is how aiohttp is missed
    with pytest.raises(ConfigurationError, match="azure-identity") as caught:
        connecting(namespace="shop.servicebus.windows.net")
    assert caught.value.fix == "pip install 'streamkit-eventhubs[identity]'"


def test_a_variable_of_the_login_that_means_nothing_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "nonsense")
    with pytest.raises(ConfigurationError, match="AZURE_TOKEN_CREDENTIALS") as caught:
        connecting(namespace="shop.servicebus.windows.net")
    assert caught.value.setting == "STREAMKIT_EVENTHUBS__NAMESPACE"

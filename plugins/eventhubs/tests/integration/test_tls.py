"""TLS without web sockets, by both ways to receive: what is said of a bad certificate. A good one: `test_identity.py`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from streamkit_eventhubs.producer import EventHubsProducer
from streamkit_sandbox.eventhubs.server import EventHubsServer

from plugins.eventhubs.tests.live import Live, on
from streamkit.errors import AccessDeniedError, StreamkitError
from streamkit.model import Partition, StartPosition
from streamkit.plugin import NewRecord

pytestmark = pytest.mark.integration

PREFIX = "STREAMKIT_EVENTHUBS__"


@pytest.fixture(scope="module")
def server() -> Iterator[EventHubsServer]:
    with EventHubsServer(tls=True) as server:
        yield server


def fields_of(server: EventHubsServer, receive: str) -> dict[str, Any]:
    """As the sandbox prints them."""
    given = {name.removeprefix(PREFIX).lower(): value for name, value in server.settings().items() if name.startswith(PREFIX)}
    return {**given, "receive": receive}


@pytest.mark.parametrize("receive", ["fast", "sdk"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_is_not_trusted_is_denied_to_all_and_names_the_setting(
    server: EventHubsServer, receive: str, wrong: str
) -> None:
    async def said_to_reader(here: Live) -> StreamkitError:
        async with here.worker() as worker:
            await worker.reader.add(Partition(here.hub, "0", "x"), StartPosition.EARLIEST)
            await worker.until(lambda: worker.failed)
            return worker.failed[0].error

    async def test(here: Live) -> None:
        said: list[StreamkitError] = [await said_to_reader(here)]
        with pytest.raises(StreamkitError) as caught:
            await here.discover()
        said.append(caught.value)
        producer = EventHubsProducer(here.settings, here.context)
        await producer.open()
        said += [answer for answer in await producer.send(here.hub, [NewRecord(b"x")]) if isinstance(answer, StreamkitError)]
        await producer.close()
        assert len(said) == 3
        for error in said:
            assert isinstance(error, AccessDeniedError)
            assert not error.retryable
            assert "STREAMKIT_EVENTHUBS__CA_FILE" in error.fix

    fields = fields_of(server, receive)
    changed = {"ca_file": None} if wrong == "authority" else {"custom_endpoint": f"localhost:{server.port}"}
    on(server, server.create_hub(f"bad-{wrong}-{receive}", 1), test, **{**fields, **changed})
    assert server.connection_count == 0

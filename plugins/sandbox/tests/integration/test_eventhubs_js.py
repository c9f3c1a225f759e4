"""The process of the JavaScript client: what it says when it cannot, and that it ends with whoever moves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamkit_sandbox.errors import SandboxError, ServerStartError, ServerUnavailableError
from streamkit_sandbox.eventhubs.server import EventHubsServer
from streamkit_sandbox.eventhubs_js import JavaScriptClient, JavaScriptError, bodies_of, fetched_javascript_client
from streamkit_sandbox.pytest_plugin import missing

pytestmark = pytest.mark.integration


@pytest.fixture
def client(eventhubs_server: EventHubsServer) -> Iterator[JavaScriptClient]:
    try:
        fetched_javascript_client()
    except ServerUnavailableError as error:
        missing(str(error))
    with JavaScriptClient(eventhubs_server.connection_string()) as client:
        yield client


def test_it_sends_and_reads_and_is_gone_when_it_is_closed(client: JavaScriptClient, event_hub: str) -> None:
    client.send(event_hub, b"a", b"b", partitionId="2")
    reading = client.subscribe(event_hub, partition="2", start="earliest")
    assert bodies_of(client.take(reading, 2)) == [b"a", b"b"]
    pid = client.pid
    client.close()
    client.close()
    assert client.pid is None
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(SandboxError, match="is not started"):
        client.send(event_hub, b"c")


def test_what_it_throws_has_its_name_and_its_words(client: JavaScriptClient) -> None:
    with pytest.raises(JavaScriptError, match="MessagingEntityNotFoundError: The messaging entity 'nowhere' could not be found") as caught:
        client.send("nowhere", b"x")
    assert (caught.value.name, caught.value.code) == ("MessagingError", "MessagingEntityNotFoundError")
    with pytest.raises(JavaScriptError, match="there is no command toString"):
        client.ask("toString")


def test_an_answer_that_does_not_come_and_a_process_that_is_gone_are_told(client: JavaScriptClient, event_hub: str) -> None:
    reading = client.subscribe(event_hub, partition="0", start="latest")
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.2 s"):
        client.ask("take", timeout_seconds=0.2, subscription=reading, count=1, seconds=30)
    assert client.pid is not None
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(ServerStartError, match="eventhubs-js did not start: ended with exit code -9"):
        client.ask("hub", hub=event_hub)


OWNER = """
import sys
from streamkit_sandbox.eventhubs_js import JavaScriptClient
with JavaScriptClient(sys.argv[1]) as client:
    reading = client.subscribe(sys.argv[2], partition="0", start="latest")
    print(client.pid, flush=True)
    client.take(reading, 1, 100)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("client")
def test_it_does_not_outlive_its_owner_whatever_it_is_doing(eventhubs_server: EventHubsServer, event_hub: str) -> None:
    command = [sys.executable, "-c", OWNER, eventhubs_server.connection_string(), event_hub]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        owner.kill()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)

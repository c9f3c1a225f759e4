"""Azure's own client of Event Hubs for JavaScript, as a peer for tests: @azure/event-hubs 6.0.4 and its checkpoints in blobs, 2.0.0.

It runs in a process of its own (`eventhubs_js.js`) that does what it is told, one thing after the other. It ends with this process.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamkit_sandbox.errors import SandboxError, ServerStartError
from streamkit_sandbox.node import node, npm_modules

__all__ = ["JavaScriptClient", "JavaScriptError", "bodies_of", "body_of", "event_of", "fetched_javascript_client"]

PACKAGES = ("@azure/event-hubs@6.0.4", "@azure/eventhubs-checkpointstore-blob@2.0.0")
_SCRIPT = Path(__file__).with_suffix(".js")
_ANSWER_SECONDS = 30.0
_NAME = "eventhubs-js"


class JavaScriptError(SandboxError):
    """What the client threw: `name` of the class, `code` (its own, often the AMQP condition in its words), `message`."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.name, self.code, self.message = str(told["name"]), told["code"], str(told["message"])
        super().__init__(f"{self.name} {self.code}: {self.message}")


def fetched_javascript_client() -> Path:
    """The folder of the client's packages, fetched if they are not there yet: 60 MB.

    Raises ServerUnavailableError when Node or the packages cannot be had.
    """
    return npm_modules(_NAME, *PACKAGES)


class JavaScriptClient:
    """One process with the client, for one namespace. Started by `start()` or by `with`; not thread-safe.

    `ask(command, ...)` runs one of the commands in `eventhubs_js.js`; the methods are the ones that tests use most.
    """

    def __init__(self, connection_string: str) -> None:
        self._connection_string = connection_string
        self._process: subprocess.Popen[bytes] | None = None
        self._heard = b""

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Raises ServerUnavailableError when the client cannot be had; does nothing if already started."""
        if self._process is not None:
            return
        modules = fetched_javascript_client()
        environment = os.environ | {"EVENTHUBS_CONNECTION_STRING": self._connection_string, "NODE_PATH": str(modules)}
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [str(node(_NAME).launcher), str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            bufsize=0,
        )
        self._heard = b""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kills the process: its partitions stay claimed until their time is over, unless they were given back by `unsubscribe`."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, self._said):
                if pipe is not None:
                    pipe.close()

    @property
    def pid(self) -> int | None:
        """The process id, None before the start and after the end."""
        return None if self._process is None else self._process.pid

    def ask(self, command: str, *, timeout_seconds: float = _ANSWER_SECONDS, **given: Any) -> Any:
        """What the command gave. Raises JavaScriptError for what it threw, TimeoutError when it did not answer."""
        process = self._process
        if process is None or process.stdin is None:
            raise SandboxError(f"the client is not started; use `with {type(self).__name__}(...) as client`")
        try:
            process.stdin.write(json.dumps({"do": command, **given}).encode() + b"\n")
            answer = json.loads(self._line(process, timeout_seconds))
        except BrokenPipeError:
            self._ended(process)
        if "error" in answer:
            raise JavaScriptError(answer["error"])
        return answer["done"]

    def send(self, hub: str, *bodies: bytes, **where: Any) -> None:
        """Sends one batch. `where` is `partitionKey=` or `partitionId=`. For other fields of events see the command `send`."""
        self.ask("send", hub=hub, events=[event_of(body) for body in bodies], **where)

    def subscribe(self, hub: str, **given: Any) -> int:
        """Begins to read, and returns the number to `take` by: `partition="0"`, `start="earliest"`, `ownerLevel=1` …"""
        number: int = self.ask("subscribe", hub=hub, **given)
        return number

    def take(self, subscription: int, count: int, seconds: float = 10.0) -> Mapping[str, Any]:
        """`events`, `errors`, `notes` and `metrics` since the last time: at once with `count` events or an error, else after `seconds`."""
        taken: Mapping[str, Any] = self.ask(
            "take", timeout_seconds=seconds + _ANSWER_SECONDS, subscription=subscription, count=count, seconds=seconds
        )
        return taken

    def unsubscribe(self, subscription: int) -> None:
        """Ends reading in order, and gives back the partitions of a processor."""
        self.ask("close", subscription=subscription)

    def _line(self, process: subprocess.Popen[bytes], timeout_seconds: float) -> bytes:
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        while b"\n" not in self._heard:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"the JavaScript client did not answer within {timeout_seconds:g} s")
            heard = os.read(process.stdout.fileno(), 1 << 16)
            if not heard:
                self._ended(process)
            self._heard += heard
        line, _, self._heard = self._heard.partition(b"\n")
        return line

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self._said.seek(0)
        tail = self._said.read()[-4000:].decode("utf-8", "replace")
        raise ServerStartError(_NAME, f"ended with exit code {process.wait(10)}", tail)


def event_of(body: bytes, **fields: object) -> dict[str, object]:
    """An event for the commands `send` and `batch`; fields are those of the client: properties, messageId, contentType …"""
    return {"body": base64.b64encode(body).decode(), **fields}


def body_of(event: Mapping[str, Any]) -> bytes:
    """The body of an event that was taken."""
    return base64.b64decode(event["body"])


def bodies_of(taken: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[bytes]:
    """The bodies of all events that were taken, in order."""
    return [body_of(event) for event in taken["events"]]

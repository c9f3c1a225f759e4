"""An HTTP server on loopback with answers that a test has written: for what only a real connection shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@dataclass(frozen=True)
class Said:
    """One answer."""

    body: bytes
    status: int = 200
    length: int | None = None
    """What Content-Length says, if it is not the truth; the connection is closed then."""
    before_close: threading.Event | None = None
    """What is waited for before that."""


@dataclass
class Asked:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, object]
    raw: bytes = b""
    """The body as it came."""


@dataclass
class Wire:
    """`with Wire(answer) as wire:` where `answer` makes an answer of a request."""

    answer: Callable[[Asked], Said]
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Wire:
        wire = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(raw), raw)
                wire.asked.append(asked)
                said = wire.answer(asked)
                self.send_response(said.status)
                self.send_header("Content-Length", str(len(said.body) if said.length is None else said.length))
                self.send_header("x-amzn-RequestId", "r")
                self.end_headers()
                self.wfile.write(said.body)
                if said.before_close is not None:
                    said.before_close.wait(10)
                self.close_connection = said.length is not None

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """A client that has given up is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

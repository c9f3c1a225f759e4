"""A real boto3 client whose answers come from memory: everything is botocore's, but nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.loaders import create_loader

LOADER = create_loader()
"""One for all clients: to read the description of the service takes longer than most tests."""


class _Body:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class Canned:
    """Answers every request with what `answer` was told last, as often as it is asked."""

    def __init__(self, factory: object | None = None, *, service: str = "kinesis") -> None:
        session = botocore.session.Session()
        session.register_component("data_loader", LOADER)
        if factory is not None:
            session.register_component("response_parser_factory", factory)
        self.client: Any = session.create_client(
            service,
            region_name="eu-central-1",
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
        )
        self.client.meta.events.register("before-send", self._send)
        self.requests = 0
        self.answer(b"{}")

    def answer(self, body: bytes, *, status: int = 200, length: int | None = None, headers: dict[str, str] | None = None) -> None:
        """`length`: what Content-Length says, if it is not the truth."""
        self._status = status
        self._body = body
        self._headers = {"Content-Length": str(len(body) if length is None else length), "x-amzn-RequestId": "r", **(headers or {})}

    def _send(self, request: object, **_: object) -> AWSResponse:
        self.requests += 1
        return AWSResponse("http://127.0.0.1:1/", self._status, self._headers, _Body(self._body))

    def get_records(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get_records(ShardIterator="i")
        return answer

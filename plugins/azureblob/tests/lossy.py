"""What tests of this plugin share: the SDK's own transport, which loses answers or requests when told to, and short ways to open stores."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from pydantic import SecretStr
from streamkit_azureblob.settings import AzureBlobSettings
from streamkit_azureblob.store import AzureBlobStore

from streamkit.model import Checkpoint, Partition, Position, StartPosition
from tests.conformance.context import PlainContext

__all__ = ["HUB", "NAMESPACE", "Lossy", "after", "context_of", "hub", "in_loop", "opened"]

P = ParamSpec("P")

NAMESPACE = "myns.servicebus.windows.net"
HUB = f"{NAMESPACE}/orders@1790000000"


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """A test that is a coroutine, run in a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def hub(name: str = "0", *, stream: str = "orders", incarnation: str = HUB) -> Partition:
    return Partition(stream, name, incarnation=incarnation)


def after(sequence: int, of: Partition | None = None, *, token: str | None = None, metadata: str = "") -> Checkpoint:
    token = str(sequence * 100) if token is None else token
    return Checkpoint(of or hub(), StartPosition.after(Position(sequence, token=token)), metadata=metadata, owner="w")


class Lossy(AioHttpTransport):
    """Sends what the SDK sends. `lose`, `drop` and `hold` are asked of each request, by its method and its address."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self.lose: Callable[[str, str], bool] = lambda method, url: False
        """The service acts, and its answer is lost."""
        self.drop: Callable[[str, str], bool] = lambda method, url: False
        """The request is lost."""
        self.hold: Callable[[str, str], bool] = lambda method, url: False
        """The request is on its way when the client gives it up; `deliver` lets it arrive."""
        self.between: list[Callable[[], Any]] = []
        """Done before the next write is sent: what somebody else does just then."""
        self._held: list[Any] = []

    async def send(self, request: Any, **config: Any) -> Any:
        method, url = str(request.method), str(request.url)
        if method == "PUT" and self.between:
            await self.between.pop(0)()
        self.sent.append((method, url))
        if self.drop(method, url):
            raise ServiceResponseError("the request was lost")
        if self.hold(method, url):
            self._held.append((request, config))
            raise ServiceResponseError("no answer yet")
        answer = await super().send(request, **config)
        if self.lose(method, url):
            raise ServiceResponseError("the answer was lost")
        return answer

    async def deliver(self) -> list[int]:
        """The statuses of what was held."""
        answers = [await super(Lossy, self).send(request, **config) for request, config in self._held]
        self._held.clear()
        return [answer.status_code for answer in answers]

    def writes(self, part: str = "/checkpoint/") -> int:
        return sum(1 for method, url in self.sent if method == "PUT" and part in url)


def context_of(*, broker: str = "eventhubs", group: str = "$Default", worker: str = "w", now: float = 1_700_000_000.0) -> PlainContext:
    context = PlainContext(broker=broker, group=group, worker=worker, now=now)
    context.streams = ("orders",)
    return context


@asynccontextmanager
async def opened(
    server: Any,
    container: str,
    context: PlainContext | None = None,
    transport: AioHttpTransport | None = None,
    kind: type[AzureBlobStore] = AzureBlobStore,
    **settings: Any,
) -> AsyncIterator[AzureBlobStore]:
    given = {"retries": 0, "request_timeout": "20s", "connection_string": SecretStr(server.connection_string), "container": container}
    options = {} if transport is None else {"transport": transport}
    store = kind(AzureBlobSettings(**{**given, **settings}), context or context_of(), **options)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
        await asyncio.sleep(0)

"""The emulator's handle: Event Hubs on a free port of 127.0.0.1, on a thread of its own, with everything that tests do to it.

with EventHubsServer({"orders": 4}) as server:
    EventHubConsumerClient.from_connection_string(server.connection_string("orders"), "$Default")
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from streamkit_sandbox.errors import SandboxError, ServerStartError
from streamkit_sandbox.eventhubs.cbs import Access
from streamkit_sandbox.eventhubs.connection import Connection
from streamkit_sandbox.eventhubs.faults import Fault, Faults, Kind
from streamkit_sandbox.eventhubs.log import Event, Hub, machine_clock_ms
from streamkit_sandbox.eventhubs.messages import data_message
from streamkit_sandbox.eventhubs.offsets import Offsets
from streamkit_sandbox.eventhubs.persistence import HubFolder
from streamkit_sandbox.eventhubs.security import Security
from streamkit_sandbox.eventhubs.service import MAX_MESSAGE_BYTES, ReaderInfo, Service
from streamkit_sandbox.loopback import LOOPBACK

__all__ = ["DEFAULT_USER", "EventHubsServer"]

DEFAULT_USER, DEFAULT_KEY = "RootManageSharedAccessKey", "c3RyZWFta2l0LXNhbmRib3g="
_CLOSE_SECONDS = 10.0
_ANSWER_SECONDS = 30.0

T = TypeVar("T")


class EventHubsServer:
    """Started by `start()` or by `with`; ends with `close()`. Every method may be called from any thread.

    `hubs`: names and partition counts. `port` 0: a free one. `users`: names and keys of shared access policies, which tokens are
    then checked against, as are `bearer_tokens`, which may change while it runs; without either every token is good.
    `max_message_bytes` is the largest event or batch, `idle_seconds` how long a client may be silent, as the service says it to clients.
    `consumer_groups` are those that each hub has besides $Default. `folder` keeps hubs and events for a later emulator;
    `retention_ms` and `max_events` take events away from the front of each partition. `opaque_offsets`: offsets that are no numbers, as
    hubs with geo-replication have them.
    `tls=True` speaks TLS and nothing else, with a certificate for 127.0.0.1 by the authority in `ca_file`. `seed` is that of `rules`.
    """

    def __init__(
        self,
        hubs: Mapping[str, int] | None = None,
        *,
        port: int = 0,
        folder: Path | str | None = None,
        users: Mapping[str, str] | None = None,
        bearer_tokens: Collection[str] | None = None,
        consumer_groups: Collection[str] = (),
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        idle_seconds: float = 240.0,
        retention_ms: int | None = None,
        max_events: int | None = None,
        opaque_offsets: bool = False,
        tls: bool = False,
        seed: int = 0,
        clock_ms: Callable[[], int] = machine_clock_ms,
    ) -> None:
        self._hubs = dict(hubs or {})
        self._wanted_port = port
        self._chosen_folder = folder
        self._log_options: dict[str, Any] = {
            "retention_ms": retention_ms,
            "max_events": max_events,
            "offsets": Offsets(opaque=opaque_offsets),
        }
        self._security = Security() if tls else None
        self._seed = seed
        self._users = dict(users) if users else None
        self._bearer_tokens = bearer_tokens
        self._consumer_groups = tuple(consumer_groups)
        self._max_message_bytes = max_message_bytes
        self._idle_seconds = idle_seconds
        self._clock_ms = clock_ms
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop, Service] | None = None
        self._folder: HubFolder | None = None
        self._errors: list[BaseException] = []
        self._port = 0
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Returns when it listens; does nothing if it does already.

        Raises ServerStartError for a port that is taken, SandboxError for a folder that another emulator has or that cannot be read.
        """
        if self._running is not None:
            return
        try:
            listener = socket.create_server((LOOPBACK, self._wanted_port), backlog=1024)
        except OSError as error:
            raise ServerStartError("eventhubs", f"port {self._wanted_port} of {LOOPBACK}: {error}") from error
        loop = asyncio.new_event_loop()
        try:
            service = self._opened(loop)
        except BaseException:
            listener.close()
            loop.close()
            self._close_folder()
            raise
        self._port = listener.getsockname()[1]
        loop.set_exception_handler(self._keep)
        tls = None if self._security is None else self._security.server_context
        self._stop = asyncio.Event()
        thread = threading.Thread(target=_run, args=(loop, self._stop, listener, service, tls), name="eventhubs", daemon=True)
        self._running = thread, loop, service
        thread.start()

    def close(self) -> None:
        """Ends every connection; may be called again. Raises SandboxError if the emulator itself had failed meanwhile."""
        if self._running is None:
            return
        thread, loop, _ = self._running
        self._running = None
        loop.call_soon_threadsafe(self._stop.set)
        thread.join(_CLOSE_SECONDS)
        self._close_folder()
        if self._errors:
            errors, self._errors = self._errors, []
            raise SandboxError(f"the emulator of Event Hubs failed {len(errors)} times, first: {errors[0]!r}") from errors[0]

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        self._service()
        return self._port

    @property
    def namespace(self) -> str:
        """`127.0.0.1:PORT`, which the SDK takes for the fully qualified namespace."""
        return f"{LOOPBACK}:{self.port}"

    def connection_string(self, hub: str | None = None) -> str:
        """For any client; it names a hub if one is given."""
        user, key = next(iter(self._users.items())) if self._users else (DEFAULT_USER, DEFAULT_KEY)
        path = "" if hub is None else f";EntityPath={hub}"
        plain = ";UseDevelopmentEmulator=true" if self._security is None else ""
        return f"Endpoint=sb://{self.namespace};SharedAccessKeyName={user};SharedAccessKey={key}{plain}{path}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the authority that clients must trust. Raises SandboxError without `tls=True`."""
        if self._security is None:
            raise SandboxError("the emulator does not speak TLS; start it with tls=True")
        return self._security.ca_file

    def settings(self) -> dict[str, str]:
        """Environment variables that point streamkit at it."""
        found = {"STREAMKIT_BROKER": "eventhubs", "STREAMKIT_EVENTHUBS__CONNECTION_STRING": self.connection_string()}
        if self._security is not None:
            # The SDK takes no port from a connection string with TLS.
            found |= {"STREAMKIT_EVENTHUBS__CUSTOM_ENDPOINT": self.namespace, "STREAMKIT_EVENTHUBS__CA_FILE": str(self.ca_file)}
        return found

    @property
    def hubs(self) -> dict[str, int]:
        """The hubs that there are, with the numbers of their partitions."""
        return self._call(lambda service: {hub.name: len(hub.partitions) for hub in service.hubs})

    def create_hub(self, name: str, partitions: int = 4) -> str:
        """Makes a hub, and returns its name. Raises SandboxError for a name that is taken."""
        self._call(lambda service: service.add(self._hub(name, partitions)))
        return name

    def delete_hub(self, name: str) -> None:
        """Deletes a hub: clients are detached with amqp:not-found."""

        def work(service: Service) -> None:
            service.remove(name)
            if self._folder is not None:
                self._folder.remove(name)

        self._call(work)

    def create_consumer_group(self, hub: str, group: str) -> None:
        """Makes a consumer group; one that is there already stays as it is."""

        def work(service: Service) -> None:
            found = service.hub(hub)
            found.consumer_groups.add(group)
            if self._folder is not None:
                self._folder.save(found)

        self._call(work)

    def grow(self, name: str, partitions: int) -> None:
        """Gives a hub more partitions. Raises SandboxError."""

        def work(service: Service) -> None:
            hub = service.hub(name)
            hub.grow(partitions)
            if self._folder is not None:
                self._folder.save(hub)

        self._call(work)

    def append(self, hub: str, bodies: Iterable[bytes], partition: str | None = None, key: str | None = None) -> None:
        """Appends events without a client, all to one partition: `partition`, or that of `key`, or the next one in turn."""
        messages = [data_message(body) for body in bodies]

        def work(service: Service) -> None:
            found = service.hub(hub)
            log = found.next_partition() if key is None else found.partition_of(key)
            (log if partition is None else service.partition(found, partition)).append(messages, key)

        self._call(work)

    def events(self, hub: str, partition: str) -> Sequence[Event]:
        """The events that a partition holds."""
        return self._call(lambda service: tuple(service.partition(service.hub(hub), partition).read(0, sys.maxsize)))

    def readers(self, hub: str) -> list[ReaderInfo]:
        """Who reads now."""
        return self._call(lambda service: [info for info in service.readers() if info.hub.lower() == hub.lower()])

    def admissions(self, hub: str) -> list[ReaderInfo]:
        """Every reader that was let in, in this order, as it was then; of many thousands the last."""
        return self._call(lambda service: [info for info in service.admissions if info.hub.lower() == hub.lower()])

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return self._call(lambda service: len(service.connections))

    def drop_connections(self) -> int:
        """Resets every connection, as a network that breaks; returns how many."""

        def work(service: Service) -> int:
            connections = tuple(service.connections)
            for connection in connections:
                connection.abort()
            return len(connections)

        return self._call(work)

    def detach(self, hub: str, partition: str | None = None, condition: str = "amqp:link:detach-forced") -> int:
        """Detaches the links of a hub, or the receivers of one partition; returns how many."""
        return self._call(lambda service: service.detach(hub, partition, condition, "The link is force detached by the broker."))

    def throttle(self, seconds: float) -> None:
        """Sends and requests are refused with com.microsoft:server-busy for so long; 0 ends it."""
        self._call(lambda service: service.faults.throttle(seconds))

    def hold(self) -> None:
        """Takes nothing in and gives nothing out; connections stay open, and new ones are not answered. `release` ends it."""
        self._call(lambda service: service.hold())

    def release(self) -> None:
        """Goes on after `hold`."""
        self._call(lambda service: service.release())

    def set_latency(self, seconds: float) -> None:
        """Everything goes out so much later."""
        self._call(lambda service: setattr(service.faults, "latency_seconds", seconds))

    def set_pace(self, events_per_second: float | None) -> None:
        """The most that one receiver gets; None: no limit."""
        self._call(lambda service: setattr(service.faults, "events_per_second", events_per_second))

    @property
    def rules(self) -> tuple[Fault, ...]:
        """Faults by chance or count; setting them begins the chances of the seed anew."""
        return self._call(lambda service: service.faults.rules)

    @rules.setter
    def rules(self, rules: Iterable[Fault]) -> None:
        chosen = tuple(rules)
        self._call(lambda service: setattr(service.faults, "rules", chosen))

    @property
    def fault_counts(self) -> Counter[tuple[str, Kind]]:
        """How often which fault of `rules` happened: `server.fault_counts["send", Kind.REJECT]`. A copy."""
        return self._call(lambda service: Counter(service.faults.counts))

    def _opened(self, loop: asyncio.AbstractEventLoop) -> Service:
        """The namespace with the hubs that were asked for, and those that the folder holds."""
        self._folder = None if self._chosen_folder is None else HubFolder(self._chosen_folder)
        service = Service(
            loop,
            access=self._access(),
            clock_ms=self._clock_ms,
            max_message_bytes=self._max_message_bytes,
            idle_seconds=self._idle_seconds,
            faults=Faults(loop.time, self._seed),
        )
        for name in (*self._hubs, *(self._folder.names() if self._folder else ())):
            if name.lower() not in {hub.name.lower() for hub in service.hubs}:
                service.add(self._hub(name, self._hubs.get(name, 1)))
        return service

    def _access(self) -> Access | None:
        """None: everybody."""
        if self._users is None and self._bearer_tokens is None:
            return None
        return Access(self._users or {}, () if self._bearer_tokens is None else self._bearer_tokens)

    def _hub(self, name: str, partitions: int) -> Hub:
        if self._folder is None:
            hub = Hub(name, partitions, clock_ms=self._clock_ms, **self._log_options)
        else:
            hub = self._folder.open(name, partitions, clock_ms=self._clock_ms, **self._log_options)
        hub.consumer_groups |= set(self._consumer_groups)
        return hub

    def _close_folder(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _service(self) -> tuple[asyncio.AbstractEventLoop, Service]:
        if self._running is None:
            raise SandboxError("the emulator is not started; use `with EventHubsServer() as server` or call start()")
        return self._running[1:]

    def _call(self, work: Callable[[Service], T]) -> T:
        """Does `work` on the emulator's thread and returns what it returns."""
        loop, service = self._service()

        async def there() -> T:
            return work(service)

        return asyncio.run_coroutine_threadsafe(there(), loop).result(_ANSWER_SECONDS)

    def _keep(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or SandboxError(context["message"])
        if not isinstance(error, OSError):  # a client that went away
            self._errors.append(error)


def _run(
    loop: asyncio.AbstractEventLoop, stop: asyncio.Event, listener: socket.socket, service: Service, tls: ssl.SSLContext | None
) -> None:
    loop.run_until_complete(_serve(stop, listener, service, tls))
    loop.close()


async def _serve(stop: asyncio.Event, listener: socket.socket, service: Service, tls: ssl.SSLContext | None) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Connection(service), sock=listener, ssl=tls)
    await stop.wait()
    server.close()
    for connection in tuple(service.connections):
        connection.abort()
    await asyncio.sleep(0)  # transports say goodbye in the next rounds
    await asyncio.sleep(0)

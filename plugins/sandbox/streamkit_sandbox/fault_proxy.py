"""A proxy on loopback that does to requests what networks and AWS do: throttles, errors, delays, resets, cuts, silence.

It stands in front of any local Kinesis or DynamoDB server, speaks HTTP/1.1 (no TLS, no HTTP/2) and knows an operation by
its X-Amz-Target. It has a thread of its own. What happens to which request is decided in `faults.py` and `shard_limits.py`,
and done in `fault_connection.py`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.fault_connection import Connection, Verdicts
from streamkit_sandbox.faults import Dice, Fault, Kind, every_fault
from streamkit_sandbox.http_wire import MAX_MESSAGE_BYTES
from streamkit_sandbox.loopback import LOOPBACK
from streamkit_sandbox.shard_limits import ShardLimits, ShardMeter

__all__ = ["Fault", "FaultProxy", "Kind", "ShardLimits", "every_fault"]

_CLOSE_SECONDS = 10.0


class FaultProxy:
    """In front of the server at `target_url`; started by `start()` or by `with`.

    `rules` and `limits` may be changed while it runs, from any thread; new rules begin the chances of `seed` anew.
    Raises SandboxError for a target that is no plain HTTP address.
    """

    def __init__(self, target_url: str, *, seed: int = 0, rules: Iterable[Fault] = (), limits: ShardLimits | None = None) -> None:
        where = urlsplit(target_url)
        if where.scheme != "http" or not where.hostname or not where.port:
            raise SandboxError(f"target_url={target_url!r} is not like http://127.0.0.1:4567")
        self._target = (where.hostname, where.port)
        self._seed = seed
        self._verdicts = Verdicts(Dice(seed, tuple(rules)), ShardMeter(limits) if limits else None)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: tuple[threading.Thread, asyncio.AbstractEventLoop] | None = None
        self._url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Returns when it listens, on a port that the system chose."""
        if self._running is not None:
            return
        listener = socket.create_server((LOOPBACK, 0), backlog=512)  # clients may connect from here on
        self._url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop, listener), name="fault-proxy", daemon=True)
        self._running = thread, loop
        thread.start()

    def close(self) -> None:
        """Ends every connection; may be called again. The counts stay."""
        if self._running is not None:
            thread, loop = self._running
            self._running = None
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_CLOSE_SECONDS)

    @property
    def url(self) -> str:
        """What clients use instead of the server's endpoint."""
        if self._running is None:
            raise SandboxError("the fault proxy is not started; use `with FaultProxy(url) as proxy` or call start()")
        return self._url

    @property
    def rules(self) -> tuple[Fault, ...]:
        """Tried in this order; the first that meets a request happens to it (delays happen besides)."""
        return self._verdicts.dice.rules

    @rules.setter
    def rules(self, rules: Iterable[Fault]) -> None:
        self._verdicts.dice = Dice(self._seed, tuple(rules))

    @property
    def limits(self) -> ShardLimits | None:
        """What each shard allows; None: anything. Only shards whose iterators came through here since it was set are known."""
        return self._verdicts.meter.limits if self._verdicts.meter else None

    @limits.setter
    def limits(self, limits: ShardLimits | None) -> None:
        self._verdicts.meter = ShardMeter(limits) if limits else None

    @property
    def counts(self) -> Counter[tuple[str, Kind]]:
        """How often which fault happened, by operation and kind: `proxy.counts["GetRecords", Kind.CUT]`. A copy."""
        return self._verdicts.counts()

    @property
    def requests(self) -> Counter[str]:
        """How often each operation was asked for. A copy."""
        return self._verdicts.requests()

    def _run(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        server = loop.run_until_complete(asyncio.start_server(self._connected, sock=listener, limit=MAX_MESSAGE_BYTES))
        loop.run_forever()
        server.close()
        loop.run_until_complete(self._end())
        loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next round

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(Connection(self._verdicts, self._target, reader, writer).serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

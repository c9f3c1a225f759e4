"""Somebody who writes keyed records all the while, through the same faults as everybody else."""

from __future__ import annotations

import asyncio
import gc
import random
import threading

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

__all__ = ["KeyedWriter"]

ANSWER_SECONDS = 3.0
"""The SDK itself would wait for ever for a link whose opening was lost."""
PAUSE_SECONDS = 0.2


class KeyedWriter:
    """Azure's own producer on a thread: a record of each key in turn, again and again, until `end`. What is not acknowledged is sent again.

    Names are `<key>.<number>`; `written` are those that were acknowledged.
    """

    def __init__(self, connection_string: str, hub: str, *, keys: int, rate: float, seed: int) -> None:
        self.written: list[str] = []
        self.refused = 0
        """How often a record had to be sent again."""
        self._connection_string, self._hub = connection_string, hub
        self._pause_seconds = 1 / rate
        self._keys = [f"k{number}" for number in range(keys)]
        random.Random(seed).shuffle(self._keys)
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="keyed writer")
        self._thread.start()

    def end(self) -> None:
        """What has begun to be sent is written when this returns. Raises what the thread has died of."""
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the writer does not end"
        gc.collect()  # what the SDK has left behind is said now, and not in another test
        assert not self._failures, self._failures

    def _run(self) -> None:
        try:
            asyncio.run(self._write())
        except BaseException as error:
            self._failures.append(error)

    async def _write(self) -> None:
        client = self._connect()
        try:
            number = 0
            while True:
                for key in self._keys:
                    await asyncio.sleep(self._pause_seconds)
                    if self._over.is_set():
                        return
                    client = await self._send(client, key, f"{key}.{number}")
                number += 1
        finally:
            await client.close()

    def _connect(self) -> EventHubProducerClient:
        return EventHubProducerClient.from_connection_string(self._connection_string, eventhub_name=self._hub, retry_total=0)

    async def _send(self, client: EventHubProducerClient, key: str, name: str) -> EventHubProducerClient:
        """Returns the client that has done it."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await client.send_batch([EventData(f"{name} go")], partition_key=key)
            except (EventHubError, TimeoutError):
                self.refused += 1
                await client.close()
                client = self._connect()
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.written.append(name)
                return client

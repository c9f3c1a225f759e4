"""Writes records: dead letters, examples, load. Idempotent and acknowledged by all replicas in sync.

`produce` never blocks and may be called on the I/O loop; a thread of our own polls for delivery reports, and wakes the
sender when the last of its records is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import cast

import confluent_kafka
from confluent_kafka import KafkaError, KafkaException, Message

from streamkit.errors import BrokerError, BrokerUnavailableError
from streamkit.plugin import AdapterContext, NewRecord, Producer
from streamkit_kafka.client import ErrorWatch, new_producer, producer_config
from streamkit_kafka.cluster import Cluster
from streamkit_kafka.errors import BROKER, broker_error, translation
from streamkit_kafka.settings import KafkaSettings

__all__ = ["KafkaProducer"]

_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.01
_MARGIN_SECONDS = 5.0


class KafkaProducer(Producer[KafkaSettings]):
    """Many sends may run beside one another; records of one key keep their order."""

    def __init__(self, settings: KafkaSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        config = producer_config(settings, context.worker)
        self._config = config
        self._timeout_seconds = float(config["message.timeout.ms"]) / 1000 + _MARGIN_SECONDS
        self._producer: confluent_kafka.Producer | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    async def open(self) -> None:
        self._producer = await self.blocking(self._connect)
        self._thread = threading.Thread(target=self._poll, args=(self._producer,), name="streamkit-kafka-reports", daemon=True)
        self._thread.start()

    async def check(self, stream: str) -> None:
        """A topic that is missing is refused, also where brokers make topics on first use: not with the partitions that one wants."""
        await self.blocking(self._look_up, stream)

    def _look_up(self, topic: str) -> None:
        cluster = Cluster(self.settings, self.context)
        cluster.connect()
        cluster.partitions([topic])

    def _connect(self) -> confluent_kafka.Producer:
        Cluster(self.settings, self.context).connect()
        return new_producer(self._config, ErrorWatch())

    def _poll(self, producer: confluent_kafka.Producer) -> None:
        while not self._closing:
            producer.poll(_POLL_SECONDS)

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        if not records:
            return []
        if self._producer is None or self._closing:
            raise BrokerUnavailableError("the Kafka producer is closed", broker=BROKER)
        answers = _Answers(len(records))
        deadline = self.context.monotonic() + self._timeout_seconds
        for number, record in enumerate(records):
            while not self._hand_over(self._producer, stream, record, number, answers):
                if self.context.monotonic() > deadline:
                    full = BrokerUnavailableError("librdkafka's queue stayed full: Kafka takes nothing", broker=BROKER)
                    if number == 0:
                        raise full
                    answers.set(number, full)
                    break
                await asyncio.sleep(_FULL_SECONDS)
        try:
            # message.timeout.ms makes librdkafka answer for every record; the margin is for a frozen process.
            return await asyncio.wait_for(answers.complete, max(_MARGIN_SECONDS, deadline - self.context.monotonic()))
        except TimeoutError:
            return answers.so_far(BrokerUnavailableError(f"Kafka did not answer for a record to {stream}", broker=BROKER))

    def _hand_over(self, producer: confluent_kafka.Producer, stream: str, record: NewRecord, number: int, answers: _Answers) -> bool:
        try:
            producer.produce(
                stream,
                record.value,
                record.key,
                -1 if record.partition is None else int(record.partition),
                on_delivery=partial(answers.delivered, number),
                headers=cast("list[tuple[str, str | bytes | None]]", list(record.headers)),
            )
        except BufferError:
            return False
        except KafkaException as error:
            answers.set(number, translation(error, f"writing to {stream}"))
        except ValueError as error:
            answers.set(number, BrokerError(f"{stream}: {record.partition!r} is no partition ({error})", broker=BROKER))
        return True

    async def close(self) -> None:
        """Waits a bounded time for what is under way."""
        if self._producer is None or self._thread is None:
            return
        producer, thread = self._producer, self._thread
        await self.blocking(producer.flush, self.settings.request_seconds)
        self._closing = True
        await self.blocking(thread.join)
        self._producer = self._thread = None


class _Answers:
    """What became of the records of one send; filled by the thread that polls, awaited on the loop."""

    def __init__(self, count: int) -> None:
        self._answers: list[Exception | None] = [None] * count
        self._open = set(range(count))
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self.complete: asyncio.Future[list[Exception | None]] = self._loop.create_future()

    def delivered(self, number: int, error: KafkaError | None, message: Message) -> None:
        """librdkafka's delivery report, on the polling thread."""
        self.set(number, None if error is None else broker_error(error, f"writing to {message.topic()}"))

    def set(self, number: int, answer: Exception | None) -> None:
        with self._lock:
            self._answers[number] = answer
            self._open.discard(number)
            finished = not self._open
        if finished:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.complete.done():
            self.complete.set_result(self._answers)

    def so_far(self, missing: Exception) -> list[Exception | None]:
        with self._lock:
            return [missing if number in self._open else answer for number, answer in enumerate(self._answers)]

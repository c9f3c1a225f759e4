"""Writes records: dead letters, examples, load. What Kinesis cannot hold is refused record by record, and nothing is changed silently.

The calls run one after the other on the thread of `self.blocking`. What a record becomes is in `outgoing.py`, what is sent when in
`outbox.py` and `sender.py`, what an answer means in `put_answers.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streamkit.errors import BrokerError, BrokerUnavailableError
from streamkit.model import Partition
from streamkit.plugin import AdapterContext, NewRecord, Producer
from streamkit_kinesis.errors import BROKER
from streamkit_kinesis.outgoing import Entry, entry_of
from streamkit_kinesis.sender import Sender, Sending
from streamkit_kinesis.settings import KinesisSettings
from streamkit_kinesis.writing import Writing

__all__ = ["KinesisProducer"]


class KinesisProducer(Producer[KinesisSettings]):
    """Many sends may run beside one another, and share calls.

    With KEEP_ORDER, records of one key keep their order: each waits until the one before it is in the stream, so a single key
    gets through as many records a second as there are round trips. If one is given up, what was queued behind it is answered as
    not sent.
    """

    keeps_headers = False

    def __init__(self, settings: KinesisSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._writing: Writing | None = None
        self._senders: dict[str, Sender] = {}

    async def open(self) -> None:
        self._writing = await self.blocking(Writing.connected, self.settings, self.context)

    async def check(self, stream: str) -> None:
        await self.blocking(self._opened().check, stream)

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        writing = self._opened()
        shards: Mapping[str, Partition] = {}
        if any(record.partition is not None for record in records):
            shards = await self.blocking(writing.shards, stream)  # each time, because shards close
        sending = Sending(len(records))
        entries: list[tuple[Entry, int]] = []
        for index, record in enumerate(records):
            try:
                entries.append((self._entry(stream, record, shards), index))
            except BrokerError as error:
                sending.answer(index, error)
        if entries:
            self._sender(stream).add(entries, sending)
        await sending.wait()
        return sending.answers

    async def close(self) -> None:
        """Waits for the call that is under way, which the client's own time limits bound."""
        writing, self._writing = self._writing, None
        for sender in self._senders.values():
            await sender.close()
        if writing is not None:
            await self.blocking(writing.close)

    def _entry(self, stream: str, record: NewRecord, shards: Mapping[str, Partition]) -> Entry:
        return entry_of(record, stream, shards, max_record_bytes=self.settings.max_record, keep_order=self.settings.keep_order)

    def _sender(self, stream: str) -> Sender:
        sender = self._senders.get(stream)
        if sender is None:
            seconds = self.settings.send_timeout.total_seconds()
            sender = self._senders[stream] = Sender(stream, lambda entries: self._put(stream, entries), self.context.monotonic, seconds)
        return sender

    async def _put(self, stream: str, entries: Sequence[Entry]) -> Sequence[BrokerError | None]:
        return await self.blocking(self._opened().put, stream, entries)

    def _opened(self) -> Writing:
        if self._writing is None:
            raise BrokerUnavailableError("the Kinesis producer is closed", broker=BROKER)
        return self._writing

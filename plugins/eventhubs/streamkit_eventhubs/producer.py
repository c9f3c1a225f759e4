"""Writes records: dead letters, examples, load. What Event Hubs cannot hold is refused record by record, and nothing is changed silently.

The service chooses the partition, by the key or in turns; only who names a partition gets it. What a record becomes is in
`outgoing.py`, how it is sent in `lane.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial

from streamkit.errors import BrokerError, BrokerUnavailableError
from streamkit.plugin import AdapterContext, NewRecord, Producer
from streamkit_eventhubs.client import Connecting
from streamkit_eventhubs.errors import BROKER
from streamkit_eventhubs.lane import Entry, Lane, Sending, behind
from streamkit_eventhubs.outgoing import Outgoing, outgoing_of
from streamkit_eventhubs.settings import EventHubsSettings

__all__ = ["EventHubsProducer"]

LANES = 4
"""Connections over which the keys of an event hub are spread: a batch has one key, so each is a round trip."""


class EventHubsProducer(Producer[EventHubsSettings]):
    """Many sends may run beside one another; records of one key keep their order. A record may be written twice, if the answer to it
    was lost."""

    is_gapless = True  # a batch is taken whole or not at all, and of a key nothing is sent behind what was given up

    def __init__(self, settings: EventHubsSettings, context: AdapterContext) -> None:
        super().__init__(settings, context)
        self._connecting: Connecting | None = None
        self._lanes: dict[tuple[str, str], Lane] = {}

    async def open(self) -> None:
        """Raises ConfigurationError. Connections are made with the first use of each event hub."""
        self._connecting = Connecting(self.settings)

    async def check(self, stream: str) -> None:
        await self._lane(stream, "").check()

    async def send(self, stream: str, records: Sequence[NewRecord]) -> Sequence[Exception | None]:
        if self._connecting is None:
            raise BrokerUnavailableError("the Event Hubs producer is closed", broker=BROKER)
        sending = Sending(len(records))
        refused: dict[bytes, BrokerError] = {}
        for index, record in enumerate(records):
            try:
                if record.key is not None and (earlier := refused.get(record.key)) is not None:
                    raise behind(stream, earlier)
                outgoing = outgoing_of(record, stream)
                lane = self._lane(stream, _lane_of(outgoing))
            except BrokerError as error:
                sending.answer(index, error)
                if record.key is not None:
                    refused.setdefault(record.key, error)
                continue
            lane.add(Entry(outgoing, sending, index))
        await sending.wait()
        return sending.answers

    async def close(self) -> None:
        """Waits for the batches that are under way, at most for as long as an attempt may take."""
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            await lane.close()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            await connecting.close()

    def _lane(self, stream: str, name: str) -> Lane:
        if self._connecting is None:
            raise BrokerUnavailableError("the Event Hubs producer is closed", broker=BROKER)
        lane = self._lanes.get((stream, name))
        if lane is None:
            lane = self._lanes[stream, name] = Lane(
                stream,
                partial(self._connecting.producer, stream),
                self.context.monotonic,
                request_seconds=self.settings.request_seconds,
                retry_seconds=self.settings.send_timeout.total_seconds(),
            )
        return lane


def _lane_of(outgoing: Outgoing) -> str:
    """Records of one key have one lane, and so have those that name one partition."""
    if outgoing.partition is not None:
        return f"partition {outgoing.partition}"
    return "" if outgoing.key is None else f"keys {zlib.crc32(outgoing.key.encode()) % LANES}"

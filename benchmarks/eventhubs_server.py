"""The emulator of `eventhubs.py`, in a process of its own: `eventhubs_server.py PARTITIONS EVENTS BYTES EVENTS_A_SECOND`.

Prints its connection string once it is filled. With a rate, events come one by one after that, each with the time in its body. Ends
when its input does.
"""

from __future__ import annotations

import sys
import threading
import time

from streamkit_sandbox.eventhubs.server import EventHubsServer

HUB = "bench"


def main() -> None:
    partitions, events, size, rate = (int(argument) for argument in sys.argv[1:5])
    with EventHubsServer({HUB: partitions}) as server:
        for number in range(partitions):
            share = events // partitions + (number < events % partitions)
            server.append(HUB, (b"x" * size for _ in range(share)), str(number))
        print(server.connection_string(HUB), flush=True)
        ended = threading.Event()
        if rate:
            threading.Thread(target=_trickle, args=(server, partitions, rate, ended), daemon=True).start()
        sys.stdin.read()
        ended.set()


def _trickle(server: EventHubsServer, partitions: int, rate: int, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(1 / rate):
        server.append(HUB, [repr(time.time()).encode()], str(number % partitions))
        number += 1


if __name__ == "__main__":
    main()

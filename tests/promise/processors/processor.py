"""Azure's EventProcessor for Python as a process of its own, which tests stop and kill: azure-eventhub with checkpoints in blobs.

`python processor.py` reads what it is told from PROCESSOR as JSON. Each event is noted as a line of PROCESSOR_LOG, in the form of
kcl/work.py, and then checkpointed, unless it is beyond the first `checkpoints` events of its partition. SIGTERM ends it in order.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter

from azure.eventhub import TransportType
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

LOG = os.open(os.environ["PROCESSOR_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


async def main(told):
    store = BlobCheckpointStore.from_connection_string(told["storage"], told["container"])
    client = EventHubConsumerClient.from_connection_string(
        told["connection_string"],
        told["group"],
        eventhub_name=told["hub"],
        checkpoint_store=store,
        # Not in the connection string, whose host is what the blobs are named after: with the port, if there is one.
        custom_endpoint_address=told["address"],
        transport_type=TransportType.Amqp,
        load_balancing_interval=told["interval_seconds"],
        partition_ownership_expiration_interval=told["expiry_seconds"],
    )
    seen = Counter()

    async def on_event(context, event):
        seen[context.partition_id] += 1
        note("record", context.partition_id, event.sequence_number, event.body_as_str())
        if told["checkpoints"] is None or seen[context.partition_id] <= told["checkpoints"]:
            await context.update_checkpoint(event)

    async def on_partition_close(context, reason):
        note(reason.name.lower(), context.partition_id)

    async def on_error(context, error):
        print(type(error).__name__, error, file=sys.stderr, flush=True)

    reading = asyncio.create_task(
        client.receive(on_event, on_error=on_error, on_partition_close=on_partition_close, starting_position="-1", prefetch=20)
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with store:
        await stop.wait()
        await client.close()
        await reading


def note(what, partition, sequence=-1, said="- -1"):
    key, number = said.split()[:2]
    os.write(LOG, f"{time.monotonic_ns()} {what} {partition} {sequence} 0 {key} {number}\n".encode())


asyncio.run(main(json.loads(os.environ["PROCESSOR"])))

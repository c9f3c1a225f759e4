"""Puts three orders into the event hub `orders`: `python fill_eventhubs.py "$STREAMKIT_EVENTHUBS__CONNECTION_STRING"`."""

import sys

from azure.eventhub import EventData, EventHubProducerClient

if __name__ == "__main__":
    with EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="orders") as producer:
        for customer, order in (("ada", b"tea"), ("bob", b"jam"), ("ada", b"milk")):
            producer.send_batch([EventData(order)], partition_key=customer)

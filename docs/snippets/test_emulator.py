"""A producer's test against the emulator of Event Hubs; this file itself is run by the tests of the documentation."""

# --8<-- [start:send]
from azure.eventhub import EventData, EventHubProducerClient
from streamkit_sandbox.eventhubs.server import EventHubsServer


def test_events_of_a_customer_stay_together() -> None:
    with EventHubsServer({"orders": 4}) as server:
        with EventHubProducerClient.from_connection_string(server.connection_string("orders")) as producer:
            for item in (b"tea", b"milk"):
                producer.send_batch([EventData(item)], partition_key="ada")
        filled = [events for partition in range(4) if (events := server.events("orders", str(partition)))]
        assert [[event.partition_key for event in events] for events in filled] == [["ada", "ada"]]


# --8<-- [end:send]

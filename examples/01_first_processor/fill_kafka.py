"""Makes the topic `orders`, unless it is there, and puts three orders into it: `python fill_kafka.py localhost:9092`."""

import sys

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

if __name__ == "__main__":
    servers = {"bootstrap.servers": sys.argv[1]}
    admin = AdminClient(servers)
    try:
        admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(30)
    except KafkaException as error:
        # Also what the client says when the answer was lost and it has asked again.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
    producer = Producer(servers)
    for customer, order in ((b"ada", b"tea"), (b"bob", b"jam"), (b"ada", b"milk")):
        producer.produce("orders", order, key=customer)
    sys.exit(producer.flush(30))

"""Makes the topic `orders` and puts three orders into it: `python fill_kafka.py localhost:9092`."""

import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

if __name__ == "__main__":
    servers = {"bootstrap.servers": sys.argv[1]}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("orders", 1, 1)])["orders"].result(30)
    producer = Producer(servers)
    for customer, order in ((b"ada", b"tea"), (b"bob", b"jam"), (b"ada", b"milk")):
        producer.produce("orders", order, key=customer)
    sys.exit(producer.flush(30))

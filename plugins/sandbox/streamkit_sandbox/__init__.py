"""Real servers on loopback without Docker, for tests and first steps with streamkit.

`kafka.KafkaServer` is Apache Kafka itself, `kafka_mock.MockKafka` librdkafka's small imitation, `catalog.SERVERS` what
`streamkit sandbox` can start, `pytest_plugin` the fixtures. Importing this package starts and downloads nothing;
a server's own files are fetched into a cache folder when it is first started.
"""

"""A member of a group, on a scripted consumer and a clock that stands still."""

import pytest
from streamkit_kafka import commits as commits_module
from streamkit_kafka import consumer as consumer_module
from streamkit_kafka.membership import KafkaMembership
from streamkit_kafka.settings import KafkaSettings

from plugins.kafka.tests.unit.scripted import P0, P1, Clock, Script, drive, poll
from streamkit.model import Partition, Position, StartPosition


@pytest.fixture
def script(monkeypatch):
    script = Script()
    monkeypatch.setattr(consumer_module, "new_consumer", lambda config, on_error, on_commit: script)
    monkeypatch.setattr(commits_module, "_PATIENCE_SECONDS", -1.0)
    return script


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def member(script, clock):
    """Owns both partitions and reads them from 0."""
    settings = KafkaSettings(bootstrap_servers="b")
    config = {"socket.timeout.ms": 1000}
    made = KafkaMembership(settings, clock, config, ["t"], lambda revoked: None, lambda topic, number: Partition(topic, str(number)))
    poll(made, script, lambda: script.give(0, 1) or [])
    for partition in (P0, P1):
        drive(made.add(partition, StartPosition.at(Position(0))))
    poll(made, script, lambda: [])
    script.calls.clear()
    return made

"""A broker, a producer and a store inside this process: for the demo, for tests, and for the simulator.

Everything lives in a `MemoryLog`, which all brokers, producers and stores of one `name` share. Nothing survives the process.

    settings.py     what can be set          log.py          the log service and its registry
    topic.py        streams, lineage         faults.py       failures on request
    reader.py       reading                  store.py        checkpoints
    coordinator.py  the group protocol       membership.py   a member of a group
    balance.py      who should read what     broker.py       broker and producer
"""

from streamkit.builtin.memory.broker import MemoryBroker, MemoryProducer
from streamkit.builtin.memory.faults import Faults
from streamkit.builtin.memory.log import MemoryLog
from streamkit.builtin.memory.settings import MemorySettings
from streamkit.builtin.memory.store import MemoryStore
from streamkit.plugin import Plugin, hookimpl

__all__ = ["Faults", "MemoryBroker", "MemoryLog", "MemoryProducer", "MemorySettings", "MemoryStore", "streamkit_plugin"]


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(
        name="memory",
        settings=MemorySettings,
        broker="streamkit.builtin.memory:MemoryBroker",
        store="streamkit.builtin.memory:MemoryStore",
        producer="streamkit.builtin.memory:MemoryProducer",
    )

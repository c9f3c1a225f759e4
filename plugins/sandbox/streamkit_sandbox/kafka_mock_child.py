"""A program of its own that hosts librdkafka's mock cluster; `kafka_mock.MockKafka` starts it and talks to it.

Arguments: the path of librdkafka, the number of brokers, the owner's process id. One JSON object a line: it first says
`{"bootstrap_servers": ...}`, then answers each command with `{"error": 0}` or an error code of librdkafka.
It ends with its standard input. Standard library only: it runs with -I -S.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any

PARENT_CHECK_SECONDS = 0.5
PRODUCER = 0


class Cluster:
    """The mock cluster of a bare librdkafka handle, so that no private layout of the Python client is involved."""

    def __init__(self, library: str, brokers: int) -> None:
        self._lib = ctypes.CDLL(library)
        for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        conf = ctypes.c_void_p(self._lib.rd_kafka_conf_new())
        text = ctypes.create_string_buffer(512)
        # Without it the idle client complains that it has no brokers.
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"3", text, ctypes.c_size_t(len(text)))
        client = self._lib.rd_kafka_new(PRODUCER, conf, text, ctypes.c_size_t(len(text)))
        if not client:
            raise RuntimeError(text.value.decode())
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), brokers))
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        # As on the sandbox's real broker: no wait for further members, a KIP-848 heartbeat fit for tests.
        self._call("group_initial_rebalance_delay_ms", 0)
        self._call("set_group_consumer_heartbeat_interval_ms", 200)

    def commands(self) -> dict[str, Callable[..., int]]:
        """What the owner may ask for."""
        return {
            "create_topic": lambda name, partitions, copies: self._call("topic_create", name.encode(), partitions, copies),
            "delete_topic": lambda name: self._call("topic_delete", name.encode()),
            "push_errors": self._push_errors,
            "clear_errors": lambda api_key: self._silent("clear_request_errors", ctypes.c_int16(api_key)),
            "set_down": lambda broker: self._call("broker_set_down", broker),
            "set_up": lambda broker: self._call("broker_set_up", broker),
            "set_round_trip": lambda broker, milliseconds: self._call("broker_set_rtt", broker, milliseconds),
            "set_leader": lambda topic, partition, broker: self._call("partition_set_leader", topic.encode(), partition, broker),
            "delete_records": lambda topic, partition, offset: self._call(
                "partition_delete_records", topic.encode(), partition, ctypes.c_int64(offset)
            ),
        }

    def _call(self, name: str, *arguments: object) -> int:
        return int(getattr(self._lib, f"rd_kafka_mock_{name}")(self._cluster, *arguments))

    def _silent(self, name: str, *arguments: object) -> int:
        """A call of a function that returns nothing."""
        self._call(name, *arguments)
        return 0

    def _push_errors(self, api_key: int, errors: list[int]) -> int:
        array = (ctypes.c_int * len(errors))(*errors)
        return self._silent("push_request_errors_array", ctypes.c_int16(api_key), ctypes.c_size_t(len(errors)), array)


def lines(owner: int) -> Iterator[bytes]:
    """The owner's lines until it closes the pipe or is gone."""
    heard = b""
    while True:
        ready, _, _ = select.select([0], [], [], PARENT_CHECK_SECONDS)
        # A process forked by the owner may hold the pipe open after the owner's end.
        if os.getppid() != owner:
            return
        if ready:
            part = os.read(0, 65_536)
            if not part:
                return
            *complete, heard = (heard + part).split(b"\n")
            yield from complete


def main() -> None:
    """Serves until the end of standard input."""
    library, brokers, owner = sys.argv[1:]
    cluster = Cluster(library, int(brokers))
    say({"bootstrap_servers": cluster.bootstrap_servers})
    commands = cluster.commands()
    for line in lines(int(owner)):
        command = json.loads(line)
        say({"error": commands[command["do"]](*command["with"])})
    # Taking the cluster apart in order may block on its clients; nothing of it is worth keeping.
    os._exit(0)


def say(answer: dict[str, Any]) -> None:
    """Tells the owner."""
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()

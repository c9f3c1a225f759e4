"""librdkafka's mock cluster in a child process: ready in a tenth of a second, and it can be killed.

It speaks enough Kafka for a producer and a group; it knows no time stamps lookup, no admin requests, no real
transactions, and keeps 5 MiB a partition. What a test says about Kafka itself belongs on `kafka.KafkaServer`.
The child ends when its standard input does, so it cannot outlive this process.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamkit_sandbox import kafka_mock_child
from streamkit_sandbox.errors import SandboxError, ServerStartError, ServerUnavailableError

__all__ = ["MockKafka"]

_ANSWER_SECONDS = 10.0
ALL_BROKERS = -1


class MockKafka:
    """A mock cluster on 127.0.0.1 with brokers 1 to `brokers`; started by `start()` or by `with`.

    Its interface is declared experimental by librdkafka. Every command raises SandboxError when librdkafka refuses it or
    the child is gone. Topics that a client asks for and nobody made appear with 4 partitions.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._child: subprocess.Popen[bytes] | None = None
        self._bootstrap_servers = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Raises ServerUnavailableError without confluent-kafka, ServerStartError if its library does not serve."""
        if self._child is not None:
            return
        command = [sys.executable, "-I", "-S", kafka_mock_child.__file__, str(_library()), str(self._brokers), str(os.getpid())]
        with tempfile.TemporaryFile() as complaints:  # a pipe that nobody reads could fill up and stop the child
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0, start_new_session=True
            )
            try:
                self._bootstrap_servers = self._answer()["bootstrap_servers"]
            except SandboxError as error:
                self.close()
                complaints.seek(0)
                raise ServerStartError("kafka-mock", str(error), complaints.read().decode("utf-8", "replace")) from error

    def close(self) -> None:
        """Ends the child; may be called again, and `start()` begins an empty cluster."""
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            child.wait(_ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def kill(self) -> None:
        """SIGKILL: the cluster and all that it held is gone."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:PORT` of every broker, with commas."""
        self._running()
        return self._bootstrap_servers

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._running().pid

    def settings(self) -> dict[str, str]:
        """The environment variables that point streamkit at this cluster."""
        return {"STREAMKIT_BROKER": "kafka", "STREAMKIT_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers}

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Makes a topic with a copy on every broker, at most three."""
        if partitions < 1:
            raise SandboxError(f"partitions={partitions} would end the mock cluster; use 1 or more")
        self._do("create_topic", name, partitions, min(3, self._brokers))

    def delete_topic(self, name: str) -> None:
        """Removes a topic and what it holds."""
        self._do("delete_topic", name)

    def push_errors(self, api_key: int, errors: Sequence[int]) -> None:
        """The next requests with that API key get these error codes, one each; -195 closes the connection.

        What is left over meets later requests: see `clear_errors`.
        """
        self._do("push_errors", api_key, list(errors))

    def clear_errors(self, api_key: int) -> None:
        """Takes back what was pushed and not yet consumed."""
        self._do("clear_errors", api_key)

    def set_down(self, broker: int = ALL_BROKERS) -> None:
        """Closes a broker's connections and accepts no new ones."""
        self._do("set_down", broker)

    def set_up(self, broker: int = ALL_BROKERS) -> None:
        """Lets a broker accept connections again."""
        self._do("set_up", broker)

    def set_round_trip(self, milliseconds: int, broker: int = ALL_BROKERS) -> None:
        """Delays each answer."""
        self._do("set_round_trip", broker, milliseconds)

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        """Moves a partition's leader, which raises the leader epoch."""
        self._do("set_leader", topic, partition, broker)

    def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Moves the start of a partition, as retention does."""
        self._do("delete_records", topic, partition, before_offset)

    def _do(self, command: str, *arguments: object) -> None:
        stdin = self._running().stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer tells
            stdin.write(json.dumps({"do": command, "with": arguments}).encode() + b"\n")
        error = self._answer()["error"]
        if error:
            raise SandboxError(f"the mock cluster refused {command}{arguments!r} with librdkafka's error {error}")

    def _answer(self) -> dict[str, Any]:
        """The child's next line; it answers one command at a time, so there is never more than one."""
        stdout = self._running().stdout
        assert stdout is not None
        deadline, heard = time.monotonic() + _ANSWER_SECONDS, b""
        while not heard.endswith(b"\n"):
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(stdout.fileno(), 65_536) if ready else b""
            if not part:
                raise SandboxError("the mock cluster has ended" if ready else f"the mock cluster did not answer in {_ANSWER_SECONDS:g} s")
            heard += part
        answer: dict[str, Any] = json.loads(heard)
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise SandboxError("the mock cluster is not started; use `with MockKafka() as mock` or call start()")
        return self._child


def _library() -> Path:
    """librdkafka as the wheel of confluent-kafka brings it, without importing that package."""
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        raise ServerUnavailableError("kafka-mock", "confluent-kafka is not installed", "install streamkit-kafka")
    package = Path(found.origin).parent
    for folder, pattern in ((package.parent / "confluent_kafka.libs", "librdkafka-*.so*"), (package / ".dylibs", "librdkafka*.dylib")):
        for library in sorted(folder.glob(pattern)):
            return library
    raise ServerUnavailableError("kafka-mock", f"no librdkafka beside {package}", "install confluent-kafka from its wheel")

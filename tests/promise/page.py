"""Workers with a status page, as programs run them: `run` in a thread, HTTP on loopback, and the command line beside them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

from streamkit.app import App, run

__all__ = ["Page", "Worker", "free_port", "until"]

LIMIT_SECONDS = 20.0
Answer = dict[str, Any]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def until(condition: Callable[[], object], what: Callable[[], object] = lambda: "it") -> None:
    """Look until it is true."""
    end, pause = time.monotonic() + LIMIT_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what()}"
        pause.wait(0.02)


@dataclass
class Page:
    """What answers at one port."""

    port: int

    def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def is_ready(self) -> bool:
        try:
            return self.ask("/ready")[0] == 200
        except OSError:
            return False  # nobody listens yet

    @property
    def reasons(self) -> list[str]:
        return list(json.loads(self.ask("/ready")[1])["reasons"])

    def partitions(self) -> dict[str, Answer]:
        """The lines of `/status`, by partition."""
        apps = json.loads(self.ask("/status")[1])["apps"]
        return {one["partition"]: one for app in apps for one in app["partitions"]}

    def reason(self, partition: str) -> Answer:
        """Why it does not move; empty: nothing is said about it."""
        try:
            return self.partitions().get(partition, {}).get("reason") or {}
        except OSError:
            return {}

    def state(self, partition: str) -> str:
        """Empty: it is not there."""
        return str(self.partitions().get(partition, {}).get("state", ""))

    def metrics(self) -> dict[str, float]:
        """Name and labels to value."""
        lines = self.ask("/metrics")[1].splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


@dataclass
class Worker:
    """One or several apps in one `run`, in a thread."""

    apps: tuple[App, ...]
    page: Page
    ended: list[object] = field(default_factory=list)

    def start(self) -> Worker:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            run(*self.apps)
            self.ended.append(0)
        except BaseException as error:
            self.ended.append(error.code if isinstance(error, SystemExit) else error)

    def stop(self) -> None:
        for app in self.apps:
            app.stop()
        self._thread.join(LIMIT_SECONDS)
        assert self.ended, "it has not ended"

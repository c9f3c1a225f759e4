"""What a running worker says about its partitions, asked over its status page. Nobody answering is no error: it may not run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from urllib.request import ProxyHandler, build_opener

from streamkit.model import Partition
from streamkit.settings import Settings, host_and_port

__all__ = ["WorkerLine", "ask_worker"]

TIMEOUT_SECONDS = 2.0
MAX_BYTES = 64 * 2**20
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked by us, not bound by us
"""Who listens on all addresses answers on loopback."""


@dataclass(frozen=True, slots=True)
class WorkerLine:
    """One partition of that worker."""

    state: str
    owner: str
    epoch: int
    reason: str
    parked: int


def ask_worker(settings: Settings) -> Mapping[Partition, WorkerLine] | None:
    """The partitions of the worker at STREAMKIT_STATUS_ADDRESS; None: nobody answers there, or somebody else does."""
    if settings.status_address is None:
        return None
    host, port = host_and_port(settings.status_address)
    host = EVERYWHERE.get(host, host)
    url = f"http://[{host}]:{port}/status" if ":" in host else f"http://{host}:{port}/status"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_SECONDS) as answer:
            apps = json.loads(answer.read(MAX_BYTES))["apps"]
        return {partition: line for app in apps if _is_ours(app, settings) for partition, line in _lines(app["partitions"])}
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return None


def _is_ours(app: Mapping[str, object], settings: Settings) -> bool:
    return (app["broker"], app["group"], app["streams"]) == (settings.broker, settings.group, list(settings.stream))


def _lines(partitions: Sequence[Mapping[str, object]]) -> Sequence[tuple[Partition, WorkerLine]]:
    found = []
    for one in partitions:
        reason = one["reason"]
        text = str(reason["text"]) if isinstance(reason, Mapping) else ""
        line = WorkerLine(str(one["state"]), str(one["owner"]), int(str(one["epoch"])), text, int(str(one.get("parked", 0))))
        found.append((Partition(str(one["stream"]), str(one["partition"])), line))
    return found

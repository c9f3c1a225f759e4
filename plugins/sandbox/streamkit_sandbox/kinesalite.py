"""kinesalite, the local Kinesis for volume: 17 to 37 MB/s, ready in a tenth of a second, trims and keeps data through a kill.

What it is not: complete. It knows 17 operations; no UpdateShardCount, shard filters, pages of ListShards, ChildShards or
lag (MillisBehindLatest is always 0). For those see `kinesis.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from streamkit_sandbox.local_kinesis import LocalKinesis
from streamkit_sandbox.local_server import Program
from streamkit_sandbox.node import npm_package

__all__ = ["KinesaliteServer"]

PACKAGE = "kinesalite@3.3.3"
FAST = {"createStreamMs": "20", "deleteStreamMs": "20", "updateStreamMs": "100", "shardLimit": "5000"}


class KinesaliteServer(LocalKinesis):
    """kinesalite 3.3.3. `options` are its own, without the dashes: `{"updateStreamMs": "2000"}`. For the rest see LocalServer."""

    name: ClassVar[str] = "kinesis-fast"

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        persist: bool = False,
        start_timeout_seconds: float = 60.0,
        options: dict[str, str] | None = None,
    ) -> None:
        super().__init__(folder, persist=persist, start_timeout_seconds=start_timeout_seconds)
        self._options = {**FAST, **(options or {})}

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        package = npm_package(self.name, PACKAGE)
        arguments = ["--port", str(port), *(["--path", str(data)] if data else [])]
        for name, value in self._options.items():
            arguments += [f"--{name}", value]
        return self._on_node(folder, package / "cli.js", arguments)

"""What the two local Kinesis servers share: they run on Node, make streams, and their clock can be moved."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamkit_sandbox.aws_http import answers
from streamkit_sandbox.errors import SandboxError
from streamkit_sandbox.kinesis_streams import LIST_STREAMS, create_stream, kinesis_settings
from streamkit_sandbox.local_server import LocalServer, Program
from streamkit_sandbox.node import CLOCK, ON_LOOPBACK, node

__all__ = ["LocalKinesis"]

_CLOCK_SECONDS = 5.0
_POLL_SECONDS = 0.01


class LocalKinesis(LocalServer):
    """A Kinesis on Node; see LocalServer."""

    def create_stream(self, shards: int = 1, name: str | None = None) -> str:
        """Makes a stream, by default with a name of its own, waits until it is ACTIVE, and returns its name."""
        return create_stream(self.endpoint_url, shards, name)

    def settings(self) -> dict[str, str]:
        return kinesis_settings(self.endpoint_url)

    def set_clock_ahead(self, seconds: float) -> None:
        """The server's clock shows `seconds` more than the machine's, also after a restart; 0 takes it back.

        Five minutes end every iterator. Time stamps of new records are as far ahead.
        """
        clock = self._clock(self.folder)
        text = str(int(seconds * 1000))
        clock.write_text(text)
        if self.pid is None:
            return
        self._signal(signal.SIGUSR2)
        seen, deadline = clock.with_name(f"{clock.name}.seen"), time.monotonic() + _CLOCK_SECONDS
        while not seen.exists() or seen.read_text() != text:
            if time.monotonic() > deadline:
                raise SandboxError(f"{self.name} did not move its clock within {_CLOCK_SECONDS:g} s")
            time.sleep(_POLL_SECONDS)

    def _on_node(self, folder: Path, script: Path, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Program:
        """The program of a server that is a Node script."""
        argv = [str(node(self.name).launcher), "-r", str(ON_LOOPBACK), "-r", str(CLOCK), str(script), *arguments]
        return Program(argv, {"STREAMKIT_SANDBOX_CLOCK": str(self._clock(folder)), **(environment or {})})

    def _serves(self, timeout_seconds: float) -> bool:
        return answers(self.endpoint_url, LIST_STREAMS, timeout_seconds=timeout_seconds)

    @staticmethod
    def _clock(folder: Path) -> Path:
        return folder / "clock"

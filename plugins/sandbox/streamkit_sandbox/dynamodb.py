"""DynamoDB Local, AWS's own: conditions, transactions, PartiQL, indexes; no throttling and no eventual consistency."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from streamkit_sandbox.aws_http import REGION, answers, sdk_settings
from streamkit_sandbox.errors import ServerUnavailableError
from streamkit_sandbox.java import compiled, jars, java_launcher
from streamkit_sandbox.local_server import LocalServer, Program

__all__ = ["DynamoDBServer"]

COORDINATES = "com.amazonaws:DynamoDBLocal:2.6.1"
LAUNCHER = Path(__file__).with_name("DynamoDBOnLoopback.java")


class DynamoDBServer(LocalServer):
    """DynamoDB Local 2.6.1; every region and access key sees the same tables. For the rest see LocalServer."""

    name: ClassVar[str] = "dynamodb"

    def settings(self) -> dict[str, str]:
        """The environment variables that point streamkit's DynamoDB plugin at this server."""
        return {
            "STREAMKIT_STORE": "dynamodb",
            "STREAMKIT_DYNAMODB__ENDPOINT_URL": self.endpoint_url,
            "STREAMKIT_DYNAMODB__REGION": REGION,
            **sdk_settings("DYNAMODB", self.endpoint_url),
        }

    def _command(self, port: int, folder: Path, data: Path | None) -> Program:
        java, found = java_launcher(self.name), jars(self.name, [COORDINATES])
        class_path = [compiled(self.name, LAUNCHER, found), *found]
        argv = [str(java), "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={folder}"]
        argv += [
            "--enable-native-access=ALL-UNNAMED",
            f"-Djava.library.path={_library_folder(self.name, found)}",
            "-cp",
            os.pathsep.join(map(str, class_path)),
        ]
        argv += [LAUNCHER.stem, "-disableTelemetry", "-sharedDb", "-port", str(port)]
        argv += ["-dbPath", str(data)] if data else ["-inMemory"]
        return Program(argv, {"DDB_LOCAL_TELEMETRY": "0"})

    def _serves(self, timeout_seconds: float) -> bool:
        return answers(self.endpoint_url, "DynamoDB_20120810.ListTables", timeout_seconds=timeout_seconds)


def _library_folder(server: str, found: list[Path]) -> Path:
    """Where the SQLite library for this machine lies: jgo puts what is no jar beside the folder of the jar that needs it."""
    for jar in found:
        if jar.name.startswith("sqlite4java-"):
            for folder in (jar.parent, jar.parent.parent / "jars"):
                if any(folder.glob("libsqlite4java-*")):
                    return folder
    raise ServerUnavailableError(
        server, "its SQLite library did not come with its jars", "remove the folder of jars in the cache and start again"
    )

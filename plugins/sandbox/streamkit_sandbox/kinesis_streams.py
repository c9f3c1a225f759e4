"""Streams on a local Kinesis server: made by plain HTTP, returned when they can be read and written."""

from __future__ import annotations

import time
from secrets import token_hex

from streamkit_sandbox.aws_http import REGION, ask, sdk_settings
from streamkit_sandbox.errors import SandboxError

__all__ = ["LIST_STREAMS", "create_stream", "kinesis_settings"]

LIST_STREAMS = "Kinesis_20131202.ListStreams"
_ACTIVE_SECONDS = 30.0
_POLL_SECONDS = 0.02


def create_stream(endpoint_url: str, shards: int = 1, name: str | None = None) -> str:
    """Makes a stream, by default with a name of its own, waits until it is ACTIVE, and returns its name.

    Raises SandboxError if the server refuses it or takes longer than 30 s.
    """
    name = name or f"stream-{token_hex(4)}"
    ask(endpoint_url, "Kinesis_20131202.CreateStream", {"StreamName": name, "ShardCount": shards})
    deadline = time.monotonic() + _ACTIVE_SECONDS
    while True:
        found = ask(endpoint_url, "Kinesis_20131202.DescribeStreamSummary", {"StreamName": name})["StreamDescriptionSummary"]
        if found["StreamStatus"] == "ACTIVE":
            return name
        if time.monotonic() > deadline:
            raise SandboxError(f"stream {name} is {found['StreamStatus']} and not ACTIVE after {_ACTIVE_SECONDS:g} s")
        time.sleep(_POLL_SECONDS)


def kinesis_settings(endpoint_url: str) -> dict[str, str]:
    """The environment variables that point streamkit's Kinesis plugin at a local server."""
    return {
        "STREAMKIT_BROKER": "kinesis",
        "STREAMKIT_KINESIS__ENDPOINT_URL": endpoint_url,
        "STREAMKIT_KINESIS__REGION": REGION,
        **sdk_settings("KINESIS", endpoint_url),
    }

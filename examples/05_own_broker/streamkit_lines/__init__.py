"""Text files as a stream: `STREAMKIT_BROKER=lines`. Importing this package reads nothing."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from streamkit.plugin import Plugin, hookimpl

__all__ = ["LinesSettings", "streamkit_plugin"]


class LinesSettings(BaseModel):
    """`STREAMKIT_LINES__…`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="The folder in which each stream is a folder of text files.")


@hookimpl
def streamkit_plugin() -> Plugin:
    return Plugin(name="lines", settings=LinesSettings, broker="streamkit_lines.broker:LinesBroker", requires=">=0.1,<0.3")

"""What can be set about the file plugin."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["FileSettings"]


class FileSettings(BaseModel):
    """`STREAMKIT_FILE__…`"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = Field(
        default=None,
        description="The folder for checkpoints, on a disk of this host; it is made if the folder above it exists. "
        "Needed with STREAMKIT_STORE=file; where the broker is file too, the default is checkpoints.",
    )
